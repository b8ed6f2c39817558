"""The two hands of a driver: a thread at the store, and one at the cluster.

Neither answers at once: what comes of an instruction is posted to the driver.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.batches.batch import Batch
from tensorlake_nb.core.batches.messages import Message, Order
from tensorlake_nb.core.functions.policy import Placement
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.instructions import Gather, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.turn import Performer
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.backend import Backend
from tensorlake_nb.store.claims.meeting import Sharing
from tensorlake_nb.store.filesystems.retrying import Patience, patient

logger = logging.getLogger(__name__)

#: How often the cluster is told what is left to hand over (s).
_TELL_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of some work at a desk; it counts as long as that desk is the run's own."""

    desk: Desk
    content: Event | BaseException


class Hands(Performer):
    """Performs a run's instructions on threads of its own, in order on each.

    Attributes
    ----------
    desk
        The desk that is asked; what another one, of before damage was found, is still to do is left out.
    """

    def __init__(
        self,
        make_desk: Callable[[], Desk],
        backend: Backend,
        post: Callable[[Answer | Message | BaseException], None],
        plan: Plan,
        placements: Mapping[str, Placement],
        patience: Patience,
        sharing: Sharing | None,
        clock: Callable[[], float],
    ) -> None:
        self.desk: Desk
        self._make_desk, self._backend, self._post, self._clock = make_desk, backend, post, clock
        self._plan, self._placements, self._patience, self._sharing = plan, placements, patience, sharing
        self._desk_thread = ThreadPoolExecutor(1, thread_name_prefix="tensorlake-nb-store")
        self._backend_thread = ThreadPoolExecutor(1, thread_name_prefix="tensorlake-nb-cluster")
        self._is_halted = False
        self._has_backlog, self._tell_again_at = False, 0.0

    # -- at the store --

    def probe(self, order: Probe) -> None:
        self.at_desk(self.desk.probe, order)

    def gather(self, order: Gather) -> None:
        self.at_desk(self.desk.gather, order)

    def seal(self, order: Seal, node: NodeState) -> None:
        self.at_desk(self.desk.seal, order, node)

    def submit(self, orders: Sequence[Submit]) -> tuple[()]:
        self.at_desk(self._submit, self.desk, orders)
        return ()

    def at_desk(self, work: Callable[..., Event | None], *args: Any) -> None:
        """Do something on the store's thread; its event is posted."""
        self._desk_thread.submit(self._try, self.desk, work, *args)

    def beat(self, *, is_idle: bool) -> None:
        """Let other runs on the store know that this one is driven."""
        self.at_desk(_quietly, partial(self.desk.beat, is_idle=is_idle))

    def _try(self, desk: Desk, work: Callable[..., Event | None], *args: Any) -> None:
        if desk is not self.desk:
            return  # damage was found meanwhile, and the run began again
        try:
            with patient(self._patience):
                event = work(*args)
        except BaseException as error:
            self._post(Answer(desk, error))
            return
        if event is not None:
            self._post(Answer(desk, event))

    def _submit(self, desk: Desk, orders: Sequence[Submit]) -> None:
        """Claim batches, make those that nobody else is at, and hand them over together."""
        batches: list[tuple[Submit, Batch]] = []
        for order in orders:
            held = desk.claim(order, self._clock())
            if held is None:
                batches.append((order, desk.batch(order)))
            else:
                self._post(Answer(desk, held))
        ready = [
            Order(
                order.number,
                batch,
                order.priority,
                self._placements[order.node],
                is_lasting=self._plan.nodes[order.node].lone,
            )
            for order, batch in batches
        ]
        self._backend_thread.submit(self._hand_over, ready)

    # -- at the cluster --

    def _hand_over(self, orders: list[Order]) -> None:
        if self._is_halted:  # the backend was told to stop before it heard of these
            for order in orders:
                self._post(ms.Lost(order.number, "it was withdrawn before it began"))
            return
        try:
            self._backend.submit(orders)
        except BaseException as error:
            self._post(error)

    def halt(self, reason: Literal["cancelled", "failed"]) -> None:
        self._is_halted = True
        if self._sharing is not None:
            self._sharing.interrupt()
        self._at_cluster(partial(self._backend.halt, interrupt=reason == "cancelled"))

    def abandon(self, numbers: Iterable[int]) -> None:
        """End the workers of batches that don't end by themselves."""
        self._at_cluster(partial(self._backend.abandon, numbers))

    def tell_backlog(self, backlog: tuple[float, int], now: float) -> None:
        """Let a cluster that scales itself know what is left to hand over."""
        if now >= self._tell_again_at if backlog[1] else self._has_backlog:  # it stops counting if it isn't told again
            self._has_backlog, self._tell_again_at = backlog[1] > 0, now + _TELL_EVERY_S
            self._at_cluster(partial(self._backend.backlog, *backlog))

    def look(self) -> None:
        """Look whether anything can still come from the cluster."""
        self._backend.look()

    def _at_cluster(self, work: Callable[[], None]) -> None:
        self._backend_thread.submit(_quietly, work)

    # -- from one desk to the next, and to the end --

    def begin(self) -> None:
        """Sit down at a desk with empty tables."""
        self.desk = self._make_desk()

    def refresh(self) -> None:
        """Let workers look again at what there is, now that damaged data was put aside."""
        self._at_cluster(self._backend.refresh)

    def close(self) -> None:
        """Let what has begun end, and leave the rest."""
        self._is_halted = True  # after an error work may still be queued: nobody waits for it
        if self._sharing is not None:
            self._sharing.interrupt()
        self._desk_thread.shutdown(wait=True, cancel_futures=True)
        if self._sharing is not None:
            self._sharing.leave()
        self._at_cluster(self._backend.close)
        self._backend_thread.shutdown(wait=True)


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:
        kind = type(error).__name__
        logger.warning("the cluster or the store didn't take a message about a run (%s: %s)", kind, error)
        logger.debug("where that was", exc_info=True)
