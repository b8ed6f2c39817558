"""Long lists: kept in parts, found and read as one, and computed again when one of the parts has gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tensorlake_nb import RouteTo, tensorlake_function
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls import loaded as functions
from tensorlake_nb.store.format.paths import segment_path
from tests.support.batches import Bench, Calls

OTHER_RUN = "20260102-000000-fedcba"


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorlake_nb.engine.worker.parts.PART_OUTPUTS", 10)
    monkeypatch.setattr("tensorlake_nb.engine.worker.node_work.PART_OUTPUTS", 10)


def test_a_long_list_is_kept_in_parts_and_given_as_one(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def numbers(n: int) -> list[int]:
        calls.note("called")
        return list(range(n))

    call = bench.call(numbers)
    receipt = bench.run_one(bench.batch(call, [35, 3]))

    assert bench.values(receipt) == [*range(35), 0, 1, 2]
    (piece,) = receipt.pieces
    assert piece.outputs.digests == b"".join(map(digest, [*range(35), 0, 1, 2]))
    assert [len(span) for span in piece.outputs.spans] == [10, 10, 10, 5, 3]
    assert max(segment.outputs for segment in bench.store.segments_of(call.fingerprint)) == 10

    functions.clear()
    assert bench.values(bench.run_one(bench.batch(call, [35], run_id=OTHER_RUN))) == [*range(35)]
    assert calls.all() == ["called"] * 2


def test_without_one_of_its_parts_a_list_is_computed_again(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def numbers(n: int) -> list[int]:
        calls.note("called")
        return list(range(n))

    call = bench.call(numbers)
    (piece,) = bench.run_one(bench.batch(call, [25])).pieces
    shutil.rmtree(Path(bench.url, segment_path(piece.outputs.spans[1].segment)))
    functions.clear()
    bench.store._records.clear()

    receipt = bench.run_one(bench.batch(call, [25], run_id=OTHER_RUN))
    assert bench.values(receipt) == [*range(25)]
    assert calls.all() == ["called", "called"]


def test_the_items_of_a_long_list_keep_their_routes(bench: Bench) -> None:
    @tensorlake_function
    def odd(x: int) -> int:
        return x

    @tensorlake_function
    def even(x: int) -> int:
        return x

    @tensorlake_function(next=[odd, even])
    def sort(n: int) -> list[int]:
        return [RouteTo(i, [odd if i % 2 else even]) for i in range(n)]  # type: ignore[misc]

    call = bench.call(sort, routes=("even", "odd"))
    (first,) = bench.run_one(bench.batch(call, [23])).pieces
    (again,) = bench.run_one(bench.batch(call, [23], run_id=OTHER_RUN)).pieces

    assert first.outputs.routes is not None
    assert first.outputs.routes.to("odd").tolist() == [i % 2 == 1 for i in range(23)]
    assert again.outputs.routes == first.outputs.routes
