"""Messages from a running batch to its driver: begun, progress, parts of a generator's items, a call that hangs.

Messages travel as Dask events under the run's topic. They may be lost with their worker: everything that matters
stands in the receipt or in the store as well.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from distributed import Worker, get_worker

from tensorlake_nb.core.batches.receipt import Receipt
from tensorlake_nb.core.keys import RunId

#: How long a worker waits for the scheduler to hear that it begins (s).
_HEARD_S = 5.0


@dataclass(frozen=True, slots=True)
class BatchBegun:
    """A batch was begun on a worker.

    ``surely``: nothing is called before the scheduler has heard it, since nothing else tells of it if the call ends its
    worker.
    """

    batch: str
    node: str
    worker: str
    pid: int
    surely: bool = False


@dataclass(frozen=True, slots=True)
class CallProgress:
    """``ctx.update_progress`` of one element."""

    batch: str
    node: str
    offset: int
    current: float
    total: float


@dataclass(frozen=True, slots=True)
class PartDone:
    """Items that a generator has emitted so far are committed."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Overran:
    """A call didn't end when its time was up. With ``exits`` its process ends now; else its thread is lost.

    ``offset`` says of which element in the batch, if that is certain.
    """

    batch: str
    node: str
    offset: int | None
    timeout_s: float
    exits: bool


@dataclass(frozen=True, slots=True)
class BatchAwaitsStore:
    """The store can't be reached: it is asked again after so many seconds."""

    batch: str
    seconds: float


Message = BatchBegun | CallProgress | PartDone | Overran | BatchAwaitsStore
Report = Callable[[Message], None]


def topic_of(run_id: RunId) -> str:
    """Return the Dask event topic of a run's messages."""
    return f"tensorlake-nb/{run_id}"


def encoded(message: Message) -> dict[str, Any]:
    """Return a message in the form that Dask carries."""
    return {"tensorlake-nb": type(message).__name__, "body": pickle.dumps(message, protocol=5)}


def decoded(event: Mapping[str, Any]) -> Message | None:
    """Return the message of an event, ``None`` for an event of another program."""
    body = event.get("body")
    if "tensorlake-nb" not in event or not isinstance(body, bytes):
        return None
    message = pickle.loads(body)
    return message if isinstance(message, Message) else None


def current_worker() -> Worker | None:
    """Return the Dask worker that runs this thread's task, ``None`` outside of one."""
    try:
        return get_worker()
    except ValueError:
        return None


def reporter(worker: Worker | None, run_id: RunId) -> Report:
    """Send messages through a worker; without one they go nowhere. Works from any thread."""
    if worker is None:
        return lambda _: None
    topic = topic_of(run_id)

    def report(message: Message) -> None:
        if isinstance(message, BatchBegun) and message.surely:
            loop: Any = worker.loop
            heard = worker.scheduler.log_event(topic=topic, msg=encoded(message))
            with suppress(Exception):  # what the run is told is never worth a batch
                asyncio.run_coroutine_threadsafe(heard, loop.asyncio_loop).result(_HEARD_S)
        else:
            worker.log_event(topic, encoded(message))

    return report
