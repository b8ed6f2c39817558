"""A pipeline one of whose elements fails in one kernel, which goes on, and is computed in another.

    FAILS=ELEMENT python failing_pipeline.py STORE CALLS SIZE BEAT

Arguments and notes are those of ``shared_pipeline.py``. The kernel with ``FAILS`` fails at that element once it has met
another one, and once more; its run ends when the other kernel has computed the element, and not before.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tensorlake_nb import Graph, Retries, configure, tensorlake_function
from tensorlake_nb.engine import sharing
from tests.support.notes import Notes


def wait_until(it_is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not it_is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


@tensorlake_function()
def prepare(size: int, calls: str) -> tuple[int, str]:
    return (size, calls)


@tensorlake_function()
def numbers(size: int, calls: str) -> list[tuple[int, str]]:
    return [(i, calls) for i in range(size)]


@tensorlake_function(retries=Retries(max_retries=1, initial_delay=0.0))
def slow(i: int, calls: str) -> int:
    notes = Notes(calls)
    notes.add(f"begin slow {i}")
    if os.environ.get("FAILS") == str(i):
        wait_until(lambda: any((Path(calls).parent / "store" / "claims").glob("??/*/*")))
        raise ValueError("not here")
    notes.add(f"end slow {i}")
    return 3 * i


@tensorlake_function()
def holds_on(size: int, calls: str) -> str:
    """Keep the run with the failure going until the other kernel has done better."""
    if os.environ.get("FAILS"):
        wait_until(lambda: f"end slow {os.environ['FAILS']}" in Notes(calls).all())
    return "held on"


def main(store: str, calls: str, size: int, beat_s: float) -> None:
    sharing.BEAT_S = beat_s
    configure(store=store, workers=2)
    graph = Graph(name="failing", start_node=prepare, on_error="continue")
    graph.add_edge(prepare, numbers).add_edge(numbers, slow).add_edge(prepare, holds_on)
    run = graph.run(size=size, calls=calls)
    failed = [failure.index for failure in run.failures]
    assert run.output(holds_on) == ["held on"], run.output(holds_on)
    assert run.output(slow) == [3 * i for i in range(size) if i not in failed], run.output(slow)
    print("right", *(["but", *failed] if failed else []), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
