"""A cluster that scales itself sees what a run has still to compute."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from tensorlake_nb import Graph, configure, tensorlake_function
from tests.support.notes import Notes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.alone

PATIENCE_S = 120.0


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    """A client of one worker, which may become two."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "120s"}):
        cluster: Any = LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        )
        made: Any = Client(cluster, set_as_default=False)
        configure(store=tmp_path / "store", cluster=made)
        yield made
        configure(cluster="threads", workers=2)
        made.close()
        cluster.close()


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


def test_a_run_is_given_more_workers_and_they_go_again(client: Any, tmp_path: Path) -> None:
    notes = Notes(str(tmp_path / "notes"))

    @tensorlake_function(timeout=PATIENCE_S)
    def meets(x: int) -> int:
        import os
        import time

        notes.add(os.getpid())
        while len(set(notes.all())) < 2:  # nothing is computed before another process is at it, too
            time.sleep(0.01)
        return x

    client.cluster.adapt(minimum=1, maximum=2, interval="100ms", target_duration="1s", wait_count=1)
    run = Graph("adaptive", numbers).add_edge(numbers, meets).start(n=8)
    run.wait(PATIENCE_S)

    assert run.output(meets) == list(range(8))
    assert len(notes.all()) == 8, "no worker is taken away in the middle of a call"
    wait_until(lambda: len(client.cluster.scheduler.workers) == 1, PATIENCE_S)
