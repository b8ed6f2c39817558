"""Decide which runs a collection drops, and whether a segment stays: from facts, without a store.

A run goes if every option that was given lets it go. None of them lets a run go that is under way, or that began or
ended within the grace period.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tensorlake_nb.errors import OptionError

#: Clocks that are an hour apart leave a collection an hour.
GRACE_S = 2 * 3600.0

#: Why something is removed; `KEPT` if it isn't.
Verdict = Literal["kept", "not needed", "damaged", "left over"]


@dataclass(frozen=True, slots=True)
class Retention:
    """The runs that a collection leaves; without any option every run stays.

    Attributes
    ----------
    keep_runs
        Lets go all but so many of the newest runs of each graph.
    older_than_s
        Lets go runs whose last word is older than this.
    max_bytes
        Lets go the oldest runs, as long as what stays takes more than this.
    grace_s
        Younger objects aren't touched: a run may be about to use them.
    """

    keep_runs: int | None = None
    older_than_s: float | None = None
    max_bytes: int | None = None
    grace_s: float = GRACE_S

    def __post_init__(self) -> None:
        for name, value in (("keep_runs", self.keep_runs), ("max_bytes", self.max_bytes)):
            if value is not None and value < 0:
                raise OptionError(f"{name} can't be less than 0, and is {value}")
        for name, seconds in (("older_than", self.older_than_s), ("grace", self.grace_s)):
            if seconds is not None and not 0 <= seconds < float("inf"):
                raise OptionError(f"{name} can't be {seconds} seconds")

    @property
    def drops_runs(self) -> bool:
        """True if any run may be removed."""
        return not (self.keep_runs is None and self.older_than_s is None and self.max_bytes is None)


@dataclass(frozen=True, slots=True)
class KnownRun:
    """The facts about a run that decide whether it stays.

    Attributes
    ----------
    last_at
        When it last began or ended (s since the epoch).
    is_live
        A process drives it.
    """

    run_id: str
    graph: str
    last_at: float
    is_live: bool


def candidates(runs: Iterable[KnownRun], retention: Retention, now: float) -> list[KnownRun]:
    """Return the runs that may be removed, newest first; without ``max_bytes`` all of them are."""
    if not retention.drops_runs:
        return []
    newer: dict[str, int] = {}
    found = []
    for run in sorted(runs, key=lambda run: run.run_id, reverse=True):
        newer[run.graph] = newer.get(run.graph, 0) + 1
        age_s = now - run.last_at
        if run.is_live or age_s <= retention.grace_s:
            continue
        if retention.keep_runs is not None and newer[run.graph] <= retention.keep_runs:
            continue
        if retention.older_than_s is not None and age_s <= retention.older_than_s:
            continue
        found.append(run)
    return found


def how_many_fit(kept_bytes: int, sizes: Sequence[int], max_bytes: int | None) -> int:
    """Return the number of candidates that stay.

    Parameters
    ----------
    kept_bytes
        The bytes that stay in any case.
    sizes
        Per candidate, newest first, the bytes that go with it once all older ones have gone.
    """
    if max_bytes is None:
        return 0
    fitting = 0
    for size_bytes in sizes:
        kept_bytes += size_bytes
        if kept_bytes > max_bytes:
            break
        fitting += 1
    return fitting


def verdict(
    *, is_young: bool, is_live: bool, is_marked: bool, is_committed: bool, is_spooled: bool, is_needed: bool
) -> Verdict:
    """Decide on a segment, which stays whole if any part of it is needed.

    Parameters
    ----------
    is_young
        It was begun within the grace period.
    is_live
        A run that is under way may look it up, or write it.
    is_marked, is_committed
        It was found damaged; it has a record.
    is_spooled
        Its writer's spool, which may refer to its objects, is still there.
    is_needed
        A run that stays refers to it, or has written it.
    """
    if is_young or is_live:
        return "kept"
    if is_marked:
        return "damaged"
    if not is_committed:
        return "kept" if is_spooled else "left over"
    return "kept" if is_needed else "not needed"
