"""A map of many tiny elements, each durable, then a fold, beside the same map with ``Client.map`` on the same cluster.

    python -m tests.benchmarks.elements [--elements 10000] [--rounds 3]

The two are timed in turn in one process; what counts is the ratio of items per second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.engine.session import current


@tensorlake_function()
def numbers(n: int, round: int) -> list[int]:
    return [n * round + i for i in range(n)]


@tensorlake_function()
def double(x: int) -> int:
    return 2 * x


@tensorlake_function(accumulate=int)
def total(so_far: int, x: int) -> int:
    return so_far + x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    graph = Graph(name="elements", start_node=numbers).add_edge(numbers, double).add_edge(double, total)
    with tempfile.TemporaryDirectory() as folder:
        configure(store=folder, cluster="embedded", workers=2)
        graph.run(n=2, round=0)  # the cluster starts, and the functions arrive
        client = current().connection().client
        ratios = []
        for number in range(1, options.rounds + 1):
            began = time.perf_counter()
            run = graph.run(n=options.elements, round=number)
            durable_s = time.perf_counter() - began
            assert run.result() == sum(2 * (options.elements * number + i) for i in range(options.elements))
            began = time.perf_counter()
            sum(client.gather(client.map(double.call, range(options.elements), pure=False)))
            raw_s = time.perf_counter() - began
            began = time.perf_counter()
            graph.run(n=options.elements, round=number)
            replay_s = time.perf_counter() - began
            ratios.append(raw_s / durable_s)
            print(
                f"round {number}: durable map and fold {options.elements / durable_s:,.0f} items/s, "
                f"Client.map {options.elements / raw_s:,.0f} items/s, ratio {ratios[-1]:.1f}; "
                f"replayed in {replay_s:.3f} s"
            )
        print(f"median ratio {statistics.median(ratios):.1f} of {options.elements:,} elements on 2 workers")
        configure(cluster="threads")


if __name__ == "__main__":
    main()
