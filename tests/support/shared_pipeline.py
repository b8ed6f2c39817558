"""A pipeline that several kernels run at once on one store, each writing down what it calls.

    python shared_pipeline.py STORE CALLS SIZE [BEAT]

Each call appends ``begin <node> <element>``, then ``end <node> <element>``, to the file CALLS. BEAT (s) makes runs give
each other up sooner. With ``SHIFT_S`` in the environment, and this folder's ``shifted`` on the path, clocks are wrong.
"""

from __future__ import annotations

import os
import sys
import time

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.engine import sharing


def note(what: str, calls: str) -> None:
    handle = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, f"{what}\n".encode())
    finally:
        os.close(handle)


@tensorlake_function()
def prepare(size: int, calls: str) -> tuple[int, str]:
    note("begin prepare 0", calls)
    time.sleep(0.3)
    note("end prepare 0", calls)
    return (size, calls)


@tensorlake_function()
def numbers(size: int, calls: str) -> list[tuple[int, str]]:
    note("begin numbers 0", calls)
    time.sleep(0.3)
    note("end numbers 0", calls)
    return [(i, calls) for i in range(size)]


@tensorlake_function()
def slow(i: int, calls: str) -> tuple[int, str]:
    note(f"begin slow {i}", calls)
    time.sleep(0.02)
    note(f"end slow {i}", calls)
    return (3 * i, calls)


@tensorlake_function(accumulate=list)
def collect(found: list[int], value: int, calls: str) -> list[int]:
    note(f"begin collect {value}", calls)
    found.append(value)
    note(f"end collect {value}", calls)
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
