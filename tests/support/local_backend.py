"""Runs without Dask: their batches are computed on a thread of this process, in an order drawn from a seed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.batches.messages import Message, Order
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.calls.cancellation import forget_run, request_stop
from tensorlake_nb.engine.calls.loaded import forget_listed
from tensorlake_nb.engine.calls.reporting import PartDone
from tensorlake_nb.engine.driving import launch
from tensorlake_nb.engine.driving.backend import Backend
from tensorlake_nb.engine.worker.execute import execute

_PATIENCE_S = 20.0


@dataclass
class Place:
    """What the batches of the next runs meet.

    Attributes
    ----------
    slots
        How many batches can be computed at once, as far as the driver knows.
    random
        Draws which of those that wait is next.
    loses
        Every third batch is said to be lost, half of them before they are begun, half when all is done. Only three
        before they are begun: what never begins however often it is tried fails, as it should.
    before_batch
        Called before each batch with how many there were, and with what waits until the backend was told to stop.
    """

    slots: int = 1
    random: Random = field(default_factory=lambda: Random(0))
    loses: bool = False
    before_batch: Callable[[int, Callable[[], object]], None] = lambda count, halted: None


class LocalBackend:
    """The `Backend` of one run."""

    def __init__(self, place: Place, run_id: RunId, post: Callable[[Message], None]) -> None:
        self._place, self._run_id, self._post = place, run_id, post
        self._waiting: list[Order] = []
        self._changed = threading.Condition()
        self._halted = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def submit(self, orders: Sequence[Order]) -> None:
        with self._changed:
            self._waiting += orders
            self._changed.notify()
        if self._thread is None:
            self._post(ms.Ready(self._place.slots))
            self._thread = threading.Thread(target=self._work, name="local backend", daemon=True)
            self._thread.start()

    def halt(self, *, interrupt: bool) -> None:
        """Calls under way come to their end, so that whoever counts calls knows which have."""
        request_stop(self._run_id)
        with self._changed:
            withdrawn, self._waiting = self._waiting, []
        for order in withdrawn:
            self._post(ms.Lost(order.number, "it was withdrawn before it began"))
        self._halted.set()

    def look(self) -> None:
        pass

    def refresh(self) -> None:
        forget_listed(self._run_id)

    def backlog(self, seconds: float, elements: int) -> None:
        pass

    def abandon(self, numbers: Iterable[int]) -> None:
        pass

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._waiting = []
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)
        forget_run(self._run_id)

    def _work(self) -> None:
        for count, order in enumerate(self._next()):
            self._place.before_batch(count, lambda: self._halted.wait(_PATIENCE_S))
            if self._place.loses and count in (1, 7, 13):
                self._post(ms.Lost(order.number, "its worker process ended before it began"))
                continue
            self._post(ms.Started(order.number, "here"))

            def report(message: Any, number: int = order.number) -> None:
                if isinstance(message, PartDone):
                    self._post(ms.PartFinished(number, message.receipt))

            try:
                receipts = execute(order.batch, report, Host(address="here"))
            except BaseException as error:
                self._post(ms.Lost(order.number, f"{type(error).__name__}: {error}"))
            else:
                if self._place.loses and count % 6 == 4:
                    self._post(ms.Lost(order.number, "its worker process ended with its receipts"))
                    continue
                self._post(ms.Finished(order.number, receipts))

    def _next(self) -> Iterator[Order]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                order = self._waiting.pop(self._place.random.randrange(len(self._waiting)))
            yield order


@contextmanager
def runs_here(place: Place) -> Iterator[None]:
    """Within this, runs of a session on the embedded cluster are computed at a place; no cluster is started."""

    def make(
        connect: Any, run_id: RunId, secrets: Mapping[str, str], post: Callable[[Message], None], **options: Any
    ) -> Backend:
        return LocalBackend(place, run_id, post)

    with patch.object(launch, "DaskBackend", make):
        yield
