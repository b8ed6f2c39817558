"""Tell the scheduler a run's remaining work, for clusters that scale themselves.

Two batches for each slot are under way at a time, so a scheduler sees next to nothing to do, and `cluster.adapt()`
would never ask for more workers. `Adaptive` asks by RPC, a dask-gateway calls the method: both are answered.

This file deals with parts of distributed that have no public interface: `Any` stops here.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from tensorlake_nb.engine.cluster.batch_names import is_batch_key

#: For how long what a run has told counts (s): a kernel that dies takes nothing back.
EXPIRES_S = 15.0
_TOPIC = "tensorlake-nb-backlog"


def tell(client: Any, run_id: str, seconds: float, elements: int) -> None:
    """Tell the scheduler a run's backlog; waits for nothing."""
    message = {"run": run_id, "seconds": seconds, "elements": elements}

    async def told() -> None:
        with suppress(Exception):  # the scheduler may be gone
            await client.scheduler.log_event(topic=_TOPIC, msg=message)

    client.loop.add_callback(told)


def count(client: Any) -> None:
    """Have the scheduler count what runs tell; without plugins it doesn't."""
    with suppress(Exception):
        client.register_plugin(Backlogs())


class Backlogs(SchedulerPlugin):
    """Counts what runs have told of among what a scheduler has to do; workers that are at a call aren't let go."""

    name = "tensorlake-nb-backlogs"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        #: Per run seconds, elements, and when they no longer count.
        self._told: dict[str, tuple[float, int, float]] = {}
        self._asked = scheduler.adaptive_target
        self._scheduler.adaptive_target = self.adaptive_target
        self._scheduler.handlers["adaptive_target"] = self.adaptive_target

    def log_event(self, topic: str, msg: Any) -> None:
        """Hear what a run tells."""
        if topic != _TOPIC:
            return
        self._told.pop(msg["run"], None)
        if msg["elements"]:
            self._told[msg["run"]] = (msg["seconds"], msg["elements"], time.monotonic() + EXPIRES_S)

    def adaptive_target(self, target_duration: Any = None) -> int:
        """Return the number of workers to aim at: Dask's own, or more."""
        wanted = int(self._asked(target_duration))
        now = time.monotonic()
        self._told = {run: told for run, told in self._told.items() if told[2] > now}
        elements = sum(told[1] for told in self._told.values())
        if not elements:
            return wanted
        seconds = self._scheduler.total_occupancy + sum(told[0] for told in self._told.values())
        workers = self._scheduler.workers.values()
        duration: float = parse_timedelta(target_duration or dask.config.get("distributed.adaptive.target-duration"))
        at_work = sum(len(worker.processing) for worker in workers)
        threads = min(math.ceil(seconds / duration), elements + at_work)
        per_worker = sum(worker.nthreads for worker in workers) / len(workers) if workers else 1
        return max(wanted, math.ceil(float(threads / per_worker)))

    def valid_workers_downscaling(self, scheduler: Scheduler, workers: list[Any]) -> list[Any]:
        """Let go only of workers that have no batch."""
        return [worker for worker in workers if not any(is_batch_key(task.key) for task in worker.processing)]
