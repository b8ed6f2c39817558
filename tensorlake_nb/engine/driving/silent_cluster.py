"""Explain a run's wait when its cluster has been silent for a while; shown wherever the run is shown."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.batches.messages import Message
from tensorlake_nb.engine.cluster.connection import Connection

logger = logging.getLogger(__name__)

#: After what time without a word the cluster is asked, and within what time it has to answer (s).
_QUIET_S, _ANSWER_S = 3.0, 5.0
_OR_CANCEL = "or run.cancel()"


@dataclass(frozen=True, slots=True)
class Pending:
    """A batch that the cluster has.

    ``worker``: which one has begun it; ``needs``: the Dask resources that it asks for.
    """

    worker: str | None
    needs: Mapping[str, float]


class Silence:
    """Asks a cluster that says nothing how it stands, on a thread of its own, and posts what a run waits for."""

    def __init__(self, post: Callable[[Message], None]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None
        self._said = ""

    def ended(self) -> None:
        """Note that the cluster has said something, or was told something."""
        with self._lock:
            self._heard_at = time.monotonic()
        self._say("")

    def look(self, connection: Connection, pending: Callable[[], Iterable[Pending]]) -> None:
        """Ask if it has been silent for long; doesn't block."""
        now = time.monotonic()
        with self._lock:
            if now - self._heard_at < _QUIET_S:
                return
            is_asked, asked_at = self._asked_at is not None, self._asked_at or now
            self._asked_at = asked_at
        if not is_asked:
            threading.Thread(
                target=self._ask, args=(connection, pending), name="tensorlake-nb-silence", daemon=True
            ).start()
        elif now - asked_at > _ANSWER_S and not connection.is_embedded:
            self._say(
                f"waiting for the scheduler: {connection.address} doesn't answer. "
                f"See whether it is paused or overloaded, {_OR_CANCEL}"
            )

    def _ask(self, connection: Connection, pending: Callable[[], Iterable[Pending]]) -> None:
        try:
            workers = connection.workers()
            self._say(waits_for(connection, workers, list(pending())))
        except Exception:  # whoever has lost its scheduler says so itself
            logger.debug("can't ask the cluster how it stands", exc_info=True)
        finally:
            with self._lock:
                self._asked_at = None

    def _say(self, what: str) -> None:
        with self._lock:
            is_news, self._said = what != self._said, what
        if is_news:
            self._post(ms.Waits(what))


def waits_for(connection: Connection, workers: Mapping[str, Mapping[str, Any]], pending: list[Pending]) -> str:
    """Say what batches wait for, given the workers' state; empty if any of them is at work.

    Parameters
    ----------
    workers
        The scheduler's facts about each worker, by its address.
    """
    if not pending or any(batch.worker in workers for batch in pending):
        return ""
    if not workers:
        if connection.is_embedded:
            return "waiting for the workers of the embedded cluster to start again"
        where = connection.address
        return f"waiting for workers: the cluster at {where} has none. Start or scale up some, {_OR_CANCEL}"
    running = [worker for worker in workers.values() if worker.get("status", "running") == "running"]
    count = f"{len(workers)} worker{'s' if len(workers) > 1 else ''}"
    if not running:
        return (
            f"waiting for memory: Dask has paused the cluster's {count} (distributed.worker.memory.pause). "
            f"Free memory there or add workers, {_OR_CANCEL}"
        )
    lacking = [batch.needs for batch in pending if not any(_has(worker, batch.needs) for worker in running)]
    if len(lacking) == len(pending):
        needs = ", ".join(f"{name}={amount:g}" for name, amount in lacking[0].items())
        return f"waiting for a worker with {needs}: the cluster's {count} have none. Start one, {_OR_CANCEL}"
    return f"waiting for a free worker among the cluster's {count}. Add some, {_OR_CANCEL}"


def _has(worker: Mapping[str, Any], needs: Mapping[str, float]) -> bool:
    return all(worker.get("resources", {}).get(name, 0) >= amount for name, amount in needs.items())
