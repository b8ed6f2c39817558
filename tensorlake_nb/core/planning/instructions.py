"""The instructions to the shell. Each names the event that records it before it is performed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.planning.events import (
    BatchSubmitted,
    Event,
    GatherBegun,
    ProbeBegun,
    RunEnded,
    SealBegun,
    StopRequested,
)


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the store for these elements, or with no slices for the node's whole stream."""

    node: str
    slices: tuple[Slice, ...]

    def event(self, now: float) -> Event:
        return ProbeBegun(self.node, self.slices)


@dataclass(frozen=True, slots=True)
class Gather:
    """Form rows (of a join, or groups of neighbours) from these elements of the parents' streams."""

    node: str
    slices: tuple[Slice, ...]
    is_last: bool

    def event(self, now: float) -> Event:
        return GatherBegun(self.node, self.slices, self.is_last)


@dataclass(frozen=True, slots=True)
class Submit:
    """Have a batch computed.

    ``final`` says that a failure of this attempt has no retry left. A fold also says where it stands: its last
    accumulator, how many elements went into it, for how long to fold before the next one is kept (s), and whether
    more elements are there.
    """

    number: int
    node: str
    slices: tuple[Slice, ...]
    attempt: int
    final: bool
    budget_s: float
    chain: tuple[str, ...] = ()
    priority: int = 0
    accumulator: Span | None = None
    folded: int = 0
    worth_s: float = 0.0
    has_more: bool = False

    def event(self, now: float) -> Event:
        return BatchSubmitted(self.number, self.node, self.slices, self.attempt, now, self.chain)


@dataclass(frozen=True, slots=True)
class Seal:
    """Record a finished node's stream under its fingerprint and the digest of its input stream."""

    node: str

    def event(self, now: float) -> Event:
        return SealBegun(self.node)


@dataclass(frozen=True, slots=True)
class Halt:
    """Ask the workers to begin nothing more and to send back what is done."""

    reason: Literal["cancelled", "failed"]

    def event(self, now: float) -> Event:
        return StopRequested(self.reason)


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is left to do."""

    status: Literal["succeeded", "failed", "cancelled"]
    error: str | None = None

    def event(self, now: float) -> Event:
        return RunEnded(self.status, now, self.error)


Instruction = Probe | Gather | Submit | Seal | Halt | End
