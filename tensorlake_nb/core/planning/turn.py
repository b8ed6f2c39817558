"""One turn of a run's loop: plan, fold, perform.

Whoever drives a run takes turns until it has ended: with a cluster, in one thread, only through what the store holds,
or on paper, as the simulations of the tests do. They differ in how instructions are performed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.instructions import End, Gather, Halt, Instruction, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.planner import next_instructions
from tensorlake_nb.core.planning.run_state import RunState


class Performer(Protocol):
    """Performs instructions. Return the event that comes of one, or have it folded later by `Turn.fold`."""

    def probe(self, order: Probe) -> Event | None:
        """Look up elements, or a whole stream, in the store."""

    def gather(self, order: Gather) -> Event | None:
        """Form the rows of a join, or groups of neighbours."""

    def seal(self, order: Seal, node: NodeState) -> Event | None:
        """Record a finished stream."""

    def submit(self, orders: Sequence[Submit]) -> Iterable[Event]:
        """Have all batches of one turn computed; a performer that computes nothing leaves them under way."""
        return ()

    def halt(self, reason: Literal["cancelled", "failed"]) -> None:
        """Have nothing more begun; where batches end before the next turn there is nothing to do."""
        return


class Turn:
    """The turn that a run takes again and again.

    Parameters
    ----------
    record
        Is told each event before it is folded.
    """

    def __init__(
        self, state: RunState, performer: Performer, record: Callable[[Event], None] = lambda event: None
    ) -> None:
        self.state, self._performer, self._record = state, performer, record

    def take(self, now: float) -> tuple[Instruction, ...]:
        """Plan and perform what is to be done at time ``now`` (s)."""
        instructions = self.plan(now)
        self.perform(instructions)
        return instructions

    def plan(self, now: float) -> tuple[Instruction, ...]:
        """Say what to do; it counts as begun, so the next plan doesn't ask for it again."""
        instructions = next_instructions(self.state, now)
        for instruction in instructions:
            self.fold(instruction.event(now))
        return instructions

    def perform(self, instructions: Iterable[Instruction]) -> None:
        """Perform what was planned, batches last, and fold what comes of it at once."""
        orders: list[Submit] = []
        for instruction in instructions:
            event = None
            match instruction:
                case Probe():
                    event = self._performer.probe(instruction)
                case Gather():
                    event = self._performer.gather(instruction)
                case Seal(name):
                    event = self._performer.seal(instruction, self.state.nodes[name])
                case Submit():
                    orders.append(instruction)
                case Halt(reason):
                    self._performer.halt(reason)
                case End():
                    pass
            if event is not None:
                self.fold(event)
        for answer in self._performer.submit(orders) if orders else ():
            self.fold(answer)

    def fold(self, event: Event) -> None:
        """Record an event, then fold it into the state: it is acted on only after that."""
        self._record(event)
        evolve(self.state, event)
