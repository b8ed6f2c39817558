"""Dask alone, which keeps nothing: the same map and sum, and a chain of steps that do next to nothing.

    python raw_dask.py [--elements 2000]

Prints one line of JSON. The cluster of two processes is started and warmed up before anything is timed. There are two
of them, one after the other: as Dask comes, its scheduler hands a worker the tasks of a map one by one; told not to
hold any back (worker-saturation "inf"), it is several times as fast with tasks this small.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version

import dask
from distributed import Client, LocalCluster

STEPS = 100


def double(x: int) -> int:
    return 2 * x


def step(x: int) -> int:
    return x + 1


def time_map(client: Client, elements: int) -> float:
    """The seconds a map over the elements and the sum of what comes back take."""
    began = time.perf_counter()
    total = sum(client.gather(client.map(double, range(elements), pure=False)))
    took = time.perf_counter() - began
    assert total == elements * (elements - 1)
    return took


def time_chain(client: Client) -> float:
    """The seconds a chain takes: all steps are submitted at once, each on the one before; the last is waited for."""
    began = time.perf_counter()
    future = client.submit(step, 0, pure=False)
    for _ in range(STEPS - 1):
        future = client.submit(step, future, pure=False)
    end = future.result()
    took = time.perf_counter() - began
    assert end == STEPS
    return took


def measure(elements: int, saturation: float | None = None) -> tuple[float, float]:
    """The seconds the map and the chain take, on a cluster of their own."""
    with (
        dask.config.set({} if saturation is None else {"distributed.scheduler.worker-saturation": saturation}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        time_map(client, 20)
        return time_map(client, elements), time_chain(client)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=2000)
    options = parser.parse_args()
    map_s, chain_s = measure(options.elements)
    eager_map_s, eager_chain_s = measure(options.elements, float("inf"))
    figures = {
        "peer": "raw_dask",
        "version": version("distributed"),
        "elements": options.elements,
        "map_items_per_s": round(options.elements / map_s, 1),
        "chain_ms_per_step": round(1000 * chain_s / STEPS, 3),
        "saturated_map_items_per_s": round(options.elements / eager_map_s, 1),
        "saturated_chain_ms_per_step": round(1000 * eager_chain_s / STEPS, 3),
        "note": "nothing is kept, so there is nothing to replay; saturated: with worker-saturation inf",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
