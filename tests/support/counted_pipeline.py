"""A pipeline that writes down every call, to be run as a process of its own and killed.

    python counted_pipeline.py STORE CALLS SIZE

Each call appends ``begin <node> <element> @<thread>`` to the file CALLS and, when it is done, the same with ``end``.
Says as JSON what had become of the runs before, and of this one: the newest is gone on with if it was interrupted, or
a new one is begun, in turn.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from tensorlake_nb import Graph, Retries, Run, configure, tensorlake_function


def note(what: str, calls: str) -> None:
    handle = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, f"{what} @{threading.get_native_id()}\n".encode())
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
    return (i, calls)


@tensorlake_function(accumulate=list)
def collect(found: list[int], i: int, calls: str) -> list[int]:
    note(f"begin collect {i}", calls)
    time.sleep(0.002)
    found.append(3 * i)
    note(f"end collect {i}", calls)
    return found


def main(store: str, calls: str, size: int) -> None:
    configure(store=store, workers=2)
    graph = Graph(name="counted", start_node=numbers, retries=Retries(max_retries=3, initial_delay=0.05))
    graph.add_edge(numbers, slow).add_edge(slow, collect)
    before = [(run.status, len(run.failures), run.counts("slow")["computed"]) for run in Run.list()]
    if before and before[0][0] == "interrupted" and len(before) % 2:
        run = Run.list()[0].resume()
    else:
        run = graph.run(size=size, calls=calls)
    print(
        json.dumps(
            {
                "before": before,
                "status": run.status,
                "is_right": run.output(collect) == [[3 * i for i in range(size)]],
                "counts": {node: run.counts(node) for node in ("slow", "collect")},
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
