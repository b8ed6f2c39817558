"""Folds: in order, kept as they grow, never from an accumulator that a failed step has changed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorlake_nb import RequestContext, tensorlake_function
from tensorlake_nb.core.batches.batch import BARE, FailureKind, Fold
from tensorlake_nb.core.keys import RunId, fold_next, fold_start, task_key
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.worker import fold_steps
from tests.support.batches import Bench, Calls, counts

OTHER_RUN = RunId("20260102-000000-abcdef")


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After how many elements the accumulator was given to the writer."""
    kept: list[int] = []
    original = fold_steps.Steps._keep

    def counted(self: Any, position: int, *rest: Any) -> Any:
        kept.append(position)
        return original(self, position, *rest)

    monkeypatch.setattr(fold_steps.Steps, "_keep", counted)
    return kept


@pytest.fixture
def joined(calls: Calls) -> Any:
    """A reducer that changes its accumulator in place, and notes each call."""

    @tensorlake_function(accumulate=list)
    def join(parts: list[Any], part: Any) -> list[Any]:
        calls.note(part)
        parts.append(part)
        if part == "bad":
            raise ValueError("bad part")
        return parts

    return join


def test_elements_are_folded_in_order_and_the_last_accumulator_is_the_output(bench: Bench, joined: Any) -> None:
    receipt = bench.run_one(bench.fold(bench.call(joined), ["a", "b", "c"]))

    assert bench.values(receipt) == [["a", "b", "c"]]
    assert receipt.done == 3
    (piece,) = receipt.pieces
    assert (piece.start, piece.stop, piece.computed, piece.replayed, piece.outputs.n_out) == (0, 3, 3, 0, 1)
    assert counts(receipt) == [BARE], "the accumulator"
    assert piece.outputs.digests == digest(["a", "b", "c"])


def test_a_fold_goes_on_from_where_the_batch_before_left_it(bench: Bench, joined: Any) -> None:
    call = bench.call(joined)
    first = bench.run_one(bench.fold(call, ["a", "b"]))
    rolling = fold_next(fold_next(fold_start(), digest("a")), digest("b"))
    second = bench.run_one(bench.fold(call, ["c"], first.pieces[0].outputs.spans[0], rolling=rolling))

    assert bench.values(second) == [["a", "b", "c"]]


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_fold_that_others_fold_as_well_goes_on_from_where_they_came_since_it_looked(
    bench: Bench, joined: Any, calls: Calls, is_shared: bool
) -> None:
    call = bench.call(joined)
    bench.run(bench.fold(call, ["z"]))  # from here on this run has the function's list
    bench.run(bench.fold(call, ["a", "b"], run_id=OTHER_RUN))
    receipt = bench.run_one(bench.fold(call, ["a", "b", "c"], is_shared=is_shared))

    assert bench.values(receipt) == [["a", "b", "c"]]
    assert calls.all() == ["z", "a", "b", *(["c"] if is_shared else ["a", "b", "c"])]


def test_an_accumulator_is_named_by_the_elements_so_far(bench: Bench, joined: Any) -> None:
    call = bench.call(joined)
    bench.run(bench.fold(call, ["a", "b"]))
    rolling = fold_next(fold_next(fold_start(), digest("a")), digest("b"))
    index = bench.store.index(call.fingerprint, refresh=True)

    (position,) = index.find(task_key(call.fingerprint, rolling))
    assert position >= 0


def test_a_fold_of_nothing_gives_what_it_starts_from(bench: Bench, joined: Any) -> None:
    receipt = bench.run_one(bench.fold(bench.call(joined), []))

    assert receipt.done == 0
    assert bench.values(receipt) == [[]]
    (piece,) = receipt.pieces
    assert (piece.start, piece.stop, piece.outputs.size, piece.outputs.counts) == (0, 0, 1, None)


def test_a_fold_of_nothing_more_leaves_the_accumulator_where_it_is(bench: Bench, joined: Any) -> None:
    call = bench.call(joined)
    first = bench.run_one(bench.fold(call, ["a"]))
    receipt = bench.run_one(bench.fold(call, [], first.pieces[0].outputs.spans[0]))

    assert (receipt.done, receipt.pieces) == (0, ())


