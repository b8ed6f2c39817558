"""A run on a cluster that scales itself, beside `Client.map` of the same calls.

    python -m tests.benchmarks.adaptive [--elements 90] [--seconds 1]

Both begin with one worker of ``cluster.adapt(minimum=1, maximum=6)``, on clusters of their own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import dask
from distributed import Client, LocalCluster

from tensorlake_nb import Graph, configure, tensorlake_function


@tensorlake_function()
def numbers(n: int, seconds: float) -> list[tuple[int, float]]:
    return [(i, seconds) for i in range(n)]


@tensorlake_function()
def nap(i: int, seconds: float) -> int:
    time.sleep(seconds)
    return i


def napped(i: int, seconds: float) -> int:
    time.sleep(seconds)
    return i


def by_dask(client: Any, n: int, seconds: float) -> list[int]:
    """The calls as plain Dask tasks."""
    found: list[int] = client.gather(client.map(napped, range(n), [seconds] * n, pure=False))
    return found


def by_run(client: Any, n: int, seconds: float) -> list[int]:
    """The calls as a run."""
    with tempfile.TemporaryDirectory() as folder:
        configure(store=folder, cluster=client)
        run = Graph("adaptive", numbers).add_edge(numbers, nap).run(n=n, seconds=seconds)
        found = list(run.output(nap))
        configure(cluster="threads")
        return found


def measured(compute: Callable[[Any, int, float], list[int]], n: int, seconds: float) -> tuple[float, int, float]:
    """Seconds of the calls, the most workers that were there, and seconds until one is left."""
    made: Any = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with made as cluster, Client(cluster, set_as_default=False) as client:
        seen: list[int] = []
        client.subscribe_topic("all", lambda _: seen.append(len(cluster.scheduler.workers)))
        cluster.adapt(minimum=1, maximum=6)
        began = time.monotonic()
        assert sorted(compute(client, n, seconds)) == list(range(n))
        lasted = time.monotonic() - began
        while len(cluster.scheduler.workers) > 1 and time.monotonic() - began < lasted + 60:
            time.sleep(0.1)
        return lasted, max(seen, default=1), time.monotonic() - began - lasted


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=90)
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "120s"}):
        raw, most_raw, down_raw = measured(by_dask, asked.elements, asked.seconds)
        ours, most, down = measured(by_run, asked.elements, asked.seconds)
    print(f"Client.map: {raw:.1f} s on up to {most_raw} workers, one is left after {down_raw:.1f} s")
    print(f"a run:      {ours:.1f} s on up to {most} workers, one is left after {down:.1f} s; {ours / raw:.2f} times")


if __name__ == "__main__":
    main()
