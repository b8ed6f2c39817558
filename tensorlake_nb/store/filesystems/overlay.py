"""A store whose readers find everything, and whose writers change nothing: what is written goes into a folder apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.protocol import Buffer, Filesystem, Found


class Aside:
    """A filesystem under another one's URL: what isn't in the folder is read from there, and all is written here."""

    #: Spools stay closed: what a live writer holds in its own isn't looked into from here.
    is_local = False

    def __init__(self, behind: Filesystem, folder: Path) -> None:
        self.url, self.is_shared = behind.url, behind.is_shared
        self._behind, self._own = behind, LocalFilesystem(folder)

    def get(self, path: str) -> bytes:
        try:
            return self._own.get(path)
        except FileNotFoundError:
            return self._behind.get(path)

    def get_writable(self, path: str) -> bytearray:
        try:
            return self._own.get_writable(path)
        except FileNotFoundError:
            return self._behind.get_writable(path)

    def get_many(self, paths: Sequence[str], *, most_bytes: int | None = None) -> list[bytes | None]:
        found = self._own.get_many(paths, most_bytes=most_bytes)
        missing = [position for position, data in enumerate(found) if data is None]
        behind = self._behind.get_many([paths[position] for position in missing], most_bytes=most_bytes)
        for position, data in zip(missing, behind, strict=True):
            found[position] = data
        return found

    def put(self, path: str, data: Buffer) -> None:
        self._own.put(path, data)

    def put_atomic(self, path: str, data: Buffer) -> None:
        self._own.put_atomic(path, data)

    def create(self, path: str, data: Buffer) -> bool:
        with suppress(FileNotFoundError):
            self.get(path)
            return False
        return self._own.create(path, data)

    def list(self, path: str) -> list[str]:
        return list(dict.fromkeys([*self._own.list(path), *self._behind.list(path)]))

    def walk(self, path: str) -> Iterator[Found]:
        own = list(self._own.walk(path))
        hidden = {found.path for found in own}
        yield from own
        yield from (found for found in self._behind.walk(path) if found.path not in hidden)

    def remove(self, path: str) -> None:
        self._own.remove(path)

    def remove_all(self, paths: Sequence[str]) -> None:
        self._own.remove_all(paths)
