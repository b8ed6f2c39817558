"""Whoever has closed a cluster has what there was before: no process, thread, file or connection more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.engine.cluster.session import current
from tests.support.leftovers import nothing_left

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function()
def work(x: int) -> int:
    return x


@pytest.mark.parametrize("kind", ["embedded", "threads"])
def test_nothing_is_left_of_runs_and_their_cluster(tmp_path: Path, kind: str) -> None:
    graph = Graph("left", numbers).add_edge(numbers, work)
    configure(store=tmp_path / "store", cluster=kind, workers=2)

    def use() -> None:
        for n in (3, 30):
            graph.run(n=n)
        graph.start(n=300).cancel()
        current().close()

    use()  # what a process keeps for its life, it has from here on: the loop of its runs, for one

    with nothing_left():
        use()