def test_another_run_replays_the_steps_it_shares(bench: Bench, joined: Any, calls: Calls) -> None:
    call = bench.call(joined)
    bench.run(bench.fold(call, ["a", "b"]))
    receipt = bench.run_one(bench.fold(call, ["a", "b", "c"], run_id=OTHER_RUN))

    assert calls.all() == ["a", "b", "c"]
    assert bench.values(receipt) == [["a", "b", "c"]]
    assert (receipt.pieces[0].computed, receipt.pieces[0].replayed) == (1, 2)


def test_a_failed_step_leaves_the_accumulator_as_it_was(bench: Bench, joined: Any) -> None:
    receipt = bench.run_one(bench.fold(bench.call(joined), ["a", "bad", "c"]))

    (failure,) = receipt.failures
    assert (failure.offset, failure.kind, failure.error) == (1, FailureKind.ERROR, "ValueError: bad part")
    assert receipt.done == 2
    (piece,) = receipt.pieces
    assert (piece.start, piece.stop) == (0, 1)
    assert bench.values(receipt) == [["a"]]


def test_a_failed_first_step_gives_no_accumulator(bench: Bench, joined: Any) -> None:
    receipt = bench.run_one(bench.fold(bench.call(joined), ["bad"]))

    assert receipt.pieces == ()
    assert receipt.done == 1
    assert receipt.failures[0].offset == 0


def test_a_failure_after_steps_that_were_not_kept_goes_back_to_the_last_copy(
    bench: Bench, joined: Any, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_steps, "TINY_BYTES", 0)
    monkeypatch.setattr(fold_steps, "WORTH", 1e9)
    receipt = bench.run_one(bench.fold(bench.call(joined), ["a", "b", "c", "bad"]))

    assert bench.values(receipt) == [["a", "b", "c"]]
    assert (receipt.pieces[0].stop, receipt.failures[0].offset, receipt.done) == (3, 3, 4)
    assert calls.all() == ["a", "b", "c", "bad", "b", "c"], "a was kept: only what came after it is folded again"


