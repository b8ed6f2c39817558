"""Handle worker deaths on a user's own cluster: keep Dask from repeating their batches, and find the causes.

A scheduler of Dask's begins a task again, up to ``distributed.scheduler.allowed-failures`` times, when its worker dies:
a call that ends its process would be made four times. Whether a call is made again is for its run to decide.

This file deals with parts of distributed that have no public interface: `Any` stops here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distributed import KilledWorker, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from tensorlake_nb.engine.cluster.batch_names import is_batch_key
from tensorlake_nb.engine.cluster.deaths import STOOD_STILL, cause_of

logger = logging.getLogger(__name__)

#: Causes that say nothing of what a worker was computing.
SILENT = "silent"
TAKEN = "taken away"
LOST_HOST = "lost host"
BLAMELESS: Mapping[str, str] = {
    STOOD_STILL: "its worker process was paused (SIGSTOP) for too long",
    SILENT: "its worker fell silent, and the scheduler gave it up",
    TAKEN: "its worker was taken away while it computed",
    LOST_HOST: "its worker went away together with its nanny, as when a machine is lost",
}
#: How long a nanny may take to hear that its worker is dead, and to answer (s).
_NOTICE_S, _ANSWER_S, _ASK_EVERY_S = 1.0, 3.0, 0.05
#: How much of its log is looked at.
_LOG_LINES = 200


class BegunBeforeError(Exception):
    """Dask gives a worker a batch that another one had begun, and was at when it ended."""


class AttemptsOnce(SchedulerPlugin):
    """Has a scheduler give a batch up when its worker ends, instead of beginning it again elsewhere."""

    name = "tensorlake-nb-attempts-once"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._scheduler: Any = scheduler

    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **kwargs: Any) -> None:
        """Count a batch that a worker is given as one that has failed as often as it may."""
        if finish == "processing" and is_batch_key(key):
            self._scheduler.tasks[key].suspicious = self._scheduler.allowed_failures


def attempt_once(client: Any) -> bool:
    """Have the scheduler of a client give batches up when their workers end; ``False`` if it takes no plugins."""
    try:
        client.register_plugin(AttemptsOnce())
    except Exception as error:  # it may lack this package, or unpickle nothing
        logger.warning(
            "the scheduler takes no plugin (%s: %s): Dask may begin a call again whose worker has ended",
            type(error).__name__,
            error,
        )
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Seen:
    """The scheduler's facts about a worker that has ended.

    ``said``: what its nanny says; ``None`` if that doesn't answer.
    """

    stimulus: str
    was_expected: bool
    said: tuple[str, ...] | None


def ending_of(client: Any, address: str, error: BaseException | None = None) -> str:
    """Return a worker's end: ``"exit code 3"``, ``"SIGKILL"``, ``"timeout"``, one of `BLAMELESS`; ``""`` if unknown.

    Parameters
    ----------
    error
        Dask's error of a task on it, which names its process and its nanny.
    """
    died = error.last_worker if isinstance(error, KilledWorker) else None
    nanny = getattr(died, "nanny", None)
    pid = getattr(died, "pid", None)
    try:
        seen: _Seen = client.run_on_scheduler(_see, address=address, nanny=nanny, pid=pid)
    except Exception:
        logger.debug("can't ask what ended the worker at %s", address, exc_info=True)
        return ""
    if seen.stimulus.startswith("check-worker-ttl"):
        return SILENT
    if seen.was_expected:
        return TAKEN
    if nanny is None:
        return ""
    if seen.said is None or any("Closing Nanny" in text for text in seen.said):
        return LOST_HOST
    return _told(seen.said, getattr(died, "memory_limit", 0) or 0)


def _told(said: tuple[str, ...], memory_limit: float) -> str:
    """Return a nanny's report of its worker's end, in the words of `cause_of`."""
    text = "\n".join(said)
    by_signal = re.search(r"was killed by signal (\d+)", text)
    by_itself = re.search(r"exited with status (\d+)", text)
    if by_signal is None and by_itself is None:
        return ""
    cause = cause_of(-int(by_signal[1]) if by_signal else int(by_itself[1]) if by_itself else 0)
    if "memory budget" in text:
        cause = f"{cause}: it used more than its {memory_limit / 2**20:.0f} MiB of memory"
    return cause


async def _see(address: str, nanny: str | None, pid: int | None, dask_scheduler: Any) -> _Seen:
    """Read the nannies' logs on the scheduler: a client may not reach the nannies."""
    events = [event for _, event in dask_scheduler.get_events(address) if event.get("action") == "remove-worker"]
    last = events[-1] if events else {}
    said = None if nanny is None else await _said_by(dask_scheduler, nanny, pid)
    return _Seen(str(last.get("stimulus_id", "")), bool(last.get("expected", False)), said)


async def _said_by(scheduler: Any, nanny: str, pid: int | None) -> tuple[str, ...] | None:
    """Return the lines about a worker's process and the nanny's own end in its log; ``None`` if it doesn't answer."""
    found: list[str] = []
    for _ in range(int(_NOTICE_S / _ASK_EVERY_S)):
        try:
            logs = await asyncio.wait_for(scheduler.rpc(nanny).get_logs(n=_LOG_LINES), _ANSWER_S)
        except Exception:
            return None
        # Nannies of one process share a log.
        ends = [text for _, text in logs if f"Worker process {pid} " in text or f"Closing Nanny at {nanny!r}" in text]
        ends += [text for _, text in logs if f"Closing Nanny gracefully at {nanny!r}" in text]
        found = [*ends, *(text for _, text in logs if f"(pid={pid}) exceeded" in text)]
        if ends:
            break
        await asyncio.sleep(_ASK_EVERY_S)
    return tuple(found)
