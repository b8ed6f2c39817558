"""A pipeline that writes down every call, to be run as a process of its own and killed.

    python counted_pipeline.py STORE CALLS SIZE [run | resume]

Each call appends ``begin <node> <element>`` and, when it is done, ``end <node> <element>`` to the file CALLS.
"""

from __future__ import annotations

import os
import sys
import time

from tensorlake_nb import Graph, Run, configure, tensorlake_function

CALLS = sys.argv[2] if len(sys.argv) > 2 else os.devnull


def note(what: str, calls: str) -> None:
    handle = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, f"{what}\n".encode())
    finally:
        os.close(handle)


@tensorlake_function()
def numbers(size: int, calls: str) -> list[tuple[int, str]]:
    note("begin numbers 0", calls)
    note("end numbers 0", calls)
    return [(i, calls) for i in range(size)]


@tensorlake_function()
def slow(i: int, calls: str) -> tuple[int, str]:
    note(f"begin slow {i}", calls)
    time.sleep(0.005)
    note(f"end slow {i}", calls)
    return (3 * i, calls)


@tensorlake_function(accumulate=list)
def collect(found: list[int], value: int, calls: str) -> list[int]:
    note(f"begin collect {value}", calls)
    time.sleep(0.002)
    found.append(value)
    note(f"end collect {value}", calls)
    return found


def main(store: str, calls: str, size: int, how: str) -> None:
    configure(store=store, workers=2)
    graph = Graph(name="counted", start_node=numbers)
    graph.add_edge(numbers, slow).add_edge(slow, collect)
    if how == "resume":
        (run, *_) = Run.list()
        run.resume()
    else:
        run = graph.run(size=size, calls=calls)
    assert run.output(collect) == [[3 * i for i in range(size)]], run.output(collect)
    counts = {node: run.counts(node) for node in ("slow", "collect")}
    print("right", counts["slow"]["computed"], counts["collect"]["computed"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
