"""A local directory or any fsspec filesystem, as the store needs it: `local` and `remote` are such.

Objects are written once, under names that no other process writes, so there is little to ask for: put, get, list, and a
conditional create for the few names that two processes may want at once. Nothing trusts a cached listing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

#: `Filesystem.list` hides the builtin inside the classes.
Names = list[str]

NO_DIRECTORY = (FileNotFoundError, NotADirectoryError)
NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
MISSING = (FileNotFoundError,)

#: Data that can be written.
Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Found:
    """An object that `Filesystem.walk` came by.

    Attributes
    ----------
    changed_at
        When it was written (s since the epoch); ``None`` on object stores, where nothing of ours needs it.
    """

    path: str
    size_bytes: int
    changed_at: float | None = None

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


class Filesystem(Protocol):
    """Objects below one URL, by relative path. Everything but a missing object raises `StoreUnavailableError`.

    Failed operations are retried as long as `patience` says.
    """

    url: str
    #: Spools can be kept here: appending is cheap and survives the process.
    is_local: bool
    #: Other processes see the same objects.
    is_shared: bool

    def get(self, path: str) -> bytes:
        """Return the whole object; raise `FileNotFoundError` if there is none."""

    def get_writable(self, path: str) -> bytearray:
        """Return the whole object as memory that a value can be made of without another copy."""

    def get_many(self, paths: Sequence[str], *, most_bytes: int | None = None) -> list[bytes | None]:
        """Whole objects, ``None`` for each that is missing.

        Parameters
        ----------
        most_bytes
            No more than this is read of any: what is larger comes cut.
        """

    def put(self, path: str, data: Buffer) -> None:
        """Write an object that isn't read before another object lists it."""

    def put_atomic(self, path: str, data: Buffer) -> None:
        """Write an object so that others see all of it or nothing; an older one is replaced."""

    def create(self, path: str, data: Buffer) -> bool:
        """Like `put_atomic`, but leave an object alone that is there already, and say so by ``False``.

        On an object store an equal one may be taken for this caller's own: contents have to tell callers apart.
        """

    def list(self, path: str) -> list[str]:
        """Names of what lies directly below a path, in no order; empty if there is nothing."""

    def walk(self, path: str) -> Iterator[Found]:
        """Every object below a path, those of one directory together, and the ones that `list` doesn't show."""

    def remove(self, path: str) -> None:
        """Remove an object, if it is there."""

    def remove_all(self, paths: Sequence[str]) -> None:
        """Remove the objects that exist, and the directories that this leaves empty."""
