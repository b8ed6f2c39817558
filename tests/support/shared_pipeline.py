"""A pipeline that several kernels run at once on one store, each writing down what it calls.

    python shared_pipeline.py STORE CALLS SIZE [BEAT]

Each call appends ``begin <node> <element>``, then ``end <node> <element>``, to the file CALLS. BEAT (s) makes runs give
each other up sooner. With ``SHIFT_S`` in the environment, and this folder's ``shifted`` on the path, clocks are wrong.
"""

from __future__ import annotations

import sys
import time

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.store.claims import meeting as sharing
from tests.support.notes import Notes


@tensorlake_function()
def prepare(size: int, calls: str) -> tuple[int, str]:
    Notes(calls).add("begin prepare 0")
    time.sleep(0.3)
    Notes(calls).add("end prepare 0")
    return (size, calls)


@tensorlake_function()
def numbers(size: int, calls: str) -> list[tuple[int, str]]:
    Notes(calls).add("begin numbers 0")
    time.sleep(0.3)
    Notes(calls).add("end numbers 0")
    return [(i, calls) for i in range(size)]


@tensorlake_function()
def slow(i: int, calls: str) -> tuple[int, str]:
    Notes(calls).add(f"begin slow {i}")
    time.sleep(0.02)
    Notes(calls).add(f"end slow {i}")
    return (3 * i, calls)


@tensorlake_function(accumulate=list)
def collect(found: list[int], value: int, calls: str) -> list[int]:
    Notes(calls).add(f"begin collect {value}")
    found.append(value)
    Notes(calls).add(f"end collect {value}")
    return found


def main(store: str, calls: str, size: int, beat_s: float) -> None:
    sharing.BEAT_S = beat_s
    configure(store=store, workers=1)
    graph = Graph(name="shared", start_node=prepare)
    graph.add_edge(prepare, numbers).add_edge(numbers, slow).add_edge(slow, collect)
    run = graph.run(size=size, calls=calls)
    assert run.output(collect) == [[3 * i for i in range(size)]], run.output(collect)
    print("right", run.counts(slow)["computed"], run.counts(slow)["replayed"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
