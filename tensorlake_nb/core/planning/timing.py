"""When things happened: what a run's events say of time, in a size that doesn't grow with its elements."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tensorlake_nb.core.batches.positions import Address

#: More bars than this, and neighbours are joined.
MOST_BARS = 4096
#: How many of the last batches say how fast a node is.
_RECENT = 32

Outcome = Literal["computed", "failed", "lost", "running"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A batch, or several neighbouring ones: when it was handed over, begun and ended (s since the epoch).

    ``ended_at`` is ``None`` while it runs.
    """

    node: str
    worker: str
    submitted_at: float
    started_at: float
    ended_at: float | None
    elements: int
    attempt: int
    outcome: Outcome


@dataclass(slots=True)
class Bars:
    """All bars of a run, at most `MOST_BARS`."""

    kept: list[Bar] = field(default_factory=list)
    is_joined: bool = False

    def add(self, bar: Bar) -> None:
        self.kept.append(bar)
        if len(self.kept) > MOST_BARS:
            self.kept = join(self.kept)[-MOST_BARS:]
            self.is_joined = True


def join(bars: Sequence[Bar]) -> list[Bar]:
    """Join each two neighbouring bars of one node on one worker that ended alike."""
    open_: dict[tuple[str, str, Outcome], int] = {}
    joined: list[Bar] = []
    for bar in bars:
        key = (bar.node, bar.worker, bar.outcome)
        place = open_.pop(key, None)
        if place is None:
            open_[key] = len(joined)
            joined.append(bar)
            continue
        first = joined[place]
        ends = [each for each in (first.ended_at, bar.ended_at) if each is not None]
        joined[place] = replace(
            first,
            submitted_at=min(first.submitted_at, bar.submitted_at),
            started_at=min(first.started_at, bar.started_at),
            ended_at=max(ends, default=None),
            elements=first.elements + bar.elements,
            attempt=max(first.attempt, bar.attempt),
        )
    return joined


@dataclass(frozen=True, slots=True)
class Pace:
    """The computation of one chunk's elements: seconds each (the mean of its batch), the attempt, and the place."""

    seconds: float
    attempt: int
    worker: str


@dataclass(slots=True)
class Timing:
    """One node's times.

    Attributes
    ----------
    submitted, started
        Per batch under way, and which attempt it is.
    first_at, last_at
        The begin of its first batch, the end of its last.
    queued_s
        The time that all batches together waited for a worker.
    retries
        Elements that were tried again.
    paces
        By the chunk that a batch gave.
    """

    submitted: dict[int, tuple[float, int]] = field(default_factory=dict)
    started: dict[int, float] = field(default_factory=dict)
    first_at: float | None = None
    last_at: float | None = None
    queued_s: float = 0.0
    retries: int = 0
    paces: dict[Address, Pace] = field(default_factory=dict)
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def submit(self, number: int, at: float, attempt: int, size: int) -> None:
        self.submitted[number] = (at, attempt)
        if attempt > 1:
            self.retries += size

    def start(self, number: int, at: float) -> None:
        if number not in self.submitted or number in self.started:
            return
        self.started[number] = at
        self.queued_s += max(at - self.submitted[number][0], 0.0)
        self.first_at = at if self.first_at is None else min(self.first_at, at)

    def withdraw(self, number: int) -> None:
        """Withdraw a batch that wasn't handed over after all."""
        self.submitted.pop(number, None)

    def end(self, number: int, at: float, lasted_s: float) -> tuple[float, float, int]:
        """When a batch was handed over and begun, and which attempt it was; ``lasted_s`` if nobody saw it begin."""
        submitted_at, attempt = self.submitted.pop(number, (at - lasted_s, 1))
        self.submitted[number] = (submitted_at, attempt)
        self.start(number, max(at - lasted_s, submitted_at))
        del self.submitted[number]
        self.last_at = at if self.last_at is None else max(self.last_at, at)
        return submitted_at, self.started.pop(number), attempt

    def settle(self, at: float, size: int) -> None:
        """So many elements were settled by computing."""
        if size:
            self.recent.append((at, size))

    def spent(self, start: float, end: float) -> None:
        """Note a call that ran here, carried over from the node before."""
        self.first_at = start if self.first_at is None else min(self.first_at, start)
        self.last_at = end if self.last_at is None else max(self.last_at, end)

    def rate(self, now: float) -> float | None:
        """Elements per second over the last batches; ``None`` until several are finished."""
        if len(self.recent) < 3:
            return None
        first_at, _ = self.recent[0]
        spell = max(now, self.recent[-1][0]) - first_at
        done = sum(size for _, size in list(self.recent)[1:])
        return done / spell if spell > 0 else None


def critical_path(spells: Iterable[tuple[str, Sequence[str], float | None, float | None]]) -> tuple[str, ...]:
    """Return the critical path: from the node that ended last back over the parents that ended last.

    Parameters
    ----------
    spells
        In topological order: a node, its parents, its first begin and last end (``None``: nothing was computed).
    """
    ends: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name, parents, first_at, last_at in spells:
        late = [parent for parent in parents if parent in ends]
        latest = max(late, key=lambda parent: ends[parent], default=None)
        if first_at is None or last_at is None:
            if latest is not None:  # what was replayed passes on the time of what came before it
                ends[name], before[name] = ends[latest], latest
            continue
        ends[name], before[name] = last_at, latest
    path: list[str] = []
    at = max(ends, key=lambda name: ends[name], default=None)
    while at is not None:
        path.append(at)
        at = before[at]
    return tuple(reversed(path))
