"""A pipeline one of whose calls fails in one kernel, which goes on, and is made in another.

    FAILS="slow 7" python failing_pipeline.py STORE CALLS SIZE BEAT

Arguments and notes are those of ``shared_pipeline.py``. The kernel with ``FAILS`` fails in that call once it has met
another kernel, and once more; its run ends when the other kernel has made the call, and not before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tensorlake_nb import Graph, Retries, configure, tensorlake_function
from tensorlake_nb.store.claims import meeting as sharing
from tests.support.notes import Notes
from tests.support.waiting import wait_until


@tensorlake_function()
def prepare(size: int, calls: str) -> tuple[int, str]:
    return (size, calls)


@tensorlake_function()
def numbers(size: int, calls: str) -> list[tuple[int, str]]:
    return [(i, calls) for i in range(size)]


def noted(what: str, calls: str) -> None:
    """Make a call's notes, in the middle of which it may fail."""
    Notes(calls).add(f"begin {what}")
    if os.environ.get("FAILS") == what:
        wait_until(lambda: any((Path(calls).parent / "store" / "claims").glob("??/*/*")))
        raise ValueError("not here")
    Notes(calls).add(f"end {what}")


@tensorlake_function(retries=Retries(max_retries=1, initial_delay=0.0))
def slow(i: int, calls: str) -> int:
    noted(f"slow {i}", calls)
    return 3 * i


@tensorlake_function(accumulate=int, retries=Retries(max_retries=1, initial_delay=0.0))
def total(so_far: int, i: int, calls: str) -> int:
    noted(f"total {i}", calls)
    return so_far + i


@tensorlake_function()
def holds_on(size: int, calls: str) -> str:
    """Keep the run with the failure going until the other kernel has done better."""
    if os.environ.get("FAILS"):
        wait_until(lambda: f"end {os.environ['FAILS']}" in Notes(calls).all())
    return "held on"


def main(store: str, calls: str, size: int, beat_s: float) -> None:
    sharing.BEAT_S = beat_s
    configure(store=store, workers=2)
    graph = Graph(name="failing", start_node=prepare, on_error="continue")
    graph.add_edge(prepare, numbers).add_edge(numbers, slow).add_edge(numbers, total).add_edge(prepare, holds_on)
    run = graph.run(size=size, calls=calls)
    failed = {(failure.node, failure.index) for failure in run.failures}
    assert run.output(holds_on) == ["held on"], run.output(holds_on)
    assert run.output(slow) == [3 * i for i in range(size) if ("slow", i) not in failed], run.output(slow)
    if not any(node == "total" for node, _ in failed):
        assert run.output(total) == [sum(range(size))], run.output(total)
    print("right", *(f"but {node} {index}" for node, index in sorted(failed)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
