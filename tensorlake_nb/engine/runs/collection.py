"""``collect(...)``: free what no run that is to stay needs."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dask.utils import format_bytes, parse_bytes, parse_timedelta

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.cluster import session as sessions
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.runs import detached
from tensorlake_nb.errors import OptionError
from tensorlake_nb.store.claims import meeting
from tensorlake_nb.store.claims.lease import Lease, leases
from tensorlake_nb.store.collecting.removal import Collection
from tensorlake_nb.store.collecting.retention import GRACE_S, Retention
from tensorlake_nb.store.collecting.survey import SurveyedRun
from tensorlake_nb.store.collecting.tally import Tally
from tensorlake_nb.store.owner import is_alive, this_process

#: The names of the kinds of objects, in the order of the table.
_KINDS = {
    "run": "runs of",
    "segment": "outputs of",
    "stream": "streams",
    "damaged": "damaged outputs of",
    "left over": "left over:",
}

#: A run whose process can't be seen from here has to renew its lease if its last word is older than this (s).
SILENT_S = 86400.0

Duration = str | float | dt.timedelta


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a `Collected`: what goes and what stays of one kind of thing."""

    what: str
    freed: int
    freed_bytes: int
    kept: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Collected:
    """The outputs that a collection freed, or would free; ``str()`` is a table.

    Attributes
    ----------
    rows
        Per graph its runs, per function its outputs (segments), and the rest.
    runs
        Ids of the runs that went.
    is_dry
        Nothing was removed.
    notes
        Remarks.
    """

    rows: tuple[Row, ...]
    runs: tuple[str, ...]
    is_dry: bool
    notes: tuple[str, ...] = ()

    @property
    def freed_bytes(self) -> int:
        """The bytes removed, or to be removed."""
        return sum(row.freed_bytes for row in self.rows)

    @property
    def kept_bytes(self) -> int:
        """The bytes that remain."""
        return sum(row.kept_bytes for row in self.rows)

    def __str__(self) -> str:
        titles = ("", "would free" if self.is_dry else "freed", "bytes", "keeps", "bytes")
        lines = [titles, *(_cells(row) for row in self.rows), _cells(self._total())]
        widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
        table = [
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            )
            for line in lines
        ]
        return "\n".join([*table, *self.notes])

    __repr__ = __str__

    def _total(self) -> Row:
        freed, kept = sum(row.freed for row in self.rows), sum(row.kept for row in self.rows)
        return Row("in all", freed, self.freed_bytes, kept, self.kept_bytes)


def collect(
    *,
    dry_run: bool = False,
    keep_runs: int | None = None,
    older_than: Duration | None = None,
    max_bytes: int | str | None = None,
    grace: Duration = GRACE_S,
) -> Collected:
    """Free outputs that no remaining run needs: those of dropped runs, damaged ones, and leftovers of dead writers.

    Without ``keep_runs``, ``older_than`` and ``max_bytes`` every run stays. With several, a run is dropped if each of
    them drops it. Runs under way and the outputs that they may read are never touched. Interrupted anywhere, it leaves
    a correct store that holds a little less.

    Parameters
    ----------
    dry_run
        Only list what would be removed.
    keep_runs
        Drop all but this many of the newest runs of each graph.
    older_than
        Drop runs that last began or ended longer ago: ``"7d"``, ``"12h"``, or seconds.
    max_bytes
        Drop the oldest runs while the rest takes more than this: ``"10GB"``, or bytes.
    grace
        Keep everything younger than this: ``"2h"``.

    Returns
    -------
    Collected
        The removed and the remaining outputs, as a table.

    Raises
    ------
    OptionError
        A duration or a size that can't be read.
    StoreVersionError
        Something in the store is of a newer format; nothing was removed.
    StoreUnavailableError
        The store can't be reached, or not be written to.
    """
    planned = Planned(dry_run=dry_run, keep_runs=keep_runs, older_than=older_than, max_bytes=max_bytes, grace=grace)
    return planned.shown if dry_run else planned.carry_out()