def test_accumulators_are_kept_after_every_step_while_they_are_small(
    bench: Bench, joined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = watched(monkeypatch)
    bench.run(bench.fold(bench.call(joined), ["a", "b", "c"]))

    assert kept == [1, 2, 3]


def test_large_accumulators_are_not_kept_after_every_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    @tensorlake_function(accumulate=lambda: np.zeros(50_000))
    def add(total: Any, x: float) -> Any:
        return total + x

    monkeypatch.setattr(fold_steps, "WORTH", 1e9)
    kept = watched(monkeypatch)
    receipt = bench.run_one(bench.fold(bench.call(add), [1.0, 2.0, 3.0, 4.0, 5.0]))

    assert kept == [1, 5]
    assert bench.values(receipt)[0][0] == 15.0


def test_a_reducer_that_returns_nothing_is_told_what_to_do(bench: Bench) -> None:
    @tensorlake_function(accumulate=list)
    def forgets(parts: list[Any], part: Any) -> Any:
        parts.append(part)

    (failure,) = bench.run_one(bench.fold(bench.call(forgets), ["a"])).failures

    assert failure.kind is FailureKind.USAGE
    assert "reducer 'forgets' returned None" in failure.error
    assert "end it with a return" in failure.error


def test_an_accumulator_that_cannot_be_stored_is_a_failure_of_its_step(bench: Bench) -> None:
    @tensorlake_function(accumulate=int)
    def spoils(total: Any, x: int) -> Any:
        import threading

        return threading.Lock() if x == 2 else total + x

    receipt = bench.run_one(bench.fold(bench.call(spoils), [1, 2, 3]))

    assert bench.values(receipt) == [1]
    assert (receipt.failures[0].offset, receipt.failures[0].kind) == (1, FailureKind.USAGE)


def test_a_fold_stops_at_its_budget(bench: Bench, joined: Any) -> None:
    receipt = bench.run_one(bench.fold(bench.call(joined), ["a", "b", "c"], budget_s=0.0))

    assert receipt.done == 1
    assert bench.values(receipt) == [["a"]]


def test_combining_starts_from_the_first_part_and_merges_in_order(bench: Bench, calls: Calls) -> None:
    def merge(left: list[str], right: list[str]) -> list[str]:
        calls.note("merge")
        return left + right

    @tensorlake_function(accumulate=list, combine=merge)
    def join(parts: list[str], part: str) -> list[str]:
        return [*parts, part]

    receipt = bench.run_one(bench.fold(bench.call(join), [["a"], ["b"], ["c"]], combines=True))

    assert bench.values(receipt) == [["a", "b", "c"]]
    assert calls.all() == ["merge", "merge"]


def test_each_group_is_folded_from_a_fresh_start(bench: Bench) -> None:
    @tensorlake_function(accumulate=list)
    def join(parts: list[Any], part: Any) -> list[Any]:
        return [*parts, part]

    call = bench.call(join)
    batch = bench.groups(call, [["a", "b"], ["c", "d"], ["e"]])
    receipt = bench.run_one(batch)

    assert receipt.done == 3
    assert bench.values(receipt) == [["a", "b"], ["c", "d"], ["e"]]
    assert counts(receipt) == [BARE, BARE, BARE]


def test_groups_are_replayed_by_the_key_of_the_whole_group(bench: Bench, joined: Any, calls: Calls) -> None:
    call = bench.call(joined)
    bench.run(bench.groups(call, [["a", "b"], ["c"]]))
    receipt = bench.run_one(bench.groups(call, [["a", "b"], ["d"]], run_id=OTHER_RUN))

    assert calls.all() == ["a", "b", "c", "d"]
    assert bench.values(receipt) == [["a", "b"], ["d"]]
    assert (receipt.pieces[0].computed, receipt.pieces[0].replayed) == (1, 1)


def test_a_failing_group_leaves_the_others_alone(bench: Bench, joined: Any) -> None:
    batch = bench.groups(bench.call(joined), [["a"], ["b", "bad"], ["c"]], stop_on_failure=False)
    receipt = bench.run_one(batch)

    assert bench.values(receipt) == [["a"], ["c"]]
    assert [failure.offset for failure in receipt.failures] == [1]
    assert receipt.done == 3


def test_a_coroutine_function_can_fold(bench: Bench) -> None:
    @tensorlake_function(accumulate=int)
    async def add(total: int, x: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return total + x

    assert bench.values(bench.run_one(bench.fold(bench.call(add), [1, 2, 3]))) == [6]


def test_what_steps_counted_is_counted_once_and_again_when_they_are_replayed(bench: Bench) -> None:
    @tensorlake_function(accumulate=int, inject_ctx=True)
    def add(ctx: RequestContext, total: int, x: int) -> int:
        ctx.counter("seen")
        return total + x

    call = bench.call(add)
    first = bench.run_one(bench.fold(call, [1, 2, 3]))
    second = bench.run_one(bench.fold(call, [1, 2, 3, 4], run_id=OTHER_RUN))

    assert first.counters == {"seen": 3}
    assert second.counters == {"seen": 4}
    assert second.pieces[0].replayed == 3


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-3, 3), max_size=12), st.integers(0, 12))
def test_cutting_a_fold_anywhere_changes_nothing(bench: Bench, values: list[int], cut: int) -> None:
    @tensorlake_function(accumulate=lambda: 7)
    def mix(total: int, x: int) -> int:
        return (total * 31 + x) % 1_000_003

    call = bench.call(mix)
    run = RunId(f"20260103-000000-{time.monotonic_ns() % 16**6:06x}")
    expected = 7
    for value in values:
        expected = (expected * 31 + value) % 1_000_003
    head, tail = values[:cut], values[cut:]
    receipt = bench.run_one(bench.fold(call, head, run_id=run))
    if tail:
        rolling = fold_start()
        for value in head:
            rolling = fold_next(rolling, digest(value))
        plan = Fold(receipt.pieces[0].outputs.spans[0] if head else None, rolling)
        receipt = bench.run_one(bench.batch(call, tail, fold=plan, run_id=run))

    assert bench.values(receipt) == [expected]
