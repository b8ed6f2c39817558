"""The loop of a run: take a turn, hear what has happened, fold it, take the next turn.

One coroutine folds events into the run state and asks the planner what to do. What needs the store or the cluster is
done by the run's `Hands`, and comes back as an event or a message; nothing else changes the state.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.core.batches.messages import Message
from tensorlake_nb.core.functions.policy import Placement
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.core.planning import events as ev
from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.instructions import Halt
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.turn import Turn
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.backend import Backend
from tensorlake_nb.engine.driving.hands import Answer, Hands
from tensorlake_nb.engine.driving.recorder import Recorder
from tensorlake_nb.errors import CheckpointNotFoundError, ClusterError, CorruptCheckpointError, TensorlakeError
from tensorlake_nb.store.claims.meeting import Sharing
from tensorlake_nb.store.filesystems.retrying import Patience
from tensorlake_nb.store.owner import Owner, this_process

logger = logging.getLogger(__name__)

#: How often a run begins again for one and the same damage before it gives up: each time it was put aside.
_MOST_RESTARTS = 3
#: After how long a silence the cluster is looked at (s).
_LOOK_AFTER_S = 2.0
#: How long running calls may take to end after a cancellation (s) before their workers are ended.
CANCEL_GRACE_S = 0.25


@dataclass(frozen=True, slots=True)
class _Force:
    """A cancellation has waited long enough."""


_Heard = Event | Message | Answer | _Force | BaseException


class Driver:
    """Drives one run to its end.

    Parameters
    ----------
    make_desk
        Makes a desk with empty tables: one at the start, and one each time that damage was found.
    placements
        Per node of the plan where it may run.
    store_patience_s
        How long a store that is full or away is waited for.
    sharing
        The desks' means to meet other runs.
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
        owner: Owner | None = None,
        store_patience_s: float = 0.0,
        sharing: Sharing | None = None,
        raised: Mapping[tuple[str, int], bytes] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state = state
        #: The error that ended the run, if it wasn't a task's.
        self.exception: BaseException | None = None
        #: By function and element what calls have raised, as pickles; filled by the desk.
        self.raised: Mapping[tuple[str, int], bytes] = {} if raised is None else raised
        self._run_id, self._recorder, self._clock = run_id, recorder, clock
        self._resumed, self._owner, self._sharing = resumed, owner or this_process(), sharing
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: asyncio.Queue[_Heard] = asyncio.Queue()
        self._early: list[_Heard] = []
        self._lock = threading.Lock()
        self._patience = Patience(store_patience_s, is_over=lambda: self.state.stopping == "cancelled")
        self._hands = Hands(
            make_desk, make_backend(self._post), self._post, state.plan, placements, self._patience, sharing, clock
        )
        self._turn = Turn(state, self._hands, recorder.record)
        self._restarts: Counter[str] = Counter()
        self._give_up_at: float | None = None
        #: Batches whose end is at the desk: what else is said of them comes too late.
        self._ended: set[int] = set()
        self._store_awaited_until = 0.0
        #: The reason for the run's wait, where the cluster does nothing for it.
        self.waits_for = ""

    @property
    def awaits_store(self) -> bool:
        """True while the driver or a worker can't reach the store and retries."""
        return self._patience.waited_s > 0 or self._clock() < self._store_awaited_until

    async def drive(self) -> None:
        """Drive the run until it has ended; what went wrong is in the state, or in `exception`."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            for message in self._early:
                self._inbox.put_nowait(message)
        beats: asyncio.Task[None] | None = None
        try:
            self._begin(resumed=self._resumed)
            beats = asyncio.create_task(self._beat())
            while not self._inbox.empty():
                self._take(self._inbox.get_nowait())
            while self.state.status is None:
                planned_at = self._clock()
                instructions = self._turn.take(planned_at)
                self._hands.tell_backlog(self.state.backlog, planned_at)
                if any(isinstance(instruction, Halt) for instruction in instructions):
                    continue  # nobody answers it, and if nothing is under way there is nothing to wait for
                if self.state.status is None:
                    await self._hear(planned_at)
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            if beats is not None:
                beats.cancel()
            if _is_exiting():
                self._recorder.close()
            else:
                await asyncio.to_thread(self._close)

    def cancel(self, *, force: bool = False) -> None:
        """Cancel the run, from any thread; with ``force`` the workers of running calls are ended at once."""
        self._post(ev.StopRequested("cancelled"))
        if force:
            self._post(_Force())

    def _post(self, message: _Heard) -> None:
        with self._lock:
            if self._loop is None:
                self._early.append(message)
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._inbox.put_nowait, message)

    def _begin(self, *, resumed: bool) -> None:
        self._hands.begin()
        self._turn.fold(ev.RunStarted(self._run_id, self._clock(), resumed, self._owner))

    async def _beat(self) -> None:
        """Let other runs on the store know that this one is driven."""
        while self._sharing is not None:
            await asyncio.sleep(self._sharing.beat_s)
            is_idle = not any(node.is_busy for node in self.state.nodes.values())
            self._hands.beat(is_idle=is_idle)

    # -- hearing --

    async def _hear(self, planned_at: float) -> None:
        """Wait for what happens next, and fold it in with everything else that is there already.

        An instruction that fell due since the last plan is due at once: the planner hasn't seen it yet.
        """
        dues = [due for due in (self.state.next_due(planned_at), self._give_up_at) if due is not None]
        timeout = min([_LOOK_AFTER_S, *(max(due - self._clock(), 0) for due in dues)])
        try:
            message = await asyncio.wait_for(self._inbox.get(), timeout)
        except TimeoutError:
            if timeout == _LOOK_AFTER_S:
                self._hands.look()
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
            self._hands.abandon(numbers)

    def _take(self, message: _Heard) -> None:
        now = self._clock()
        match message:
            case Answer(desk, content):
                if desk is self._hands.desk:  # else damage was found meanwhile, and the run began again
                    self._take(content)
            case _Force():
                self._give_up_at = now
            case BaseException():
                self._break(message)
            case ms.Ready(slots):
                self._turn.fold(ev.SlotsKnown(slots))
            case ms.Started(number, worker):
                self._if_under_way(number, ev.BatchStarted(number, worker, now))
            case ms.Progress(number, current, total):
                self._if_under_way(number, ev.ProgressMade(number, current, total))
            case ms.PartFinished(number, receipt):
                if self._is_under_way(number):
                    self._hands.at_desk(self._hands.desk.part, number, receipt)
            case ms.Finished(number, receipts):
                if self._ends(number):
                    self._hands.at_desk(self._hands.desk.settle, number, receipts, now)
            case ms.Lost(number):
                if self._ends(number):
                    is_stopping = self.state.stopping is not None
                    self._hands.at_desk(self._hands.desk.recover, message, now, is_stopping)
            case ms.StoreAwaited(seconds):
                self._store_awaited_until = max(self._store_awaited_until, now + seconds)
            case ms.Waits(what):
                self.waits_for = what
            case ms.Broken(error):
                self._break(error)
            case _:
                self._fold(message)

    def _ends(self, number: int) -> bool:
        """Return True for the first report of a batch's end: a withdrawn batch may still come back."""
        if number in self._ended or not self._is_under_way(number):
            return False
        self._ended.add(number)
        return True

    def _fold(self, event: Event) -> None:
        if isinstance(event, ev.PartArrived) and not self._is_under_way(event.number):
            return
        self._turn.fold(event)
        if isinstance(event, (ev.BatchEnded, ev.BatchLost)):
            self._ended.discard(event.number)
        if isinstance(event, ev.BatchEnded):
            damaged = [
                failure
                for outcome in event.outcomes
                for failure in outcome.failures
                if failure.kind is FailureKind.DAMAGE
            ]
            if damaged and self.state.halted:  # what is damaged is put aside; the next run computes it
                self._turn.fold(ev.DamageFound(damaged[0].error))
            elif damaged:
                self._begin_again(damaged[0].error)
        if isinstance(event, ev.StopRequested):
            if event.reason == "cancelled" and self._give_up_at is None:
                self._give_up_at = self._clock() + CANCEL_GRACE_S
            self._hands.halt(event.reason)

    def _is_under_way(self, number: int) -> bool:
        name = self.state.node_of.get(number)
        return name is not None and number in self.state.nodes[name].under_way

    def _if_under_way(self, number: int, event: Event) -> None:
        if self._is_under_way(number):
            self._turn.fold(event)

    # -- when something is wrong --

    def _break(self, error: BaseException) -> None:
        if isinstance(error, ClusterError) and self.state.stopping is not None:  # it was about to end anyway
            self._turn.fold(ev.RunEnded(self.state.stopping, self._clock()))
            return
        if not isinstance(error, (CorruptCheckpointError, CheckpointNotFoundError)):
            raise error
        if self.state.stopping is None or not self.state.halted:
            self._begin_again(str(error))
            return
        # To begin again would forget the stop. What isn't settled now is found by whoever resumes the run.
        self._turn.fold(ev.DamageFound(str(error)))
        self._turn.fold(ev.RunEnded(self.state.stopping, self._clock()))

    def _begin_again(self, reason: str) -> None:
        """Damaged data is a miss: plan the run anew, now that it is put aside; everything else is replayed."""
        self._restarts[reason] += 1
        if self._restarts[reason] > _MOST_RESTARTS:
            raise CorruptCheckpointError(f"found damaged {_MOST_RESTARTS} times, though it was put aside: {reason}")
        logger.warning("stored data is damaged and is computed again: %s", reason)
        self._turn.fold(ev.DamageFound(reason))
        self._ended.clear()
        self._hands.refresh()
        self._begin(resumed=True)
        if self._restarts[reason] > 1:  # put aside in vain: is it what nothing gives again?
            self._hands.at_desk(self._hands.desk.check_inputs)

    def _fail(self, error: BaseException) -> None:
        self.exception = error
        if _is_exiting():  # its threads are gone, and its workers: that says nothing of the run
            return
        if not isinstance(error, TensorlakeError):
            logger.error("run %s ended by an internal error", self._run_id, exc_info=error)
        self._turn.fold(ev.RunEnded("failed", self._clock(), f"{type(error).__name__}: {error}"))

    def _close(self) -> None:
        self._hands.close()
        self._recorder.close()


def _is_exiting() -> bool:
    """Return True if this process is exiting: the interpreter then lets no thread begin anything."""
    return not threading.main_thread().is_alive()
