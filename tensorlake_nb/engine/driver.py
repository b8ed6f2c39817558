"""The loop of a run: plan, record, evolve, perform.

One coroutine folds events into the run state and asks the planner what to do. What needs the store or the cluster
is done on two threads of the run's own, and comes back as an event or a message; nothing else changes the state.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tensorlake_nb.core import events as ev
from tensorlake_nb.core.batch import Batch, FailureKind
from tensorlake_nb.core.events import Event
from tensorlake_nb.core.instructions import End, Gather, Halt, Instruction, Probe, Seal, Submit
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.core.planner import next_instructions
from tensorlake_nb.core.policy import Placement
from tensorlake_nb.core.run_state import RunState, evolve
from tensorlake_nb.engine import backend as be
from tensorlake_nb.engine.backend import Backend, Message, Order
from tensorlake_nb.engine.desk import Desk
from tensorlake_nb.engine.ownership import this_process
from tensorlake_nb.engine.recorder import Recorder
from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError, TensorlakeError

logger = logging.getLogger(__name__)

#: How often a run begins again for one and the same damage before it gives up: each time it was put aside.
_MOST_RESTARTS = 3
#: How long running calls may take to end after a cancellation (s) before their workers are ended.
CANCEL_GRACE_S = 0.4


class Driver:
    """Drives one run to its end.

    Parameters
    ----------
    make_desk
        Makes a desk with empty tables: one at the start, and one each time that damage was found.
    placements
        Per node of the plan where it may run.
    """

    def __init__(
        self,
        state: RunState,
        run_id: RunId,
        make_desk: Callable[[], Desk],
        make_backend: Callable[[Callable[[Message], None]], Backend],
        recorder: Recorder,
        placements: Mapping[str, Placement],
        *,
        resumed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state = state
        #: What ended the run, if it wasn't a task.
        self.exception: BaseException | None = None
        self._run_id, self._make_desk, self._recorder, self._clock = run_id, make_desk, recorder, clock
        self._placements, self._resumed = placements, resumed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: asyncio.Queue[Event | Message | BaseException] = asyncio.Queue()
        self._early: list[Event | Message | BaseException] = []
        self._lock = threading.Lock()
        self._backend = make_backend(self._post)
        self._desk: Desk
        self._desk_thread = ThreadPoolExecutor(1, thread_name_prefix="tensorlake-nb-store")
        self._backend_thread = ThreadPoolExecutor(1, thread_name_prefix="tensorlake-nb-cluster")
        self._restarts: Counter[str] = Counter()
        self._give_up_at: float | None = None

    async def drive(self) -> None:
        """Drive the run until it has ended; what went wrong is in the state, or in `exception`."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            for message in self._early:
                self._inbox.put_nowait(message)
        try:
            self._begin(resumed=self._resumed)
            while not self._inbox.empty():
                self._take(self._inbox.get_nowait())
            while self.state.status is None:
                instructions = next_instructions(self.state, self._clock())
                for instruction in instructions:
                    self._apply(instruction.event(self._clock()))
                self._perform(instructions)
                if any(isinstance(instruction, Halt) for instruction in instructions):
                    continue  # nobody answers it, and if nothing is under way there is nothing to wait for
                if self.state.status is None:
                    await self._hear()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            await asyncio.to_thread(self._close)

    def cancel(self) -> None:
        """Cancel the run, from any thread."""
        self._post(ev.StopRequested("cancelled"))

    def _post(self, message: Event | Message | BaseException) -> None:
        with self._lock:
            if self._loop is None:
                self._early.append(message)
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._inbox.put_nowait, message)

    def _begin(self, *, resumed: bool) -> None:
        self._desk = self._make_desk()
        self._apply(ev.RunStarted(self._run_id, self._clock(), resumed, this_process()))

    def _apply(self, event: Event) -> None:
        """An event is recorded, folded into the state, and only then acted on."""
        self._recorder.record(event)
        evolve(self.state, event)

    # -- acting --

    def _perform(self, instructions: tuple[Instruction, ...]) -> None:
        orders = [order for order in instructions if isinstance(order, Submit)]
        for instruction in instructions:
            match instruction:
                case Probe():
                    self._at_desk(self._desk.probe, instruction)
                case Gather():
                    self._at_desk(self._desk.gather, instruction)
                case Seal():
                    self._at_desk(self._desk.seal, instruction, self.state.nodes[instruction.node])
                case Halt(reason):
                    self._halt(reason)
                case Submit() | End():
                    pass
        if orders:
            self._at_desk(self._submit, self._desk, orders)

    def _at_desk(self, work: Callable[..., Event | None], *args: Any) -> None:
        """Do something on the store's thread; its event comes back through the inbox."""
        self._desk_thread.submit(self._try, self._desk, work, *args)

    def _try(self, desk: Desk, work: Callable[..., Event | None], *args: Any) -> None:
        try:
            event = work(*args)
        except BaseException as error:
            if desk is self._desk:
                self._post(error)
            return
        if event is not None and desk is self._desk:  # else damage was found meanwhile, and the run began again
            self._post(event)

    def _submit(self, desk: Desk, orders: list[Submit]) -> None:
        batches: list[tuple[Submit, Batch]] = [(order, desk.batch(order)) for order in orders]
        ready = [Order(order.number, batch, order.priority, self._placements[order.node]) for order, batch in batches]
        self._backend_thread.submit(self._hand_over, ready)

    def _hand_over(self, orders: list[Order]) -> None:
        try:
            self._backend.submit(orders)
        except BaseException as error:
            self._post(error)

    def _halt(self, reason: str) -> None:
        if reason == "cancelled":
            self._give_up_at = self._clock() + CANCEL_GRACE_S
        self._backend_thread.submit(_quietly, partial(self._backend.halt, interrupt=reason == "cancelled"))

    # -- hearing --

    async def _hear(self) -> None:
        """Wait for what happens next, and fold it in with everything else that is there already."""
        now = self._clock()
        dues = [due for due in (self.state.next_due(now), self._give_up_at) if due is not None]
        timeout = max(min(dues) - now, 0) if dues else None
        try:
            message = await asyncio.wait_for(self._inbox.get(), timeout)
        except TimeoutError:
            self._give_up()
            return
        self._take(message)
        while not self._inbox.empty():
            self._take(self._inbox.get_nowait())
        self._give_up()

    def _give_up(self) -> None:
        """After a cancellation, end the workers whose calls don't end by themselves."""
        if self._give_up_at is None or self._clock() < self._give_up_at:
            return
        self._give_up_at = None
        numbers = [number for node in self.state.nodes.values() for number in node.under_way]
        if numbers:
            self._backend_thread.submit(_quietly, partial(self._backend.abandon, numbers))

    def _take(self, message: Event | Message | BaseException) -> None:
        now = self._clock()
        match message:
            case BaseException():
                self._break(message)
            case be.Ready(slots):
                self._apply(ev.SlotsKnown(slots))
            case be.Started(number, worker):
                self._if_under_way(number, ev.BatchStarted(number, worker, now))
            case be.Progress(number, current, total):
                self._if_under_way(number, ev.ProgressMade(number, current, total))
            case be.Part(number, receipt):
                if self._is_under_way(number):
                    self._at_desk(self._desk.part, number, receipt)
            case be.Finished(number, receipts):
                if self._is_under_way(number):
                    self._at_desk(self._desk.settle, number, receipts, now)
            case be.Lost(number):
                if self._is_under_way(number):
                    is_stopping = self.state.stopping is not None
                    self._at_desk(self._desk.recover, message, now, is_stopping)
            case be.Broken(error):
                self._break(error)
            case _:
                self._fold(message)

    def _fold(self, event: Event) -> None:
        if isinstance(event, ev.PartArrived) and not self._is_under_way(event.number):
            return
        self._apply(event)
        if isinstance(event, ev.BatchEnded):
            damaged = [
                failure
                for outcome in event.outcomes
                for failure in outcome.failures
                if failure.kind is FailureKind.DAMAGE
            ]
            if damaged:
                self._begin_again(damaged[0].error)
        if isinstance(event, ev.StopRequested):
            self._halt(event.reason)

    def _is_under_way(self, number: int) -> bool:
        name = self.state.node_of.get(number)
        return name is not None and number in self.state.nodes[name].under_way

    def _if_under_way(self, number: int, event: Event) -> None:
        if self._is_under_way(number):
            self._apply(event)

    # -- when something is wrong --

    def _break(self, error: BaseException) -> None:
        if isinstance(error, (CorruptCheckpointError, CheckpointNotFoundError)):
            self._begin_again(str(error))
        else:
            raise error

    def _begin_again(self, reason: str) -> None:
        """Damaged data is a miss: plan the run anew, now that it is put aside; everything else is replayed."""
        self._restarts[reason] += 1
        if self._restarts[reason] > _MOST_RESTARTS:
            raise CorruptCheckpointError(f"found damaged {_MOST_RESTARTS} times, though it was put aside: {reason}")
        logger.warning("stored data is damaged and is computed again: %s", reason)
        self._apply(ev.DamageFound(reason))
        self._backend_thread.submit(_quietly, self._backend.refresh)
        self._begin(resumed=True)

    def _fail(self, error: BaseException) -> None:
        self.exception = error
        if not isinstance(error, TensorlakeError):
            logger.error("run %s ended by an internal error", self._run_id, exc_info=error)
        self._apply(ev.RunEnded("failed", self._clock(), f"{type(error).__name__}: {error}"))

    def _close(self) -> None:
        self._desk_thread.shutdown(wait=True)
        self._backend_thread.submit(_quietly, self._backend.close)
        self._backend_thread.shutdown(wait=True)
        self._recorder.close()


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        logger.warning("the cluster didn't take a message about a run", exc_info=True)