class Planned:
    """A collection that is about to be done, with the options of `collect`.

    Attributes
    ----------
    shown
        The outputs that would be removed.
    """

    def __init__(
        self,
        *,
        dry_run: bool = False,
        keep_runs: int | None = None,
        older_than: Duration | None = None,
        max_bytes: int | str | None = None,
        grace: Duration = GRACE_S,
    ) -> None:
        retention = Retention(
            keep_runs,
            None if older_than is None else _seconds("older_than", older_than),
            None if max_bytes is None else _size("max_bytes", max_bytes),
            _seconds("grace", grace),
        )
        session = sessions.current()
        store = session.store()
        if not dry_run:
            store.recover()  # what dead writers have finished isn't left over
        self._collection = Collection(store, retention, _Watch(session).is_live, _is_leased)
        notes = list(self._collection.notes)
        rows = _rows(self._collection)
        if rows and not any(row.freed for row in rows):
            options = "" if retention.drops_runs else "every run stays without keep_runs, older_than or max_bytes, and "
            notes.append(f"nothing to free: {options}what is younger than {retention.grace_s / 3600:g} h (grace) stays")
        self.shown = Collected(rows, self._collection.dropped, is_dry=True, notes=tuple(notes))
        if retention.max_bytes is not None and self.shown.kept_bytes > retention.max_bytes:
            notes.append(
                f"more than {format_bytes(retention.max_bytes)} stay: no other run may go, since those left are under "
                "way, within the grace period, or kept by another option"
            )
            self.shown = Collected(self.shown.rows, self.shown.runs, is_dry=True, notes=tuple(notes))

    def carry_out(self) -> Collected:
        """Remove what goes."""
        self._collection.remove()
        return Collected(self.shown.rows, self.shown.runs, is_dry=False, notes=self.shown.notes)


class _Watch:
    """Tells whether runs are driven; one of another host, of which nothing was heard for long, by its lease."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._beating: frozenset[str] | None = None

    def is_live(self, run: SurveyedRun) -> bool:
        """Return True if a process drives a run whose end isn't recorded."""
        is_detached = detached.is_owner(run.owner)
        if is_detached and not detached.is_driven(self._session, run.owner, RunId(run.run_id)):
            return False
        if not is_detached and not is_alive(run.owner):
            return False
        if run.owner.get("host") == this_process()["host"] or time.time() - run.last_at < SILENT_S:
            return True
        return run.run_id in self._seen_beating()

    def _seen_beating(self) -> frozenset[str]:
        """Return the runs whose leases change during the wait that runs use when they meet; called only when needed."""
        if self._beating is None:
            store = self._session.store()
            before = {lease.run_id: lease.beat for lease in leases(store)}
            if before:
                time.sleep(meeting.EXPIRY * (meeting.BEAT_S if store.is_local else meeting.REMOTE_BEAT_S))
            after = {lease.run_id: lease.beat for lease in leases(store)}
            self._beating = frozenset(run_id for run_id, beat in after.items() if before.get(run_id) != beat)
        return self._beating


def _is_leased(lease: Lease) -> bool:
    return is_alive(lease.owner)


def _rows(collection: Collection) -> tuple[Row, ...]:
    places = list(_KINDS)
    tallies: Sequence[tuple[tuple[str, str], Tally]] = sorted(
        collection.tallies.items(), key=lambda item: (places.index(item[0][0]), item[0][1])
    )
    return tuple(
        Row(
            f"{_KINDS[kind]} {title or '(unknown)'}" if kind != "stream" else _KINDS[kind],
            tally.freed,
            tally.freed_bytes,
            tally.kept,
            tally.kept_bytes,
        )
        for (kind, title), tally in tallies
    )


def _cells(row: Row) -> tuple[str, ...]:
    return row.what, str(row.freed), format_bytes(row.freed_bytes), str(row.kept), format_bytes(row.kept_bytes)


def _seconds(name: str, given: Duration) -> float:
    if isinstance(given, str) and not given.strip()[-1:].isalpha():
        raise OptionError(f"{name}={given!r} has no unit; write 7d, 12h or 30m")
    try:
        return float(parse_timedelta(given))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OptionError(f"{name}={given!r} isn't a duration; write 7d, 12h or 30m") from None


def _size(name: str, given: int | str) -> int:
    try:
        return int(parse_bytes(given))
    except (ValueError, KeyError, TypeError):
        raise OptionError(f"{name}={given!r} isn't a size; write 10GB, 500MiB or a number of bytes") from None
