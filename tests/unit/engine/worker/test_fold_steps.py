"""Folding into a list: linear, the same whoever holds what, and never from what a failed step has changed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.batches.batch import Failure, FailureKind
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.worker import fold_steps
from tests.support.batches import Bench, Calls

OTHER_RUN = RunId("20260102-000000-abcdef")


@pytest.fixture(params=["tiny ones after each step", "only at the ends"])
def keeping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How often accumulators are kept."""
    if request.param == "only at the ends":
        seldom(monkeypatch)
    return str(request.param)


def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_steps, "TINY_BYTES", 0)
    monkeypatch.setattr(fold_steps, "WORTH", 1e9)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After how many elements the accumulator was given to the writer."""
    found: list[int] = []
    original = fold_steps.Steps._keep

    def noted(self: Any, position: int, box: list[Any]) -> None:
        original(self, position, box)
        found.append(position)

    monkeypatch.setattr(fold_steps.Steps, "_keep", noted)
    return found


def keeps_the_last() -> Any:
    old: list[Any] = []

    @tensorlake_function(accumulate=list)
    def fold(acc: list[Any], x: int) -> Any:
        for each in old:
            each.append("junk")
        old.append([*acc, x])
        return old[-1]

    return fold


def keeps_a_part() -> Any:
    old: list[Any] = []

    @tensorlake_function(accumulate=lambda: {"rows": []})
    def fold(acc: dict[str, list[int]], x: int) -> Any:
        for each in old:
            each.clear()
        acc["rows"].append(x)
        old[:] = [acc["rows"]]
        return acc

    return fold


def keeps_the_element() -> Any:
    seen: list[Any] = []

    @tensorlake_function(accumulate=list)
    def fold(acc: list[Any], x: Any) -> list[Any]:
        for each in seen:
            each.clear()
        row = [x]
        seen.append(row)
        acc.append(row)
        return acc

    return fold


def keeps_it_later() -> Any:
    """Nothing is held until the fold is well under way."""
    seen: list[Any] = []

    @tensorlake_function(accumulate=list)
    def fold(acc: list[Any], x: Any) -> list[Any]:
        for each in seen:
            each.clear()
        acc.append([x])
        if x == 25:
            seen.append(acc[-1])
        return acc

    return fold


def is_given_what_is_shared() -> Any:
    shared: list[Any] = []

    @tensorlake_function(accumulate=lambda: shared)
    def fold(acc: list[Any], x: int) -> list[Any]:
        shared.append("junk")
        acc.append(x)
        return acc

    return fold


def is_held_by_a_generator() -> Any:
    generators: list[Any] = []

    def holder(acc: list[Any]) -> Any:
        yield
        acc.append("junk")
        yield

    @tensorlake_function(accumulate=list)
    def fold(acc: list[Any], x: int) -> list[Any]:
        for each in generators:
            next(each, None)
        acc.append(x)
        generators.append(holder(acc))
        next(generators[-1])
        return acc

    return fold


def is_held_by_a_thread() -> Any:
    @tensorlake_function(accumulate=list)
    def fold(acc: list[Any], x: int) -> list[Any]:
        for thread in threading.enumerate():
            if hasattr(thread, "go_on"):
                thread.go_on.set()
                thread.join()
        acc.append(x)
        go_on = threading.Event()

        def change() -> None:
            go_on.wait(10)
            acc.append("junk")

        thread = threading.Thread(target=change)
        thread.go_on = go_on  # type: ignore[attr-defined]
        if x < 39:
            thread.start()
        return acc

    return fold


def plainly(value: Any) -> list[int]:
    """The numbers in an accumulator of any of these functions."""
    rows = value["rows"] if isinstance(value, dict) else value
    return [row[0] if isinstance(row, list) and row else row for row in rows]


@pytest.mark.parametrize(
    "make",
    [
        keeps_the_last,
        keeps_a_part,
        keeps_the_element,
        keeps_it_later,
        is_given_what_is_shared,
        is_held_by_a_generator,
        is_held_by_a_thread,
    ],
)
def test_whoever_holds_an_accumulator_cannot_change_what_is_folded(
    bench: Bench, make: Callable[[], Any], keeping: str
) -> None:
    receipt = bench.run_one(bench.fold(bench.call(make()), range(40)))

    (value,) = bench.values(receipt)
    assert plainly(value) == list(range(40))
    assert any("is also held elsewhere" in note for note in receipt.notes) or make is is_given_what_is_shared


def test_an_accumulator_is_passed_on_as_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seldom(monkeypatch)

    @tensorlake_function(accumulate=list)
    def fold(acc: list[int], x: int) -> list[int]:
        acc.append(id(acc))
        return acc

    (ids,) = bench.values(bench.run_one(bench.fold(bench.call(fold), range(50))))

    assert len(set(ids)) == 1


def test_time_and_bytes_go_with_the_number_of_elements(bench: Bench, kept: list[int], calls: Calls) -> None:
    @tensorlake_function(accumulate=list)
    def collect(acc: list[int], x: int) -> list[int]:
        acc.append(x)
        return acc

    receipt = bench.run_one(bench.fold(bench.call(collect), range(5_000)))

    (value,) = bench.values(receipt)
    assert value == list(range(5_000))
    assert receipt.notes == ()
    large = [position for position in kept if position > 400]
    assert len(large) < 40, "an accumulator of some KiB is worth some hundred steps"


def test_a_step_that_fails_is_tried_from_the_accumulator_before_it(bench: Bench, calls: Calls, keeping: str) -> None:
    @tensorlake_function(accumulate=list)
    def collect(acc: list[int], x: int) -> list[int]:
        print(f"folding {x}")
        acc.append(x)
        if x == 30:
            raise ValueError("no")
        return acc

    receipt = bench.run_one(bench.fold(bench.call(collect), range(40)))

    (value,) = bench.values(receipt)
    assert value == list(range(30))
    assert [failure.offset for failure in receipt.failures] == [30]
    assert sorted(line.offset for line in receipt.logs) == list(range(31)), "what was made again has told it once"


def test_of_accumulators_that_cannot_be_kept_the_first_is_found(
    bench: Bench, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom(monkeypatch)

    @tensorlake_function(accumulate=list)
    def spoils(acc: list[Any], x: int) -> list[Any]:
        calls.note(x)
        acc.append(threading.Lock() if x == 150 else x)
        return acc

    receipt = bench.run_one(bench.fold(bench.call(spoils), range(400)))

    (value,) = bench.values(receipt)
    assert value == list(range(150))
    assert [(failure.offset, failure.kind) for failure in receipt.failures] == [(150, FailureKind.USAGE)]
    assert len(calls.all()) < 400 * 4


def test_a_function_that_fails_now_and_then_folds_on_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom(monkeypatch)
    number = itertools.count()
    original = fold_steps.Steps._step

    def shaky(self: Any, position: int, box: list[Any]) -> Any:
        if next(number) % 17 == 16:
            box.pop()
            return Failure(position, FailureKind.ERROR, "by chance", "")
        return original(self, position, box)

    monkeypatch.setattr(fold_steps.Steps, "_step", shaky)

    @tensorlake_function(accumulate=list)
    def collect(acc: list[int], x: int) -> list[int]:
        return [*acc, x]

    call, done = bench.call(collect), 0
    for turn in range(60):
        receipt = bench.run_one(bench.fold(call, range(100), run_id=RunId(f"20260103-000000-{turn:06x}")))
        folded = receipt.done - len(receipt.failures)
        assert folded >= done
        assert all(failure.offset == folded for failure in receipt.failures)
        done = folded
        if done == 100:
            break

    assert done == 100
    assert bench.values(receipt) == [list(range(100))]


def test_where_more_follows_what_is_known_is_replayed_before_anything_is_called(bench: Bench, calls: Calls) -> None:
    @tensorlake_function(accumulate=list)
    def collect(acc: list[int], x: int) -> list[int]:
        calls.note(x)
        return [*acc, x]

    call = bench.call(collect)
    bench.run(bench.fold(call, range(10)))
    before = len(calls.all())
    ahead = bench.run_one(bench.fold(call, range(12), has_more=True, run_id=OTHER_RUN))
    last = bench.run_one(bench.fold(call, range(12), run_id=OTHER_RUN))

    assert (ahead.done, ahead.pieces[0].replayed) == (10, 10)
    assert last.done == 12
    assert len(calls.all()) == before + 2


def test_a_batch_of_a_fold_keeps_only_its_end_where_keeping_is_dear(bench: Bench, kept: list[int]) -> None:
    @tensorlake_function(accumulate=list)
    def collect(acc: list[str], x: str) -> list[str]:
        return [*acc, x]

    call = bench.call(collect)
    first = bench.run_one(bench.fold(call, ["x" * 1000] * 3))
    kept.clear()
    (accumulator,) = first.pieces[0].outputs.spans
    receipt = bench.run_one(bench.fold(call, ["y"] * 9, accumulator, worth_s=30.0, rolling=call_key(7)))

    assert kept == [9]
    assert receipt.worth_s > 0
    assert receipt.keeping_s > 0


class Totals(BaseModel):
    pairs: list[Any] = []


def test_what_json_changes_is_given_to_the_next_step_as_json_gives_it(bench: Bench, keeping: str) -> None:
    @tensorlake_function(accumulate=Totals, output_encoder="json")
    def collect(acc: Totals, x: int) -> Totals:
        assert all(isinstance(pair, list) for pair in acc.pairs)
        acc.pairs.append((x, x))
        return acc

    receipt = bench.run_one(bench.fold(bench.call(collect), range(30)))

    assert receipt.failures == ()
    assert bench.values(receipt) == [{"pairs": [[x, x] for x in range(30)]}]


def call_key(number: int) -> Any:
    return bytes([number]) * 32
