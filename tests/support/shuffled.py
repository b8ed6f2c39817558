"""Drive a run in this thread as a cluster would in bad weather: anything finishes in any order, and workers die."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from tensorlake_nb.core.batches.batch import Batch
from tensorlake_nb.core.batches.messages import Lost
from tensorlake_nb.core.batches.receipt import Receipt
from tensorlake_nb.core.planning.events import Event, PartArrived, RunStarted, SlotsKnown
from tensorlake_nb.core.planning.instructions import Gather, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.turn import Performer, Turn
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.calls.reporting import Message, PartDone
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.worker.execute import execute

Step = Callable[[], Event | None]


class Weather(Performer):
    """One run, driven on a clock of its own.

    Parameters
    ----------
    slots
        How many batches the cluster is said to work on at once.
    loss
        How likely it is that the worker of a batch is lost, before the batch or after it.
    """

    def __init__(self, state: RunState, desk: Desk, random: Random, *, slots: int = 2, loss: float = 0.0) -> None:
        self.state, self.desk, self._random, self._loss = state, desk, random, loss
        self._now = 0.0
        self._desk_work: deque[Step] = deque()  # the desk has one thread: first come, first served
        self._running: list[deque[Step]] = []
        self.batches: list[Batch] = []
        self._turn = Turn(state, self)
        self._turn.fold(RunStarted(desk.run_id, 0.0))
        self._turn.fold(SlotsKnown(slots))

    def drive(self) -> RunState:
        """Drive the run to its end."""
        while self.state.status is None:
            instructions = self._turn.take(self._now)
            self.desk.beat()
            if not self._advance() and not instructions:
                due = self.state.next_due(self._now)
                assert due is not None, "nothing happens any more, and the run hasn't ended"
                self._now = max(due, self._now)
        return self.state

    def probe(self, order: Probe) -> None:
        self._desk_work.append(lambda: self.desk.probe(order))

    def gather(self, order: Gather) -> None:
        self._desk_work.append(lambda: self.desk.gather(order))

    def seal(self, order: Seal, node: NodeState) -> None:
        self._desk_work.append(lambda: self.desk.seal(order, node))

    def submit(self, orders: Sequence[Submit]) -> tuple[()]:
        self._desk_work.extend(partial(self._begin, order) for order in orders)
        return ()

    def _advance(self) -> bool:
        choices: list[deque[Step]] = [*self._running]
        if self._desk_work:
            choices.append(self._desk_work)
        if not choices:
            return False
        work = self._random.choice(choices)
        event = work.popleft()()
        self._running = [each for each in self._running if each]
        if event is not None and not (isinstance(event, PartArrived) and not self._is_under_way(event.number)):
            self._turn.fold(event)
        return True

    def _is_under_way(self, number: int) -> bool:
        return number in self.state.nodes[self.state.node_of[number]].under_way

    def _begin(self, order: Submit) -> Event | None:
        held = self.desk.claim(order, self._now)
        if held is None:
            batch = self.desk.batch(order)
            self.batches.append(batch)
            self._running.append(deque([lambda: self._compute(order, batch)]))
        return held

    def _compute(self, order: Submit, batch: Batch) -> None:
        number, messages = order.number, list[Message]()
        chance = self._random.random()
        steps: deque[Step] = deque()
        if chance >= self._loss / 2:  # else it was lost before it began anything
            receipts = execute(batch, messages.append, Host(address="weather"))
            parts = [message.receipt for message in messages if isinstance(message, PartDone)]
            # Messages come by another way than receipts, so they may be late.
            if parts:
                self._running.append(deque(self._later(self._part, number, part) for part in parts))
            if chance >= self._loss:
                steps.append(self._later(self._settle, number, receipts))
                self._running.append(steps)
                return
        steps.append(self._later(self._lose, number))
        self._running.append(steps)

    def _later(self, work: Callable[..., Event | None], *args: object) -> Step:
        """Tell the desk, which gets to it in time."""

        def tell() -> None:
            self._desk_work.append(lambda: work(*args))

        return tell

    def _part(self, number: int, receipt: Receipt) -> Event | None:
        return self.desk.part(number, receipt) if self._is_under_way(number) else None

    def _settle(self, number: int, receipts: tuple[Receipt, ...]) -> Event:
        return self.desk.settle(number, receipts, self._now)

    def _lose(self, number: int) -> Event:
        stopping = self.state.stopping is not None
        return self.desk.recover(Lost(number, "lost in bad weather"), self._now, stopping)
