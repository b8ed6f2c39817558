"""A local directory as a filesystem.

Local files are written by the operating system's own calls, which cost a third of what they do through fsspec.
Where a half-written file could be taken for a whole one (`put_atomic`, `create`), the bytes go to a file of another
name in the same directory first, and get their own name by one rename or link. Nothing is synced: a checkpoint
outlives its process, not a power cut, after which digests tell what was lost.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tensorlake_nb.store.filesystems.protocol import MISSING, NO_DIRECTORY, NO_FILE, Buffer, Found, Names
from tensorlake_nb.store.filesystems.retrying import expected, persistently

T = TypeVar("T")

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_OLD_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
#: How often a directory is made again that another process removed, because it was empty, before it was written to.
_MOST_TRIES = 5
_COMPARED_BYTES = 2**20


class LocalFilesystem:
    """A directory of this machine, or one that is mounted here.

    Methods with a leading underscore are a single try each.
    """

    is_local = True
    is_shared = True

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root.expanduser()))
        self.url = f"file://{self.root.as_posix()}"
        self._base = str(self.root)

    def path(self, path: str) -> str:
        """Return the object's path for the operating system."""
        return f"{self._base}/{path}"

    def get(self, path: str) -> bytes:
        return self._asked("read", path, self._get, path)

    def get_writable(self, path: str) -> bytearray:
        return self._asked("read", path, self._get_writable, path)

    def get_many(self, paths: Sequence[str], *, most_bytes: int | None = None) -> list[bytes | None]:
        found: list[bytes | None] = []
        for path in paths:
            try:
                found.append(self._asked("read", path, self._get, path, most_bytes))
            except FileNotFoundError:
                found.append(None)
        return found

    def put(self, path: str, data: Buffer) -> None:
        self._asked("write", path, self._put, path, data)

    def put_atomic(self, path: str, data: Buffer) -> None:
        self._asked("write", path, self._put_atomic, path, data)

    def create(self, path: str, data: Buffer) -> bool:
        tries = 0

        def create() -> bool:
            nonlocal tries
            tries += 1
            # After an error it may be our own: it was made, and that was not said.
            return self._create(path, data) or (tries > 1 and expected(lambda: self._get(path)) == bytes(data))

        return self._asked("write", path, create)

    def link(self, existing: str, path: str, data: Buffer) -> bool:
        """Give an object that holds these very bytes a second name, and a new age; ``False`` where that can't be.

        Its bytes are compared first: were a damaged one linked, what is computed to replace it would be damaged, too.
        """
        target = self.path(path)
        try:
            with self._opened(existing) as file:
                if not _holds(file, data):
                    return False
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with suppress(FileExistsError):
                    os.link(self.path(existing), target)
                if not os.path.samestat(os.fstat(file.fileno()), os.lstat(target)):
                    return False
            os.utime(target)
        except OSError:  # it has gone, or there are no links here, or no more of them
            return False
        return True

    def list(self, path: str) -> list[str]:
        return [name for name in self._asked("list", path, self._list, path) if not name.startswith(".")]

    def walk(self, path: str) -> Iterator[Found]:
        left = self._below(path)  # and no recursion: foreign directories may be deeper than that goes
        while left:
            where = left.pop()
            try:
                about = os.stat(self.path(where), follow_symlinks=False)
            except OSError as error:
                if isinstance(error, NO_DIRECTORY) or error.errno == errno.ENAMETOOLONG:
                    continue
                raise
            if stat.S_ISDIR(about.st_mode):
                left.extend(self._below(where))
            else:
                yield Found(where, about.st_size, about.st_mtime)

    def _below(self, path: str) -> Names:
        """Return the names directly below a path, the first one last."""
        return [f"{path}/{name}" for name in reversed(self._asked("list", path, self._list, path))]

    def remove(self, path: str) -> None:
        self._asked("remove", path, self._remove, path)

    def remove_all(self, paths: Sequence[str]) -> None:
        for path in paths:
            self.remove(path)
        self.prune({path.rpartition("/")[0] for path in paths})

    def prune(self, directories: Iterable[str]) -> None:
        """Remove directories that are empty, then those above them, but none of the store's own."""
        tried = set(directories)
        while tried:
            above = set()
            for directory in filter(lambda directory: "/" in directory, tried):
                with suppress(OSError):
                    with os.scandir(self.path(directory)) as entries:
                        if next(entries, None) is not None:  # some filesystems read all of it before they refuse
                            continue
                    os.rmdir(self.path(directory))
                    above.add(directory.rpartition("/")[0])
            tried = above

    def append(self, path: str, handle: int, size: int, data: Buffer) -> None:
        """Write to the end of a file that is opened for appending and ``size`` bytes long: all of it or nothing."""
        tries = 0

        def append() -> None:
            nonlocal tries
            tries += 1
            if tries > 1:
                os.ftruncate(handle, size)
            try:
                self._append(handle, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(handle, size)  # takes a half away, so that the file stays whole
                raise

        self._asked("write", path, append)

    def _asked(self, doing: str, path: str, ask: Callable[..., T], *arguments: Any) -> T:
        missing = MISSING if doing == "read" else ()
        return persistently(doing, self.path(path), partial(ask, *arguments), missing=missing)

    def _get(self, path: str, most_bytes: int | None = None) -> bytes:
        with self._opened(path) as file:
            return file.read() if most_bytes is None else file.read(most_bytes)

    def _get_writable(self, path: str) -> bytearray:
        with self._opened(path) as file:
            data = bytearray(os.fstat(file.fileno()).st_size)
            view, position = memoryview(data), 0
            while part := file.readinto(view[position:]):
                position += part
            view.release()
            del data[position:]
            return data

    def _opened(self, path: str) -> io.FileIO:
        """Open a file to read; refuse a pipe or device, which may give nothing or never end."""
        try:
            handle = os.open(self.path(path), _OLD_FILE)
        except NO_FILE as error:
            raise FileNotFoundError(path) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise FileNotFoundError(path)
        return io.FileIO(handle, "rb")

    def _put(self, path: str, data: Buffer) -> None:
        self._write(self.path(path), data)

    def _put_atomic(self, path: str, data: Buffer) -> None:
        with self._whole(path, data) as complete:
            os.replace(complete, self.path(path))

    def _create(self, path: str, data: Buffer) -> bool:
        with self._whole(path, data) as complete:
            try:
                os.link(complete, self.path(path))
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                    raise
                if os.path.lexists(self.path(path)):  # a filesystem without links: as near as it gets
                    return False
                os.replace(complete, self.path(path))
        return True

    def _list(self, path: str) -> Names:
        try:
            return sorted(os.listdir(self.path(path)))
        except NO_DIRECTORY:
            return []

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path(path))

    def _append(self, handle: int, data: Buffer) -> None:
        write_all(handle, data)

    def _write(self, target: str, data: Buffer) -> None:
        handle = opened(target, _NEW_FILE)
        try:
            write_all(handle, data)
        finally:
            os.close(handle)

    @contextmanager
    def _whole(self, path: str, data: Buffer) -> Iterator[str]:
        directory, _, name = self.path(path).rpartition("/")
        complete = f"{directory}/.{name[:100]}.{secrets.token_hex(6)}"
        try:
            self._write(complete, data)
            yield complete
        finally:
            with suppress(OSError):
                os.unlink(complete)


def opened(target: str, flags: int) -> int:
    """Open a new file; its directory is made, and again if another process removes it meanwhile because it is empty."""
    for _ in range(_MOST_TRIES):
        try:
            return os.open(target, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
    return os.open(target, flags, 0o666)


def _holds(file: io.FileIO, data: Buffer) -> bool:
    """Return True if a file consists of these bytes."""
    view = memoryview(data).cast("B")
    if os.fstat(file.fileno()).st_size != len(view):
        return False
    position = 0
    while part := file.read(_COMPARED_BYTES):
        if part != bytes(view[position : position + len(part)]):
            return False
        position += len(part)
    return position == len(view)


def write_all(handle: int, data: Buffer) -> None:
    """Write every byte: the operating system may take less at a time (2 GiB on Linux)."""
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(handle, view) :]
