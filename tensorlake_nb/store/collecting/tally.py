"""Count a collection's objects, and read their names and records."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tensorlake_nb.store.filesystems.protocol import Found
from tensorlake_nb.store.format.paths import RECORD, STREAMS, is_part, made_at


@dataclass(slots=True)
class Tally:
    """The numbers of removed and remaining objects of one kind, with their bytes."""

    freed: int = 0
    freed_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0

    def add(self, size_bytes: int, *, is_freed: bool, n: int = 1) -> None:
        """Count something."""
        if is_freed:
            self.freed, self.freed_bytes = self.freed + n, self.freed_bytes + size_bytes
        else:
            self.kept, self.kept_bytes = self.kept + n, self.kept_bytes + size_bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    """A segment, or what is left of one: all that lies under its name."""

    name: str
    objects: tuple[Found, ...]
    is_marked: bool

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.objects)

    @property
    def is_committed(self) -> bool:
        return any(each.name == RECORD for each in self.objects)


@dataclass(frozen=True, slots=True)
class _Stream:
    path: str
    size_bytes: int
    is_freed: bool


def _is_segment(name: str) -> bool:
    return is_part(name) and made_at(name) is not None


def _streams_of(fingerprint: str) -> str:
    return f"{STREAMS}/{fingerprint[:2]}/{fingerprint}"


def _segments_of(text: bytes) -> list[str]:
    """Return the segments that a stream's record names; none for anything else."""
    try:
        return [str(name) for name in json.loads(text)["segments"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _run_of_stream(text: bytes) -> str:
    try:
        return str(json.loads(text)["run"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
