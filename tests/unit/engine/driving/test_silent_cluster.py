"""What a run says that waits for its cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tensorlake_nb.engine.driving.silent_cluster import Pending, waits_for

OURS: Any = SimpleNamespace(is_embedded=False, address="tcp://10.0.0.1:8786")
IDLE = Pending(None, {})
RUNNING, PAUSED = {"status": "running", "resources": {"CPU": 4}}, {"status": "paused", "resources": {"GPU": 1}}


@pytest.mark.parametrize(
    ("workers", "pending", "said"),
    [
        ({}, [IDLE], "waiting for workers: the cluster at tcp://10.0.0.1:8786 has none. Start or scale up some, or"),
        ({}, [Pending("tcp://gone", {})], "waiting for workers"),
        ({"w": PAUSED}, [IDLE], "waiting for memory: Dask has paused the cluster's 1 worker (distributed.worker.mem"),
        ({"w": RUNNING, "v": PAUSED}, [Pending(None, {"GPU": 1})], "waiting for a worker with GPU=1: the cluster's 2"),
        ({"w": RUNNING}, [IDLE], "waiting for a free worker among the cluster's 1 worker."),
        ({"w": RUNNING}, [IDLE, Pending(None, {"GPU": 1})], "waiting for a free worker"),
        ({"w": RUNNING}, [Pending("w", {}), IDLE], ""),
        ({}, [], ""),
    ],
)
def test_a_run_says_what_its_batches_wait_for_and_what_to_do(workers: Any, pending: list[Pending], said: str) -> None:
    what = waits_for(OURS, workers, pending)

    assert what.startswith(said)
    assert bool(what) == bool(said)
    assert not what or what.endswith("or run.cancel()")
