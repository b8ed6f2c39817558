"""A run's own record: a header written once, and its events in numbered parts.

    runs/<run id>/header
    runs/<run id>/events/00000001, 00000002, …

Each part is written whole under a number that no other process can take, so all readers see complete parts only, in
the same order. Run ids begin with the time in UTC, so sorting them sorts runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.paths import RUNS, checked_part, is_part

Event = dict[str, Any]

_PARTS_AT_ONCE = 200
_TRIES = 1000
#: Beside the values that the run's functions keep: no name of theirs begins so.
_ASKED = "\0asked"


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run that the store knows.

    Attributes
    ----------
    header
        The header given to `RunLog.create`; ``None`` if it is damaged or was never written.
    """

    run_id: str
    header: Mapping[str, Any] | None


class RunLog:
    """The header and events of one run; thread-safe, and several processes may append."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self.run_id = store, checked_part(run_id)
        self._base = f"{RUNS}/{run_id}"
        self._lock = threading.Lock()
        self._next: int | None = None
        #: The part whose writing has failed, perhaps after it was done.
        self._in_doubt: str | None = None

    def create(self, header: Mapping[str, Any]) -> bool:
        """Write the header; ``False`` if the run has one already, which stays."""
        path = f"{self._base}/header"
        return self._store.put_bytes(path, self._store.signed(path, json.dumps(header).encode()))

    def header(self) -> dict[str, Any]:
        """Return the header given to `create`.

        Raises
        ------
        CheckpointNotFoundError, CorruptCheckpointError, StoreVersionError
        """
        return self.read_header()[0]

    def read_header(self) -> tuple[dict[str, Any], bool]:
        """Return the header given to `create`, and True if the user wrote it: only then may its code be loaded."""
        path = f"{self._base}/header"
        content = self._store.get_bytes(path)
        return _header_in(path, content), self._store.vouches(path, content)

    def ask(self, what: str) -> None:
        """Ask whoever drives the run, on whatever host, for something: ``"cancel"``, or to cancel with ``"force"``."""
        self._store.put_state(self.run_id, _ASKED, what.encode())

    def asked(self) -> str | None:
        """Return the latest request to the run's driver, if any."""
        data = self._store.get_state(self.run_id, _ASKED)
        return data.decode() if data else None

    def append(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write events as the next part; they are JSON-ready mappings.

        Raises
        ------
        StoreUnavailableError
            Perhaps they were written all the same: the same events may be appended again, and stand there once.
        """
        if not events:
            return
        lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events).encode()
        with self._lock:
            if self._next is None:
                self._next = max(self._numbers(), default=0) + 1
            for _ in range(_TRIES):
                path = self._part(self._next)
                was_tried, self._in_doubt = self._in_doubt == path, path
                is_ours = self._store.put_bytes(path, lines)
                # After an error it may be ours although another process seems to have been first.
                is_ours = is_ours or (was_tried and self._store.get_bytes(path) == lines)
                self._next, self._in_doubt = self._next + 1, None
                if is_ours:
                    return
        raise CorruptCheckpointError(f"{self._base}/events can't be appended to: its numbers are taken")

    def events(self, after: int = 0) -> Iterator[Event]:
        """Every event so far, in order; damaged parts are reported to the store and left out.

        Parameters
        ----------
        after
            Leave out the parts up to this number.
        """
        for _, events in self.parts(after):
            yield from events

    def parts(self, after: int = 0) -> Iterator[tuple[int, list[Event]]]:
        """Yield the parts after a number, each with its own number."""
        numbers = sorted(number for number in self._numbers() if number > after)
        for start in range(0, len(numbers), _PARTS_AT_ONCE):
            some = numbers[start : start + _PARTS_AT_ONCE]
            paths = [self._part(number) for number in some]
            for number, path, data in zip(some, paths, self._store.get_all_bytes(paths), strict=True):
                if data is None:
                    continue
                try:
                    yield number, [_mapping(path, line) for line in data.splitlines()]
                except CorruptCheckpointError as error:
                    self._store.report(str(error))

    def _numbers(self) -> list[int]:
        return [int(name) for name in self._store.list(f"{self._base}/events") if name.isascii() and name.isdigit()]

    def _part(self, number: int) -> str:
        return f"{self._base}/events/{number:08d}"


def run_ids(store: Store) -> list[RunId]:
    """Return the ids of the store's runs, newest first."""
    return [RunId(name) for name in reversed(store.list(RUNS)) if is_part(name)]


def list_runs(store: Store, limit: int | None = None) -> list[RunEntry]:
    """Return the store's runs, newest first."""
    ids = run_ids(store)[:limit]
    found = []
    for start in range(0, len(ids), _PARTS_AT_ONCE):
        some = ids[start : start + _PARTS_AT_ONCE]
        headers = store.get_all_bytes([f"{RUNS}/{run_id}/header" for run_id in some])
        found += [RunEntry(run_id, _header(store, run_id, data)) for run_id, data in zip(some, headers, strict=True)]
    return found


def _header(store: Store, run_id: str, data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        return _header_in(f"{RUNS}/{run_id}/header", data)
    except CorruptCheckpointError as error:
        store.report(str(error))
        return None


def _header_in(path: str, data: bytes) -> dict[str, Any]:
    header = _mapping(path, data)
    header.pop("signature", None)
    return header


def _mapping(path: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path} isn't JSON: {error}") from error
    if not isinstance(found, dict):
        raise CorruptCheckpointError(f"{path} doesn't hold what it should")
    return found
