"""Generators: items committed and reported in parts while the call goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tensorlake_nb import RouteTo, tensorlake_function
from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.core.batches.receipt import Receipt
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls.reporting import PartDone
from tests.support.batches import Bench, Calls, counts

OTHER_RUN = RunId("20260102-000000-abcdef")


@tensorlake_function
def count_up(n: int) -> Iterator[int]:
    yield from range(n)


def parts_of(bench: Bench) -> list[Receipt]:
    return [message.receipt for message in bench.messages if isinstance(message, PartDone)]


def test_items_become_the_outputs_of_one_element(bench: Bench) -> None:
    receipt = bench.run_one(bench.batch(bench.call(count_up), [3]))

    assert bench.values(receipt) == [0, 1, 2]
    (piece,) = receipt.pieces
    assert (piece.start, piece.stop, piece.part, piece.is_last, piece.computed) == (0, 1, 0, True, 1)
    assert counts(receipt) == [3]
    assert receipt.done == 1


def test_a_generator_without_items_has_one_empty_last_part(bench: Bench) -> None:
    receipt = bench.run_one(bench.batch(bench.call(count_up), [0]))

    (piece,) = receipt.pieces
    assert (piece.is_last, piece.outputs.n_out, counts(receipt)) == (True, 0, [0])


def test_parts_are_committed_and_reported_before_the_end(bench: Bench) -> None:
    receipt = bench.run_one(bench.batch(bench.call(count_up), [3], checkpoint_interval_s=0.0))

    reported = parts_of(bench)
    assert [bench.values(part) for part in reported] == [[0], [1], [2]]
    assert [(piece.part, piece.is_last) for piece in receipt.pieces] == [(0, False), (1, False), (2, False), (3, True)]
    assert [part.pieces[0] for part in reported] == list(receipt.pieces[:3])
    assert bench.values(receipt) == [0, 1, 2]
    assert sum(piece.computed for piece in receipt.pieces) == 1


def test_a_part_can_be_read_while_the_generator_still_runs(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def slowly(n: int) -> Iterator[int]:
        for i in range(n):
            calls.note(f"yield {i}")
            yield i

    seen: list[Any] = []

    class Listening(list[Any]):
        def append(self, message: Any) -> None:
            if isinstance(message, PartDone):
                seen.append((bench.values(message.receipt), calls.all()))

    bench.messages = Listening()
    bench.run(bench.batch(bench.call(slowly), [2], checkpoint_interval_s=0.0))

    assert seen[0] == ([0], ["yield 0"])


def test_a_finished_generator_is_replayed_like_any_list(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(n: int) -> Iterator[int]:
        calls.note("begun")
        yield from range(n)

    call = bench.call(noted)
    bench.run(bench.batch(call, [3], checkpoint_interval_s=0.0))
    receipt = bench.run_one(bench.batch(call, [3], run_id=OTHER_RUN))

    assert calls.all() == ["begun"]
    assert bench.values(receipt) == [0, 1, 2]
    (piece,) = receipt.pieces
    assert (piece.replayed, piece.computed, piece.is_last) == (1, 0, True)


def test_a_retry_gives_on_only_what_is_new(bench: Bench) -> None:
    call = bench.call(count_up)
    (before,) = bench.run_one(bench.batch(call, [2])).pieces
    bench.messages.clear()
    known = {"emitted": before.outputs.digests, "emitted_spans": before.outputs.spans, "emitted_parts": 1}
    batch = bench.batch(call, [4], **known, checkpoint_interval_s=0.0)
    receipt = bench.run_one(batch)

    assert bench.values(receipt) == [2, 3]
    assert [bench.values(part) for part in parts_of(bench)] == [[2], [3]]
    assert bench.values(bench.run_one(bench.batch(call, [4], run_id=OTHER_RUN))) == [0, 1, 2, 3], "kept as one list"


def test_a_retry_that_gives_something_else_is_refused(bench: Bench) -> None:
    batch = bench.batch(bench.call(count_up), [4], emitted=digest(0) + digest(7))
    (failure,) = bench.run_one(batch).failures

    assert failure.kind is FailureKind.USAGE
    assert "item 1 differs" in failure.error
    assert "the same items each time" in failure.error


def test_a_retry_that_ends_too_early_is_refused(bench: Bench) -> None:
    batch = bench.batch(bench.call(count_up), [1], emitted=digest(0) + digest(1))
    (failure,) = bench.run_one(batch).failures

    assert "ended after 1 of 2 items" in failure.error


def test_a_failing_generator_keeps_the_items_before(bench: Bench) -> None:
    @tensorlake_function
    def breaks(n: int) -> Iterator[int]:
        yield from range(n)
        raise ValueError("broken")

    receipt = bench.run_one(bench.batch(bench.call(breaks), [2]))

    assert bench.values(receipt) == [0, 1]
    assert [piece.is_last for piece in receipt.pieces] == [False]
    assert receipt.failures[0].error == "ValueError: broken"
    assert receipt.done == 1


def test_a_finished_generator_whose_worker_was_lost_gives_on_the_rest(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(n: int) -> Iterator[int]:
        calls.note("begun")
        yield from range(n)

    call = bench.call(noted)
    bench.run(bench.batch(call, [3]))
    receipt = bench.run_one(bench.batch(call, [3], run_id=OTHER_RUN, emitted=digest(0)))

    assert calls.all() == ["begun"]
    assert bench.values(receipt) == [1, 2]
    assert receipt.pieces[0].is_last


def test_an_async_generator_emits_too(bench: Bench) -> None:
    @tensorlake_function
    async def slowly(n: int) -> AsyncIterator[int]:
        import asyncio

        for i in range(n):
            await asyncio.sleep(0)
            yield i

    receipt = bench.run_one(bench.batch(bench.call(slowly), [3], checkpoint_interval_s=0.0))

    assert bench.values(receipt) == [0, 1, 2]
    assert len(parts_of(bench)) == 3


def test_items_may_choose_their_own_routes(bench: Bench) -> None:
    @tensorlake_function
    def sort(n: int) -> Iterator[Any]:
        for i in range(n):
            yield RouteTo(i, "even" if i % 2 == 0 else "odd")

    receipt = bench.run_one(bench.batch(bench.call(sort, routes=("even", "odd")), [3]))

    assert receipt.pieces[0].outputs.routes == Routes.of([("even",), ("odd",), ("even",)])


def test_printing_between_items_belongs_to_the_call(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    @tensorlake_function
    def chatty(n: int) -> Iterator[int]:
        for i in range(n):
            print("item", i)
            yield i

    receipt = bench.run_one(bench.batch(bench.call(chatty), [2]))

    assert "".join(line.text for line in receipt.logs) == "item 0\nitem 1\n"
    assert capsys.readouterr().out == ""
