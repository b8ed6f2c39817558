"""A local directory or any fsspec filesystem, as the store needs it.

Objects are written once, under names that nobody else writes, so there is little to ask for: put, get, list, and a
conditional create for the few names that two processes may want at once. Nothing trusts a cached listing.

Local files are written by the operating system's own calls, which cost a third of what they do through fsspec.
Where a half-written file could be taken for a whole one (`put_atomic`, `create`), the bytes go to a file of another
name in the same directory first, and get their own name by one rename or link. Nothing is synced: a checkpoint
outlives its process, not a power cut, after which digests tell what was lost.

fsspec has no types: `Any` stops here.
"""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

import fsspec

from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.compression import Buffer
from tensorlake_nb.store.patience import FINAL, expected, persistently

T = TypeVar("T")
#: `Filesystem.list` hides the builtin inside the classes.
Names = list[str]

_DRIVERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_DRIVERS |= dict.fromkeys(("abfs", "abfss", "az", "adl"), "adlfs")
#: s3fs asks for an object's size before each read, to read large ones in parts; ours are small, or cut already.
_TUNING: dict[str, dict[str, Any]] = {"s3": {"max_concurrency": 1}, "s3a": {"max_concurrency": 1}}
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_OLD_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_DIRECTORY = (FileNotFoundError, NotADirectoryError)
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_MISSING = (FileNotFoundError,)
#: Filesystems of our own, by the first part of a protocol: modules with an ``open_filesystem``, imported when needed.
_OWN = {"faulty": "tensorlake_nb.testing.store"}
#: How often a directory is made again that somebody removed, because it was empty, before it was written to.
_MOST_TRIES = 5


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

    What fails is asked again as long as `patience` says.
    """

    url: str
    #: Spools can be kept here: appending is cheap and survives the process.
    is_local: bool
    #: Other processes see the same objects.
    is_shared: bool

    def get(self, path: str) -> bytes:
        """The whole object; `FileNotFoundError` if there is none."""

    def get_writable(self, path: str) -> bytearray:
        """The whole object as memory that a value can be made of without another copy."""

    def get_many(self, paths: Sequence[str], *, most_bytes: int | None = None) -> list[bytes | None]:
        """Whole objects, ``None`` for each that is missing.

        Parameters
        ----------
        most_bytes
            No more than this is read of any: what is larger comes cut.
        """

    def put(self, path: str, data: Buffer) -> None:
        """Write an object that nobody reads before another object lists it."""

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
        """Remove objects, as far as they are there, and the directories that are empty then."""


#: What would make a folder "s3:" here; one letter is a drive.
_ONE_SLASH = re.compile(r"([a-z][a-z0-9+.-]+):/")


def open_filesystem(url: str, options: Mapping[str, Any] | None = None) -> Filesystem:
    """The filesystem of a URL or a plain path (``~`` is understood); nothing is read or written yet.

    Raises
    ------
    StoreUnavailableError
        Unknown protocol, a URL with a slash too few, or a driver that isn't installed.
    """
    protocol, separator, rest = url.partition("://")
    if not separator:
        if mistyped := _ONE_SLASH.match(url):
            meant = f"{mistyped[1]}://{url[mistyped.end() :]}"
            raise StoreUnavailableError(f"{url!r} is no URL: write {meant}, or ./{url} for a folder of that name")
        return LocalFilesystem(Path(url))
    own = _OWN.get(protocol.partition("+")[0]) if "+" in protocol else None
    if own is not None:
        opened: Filesystem = import_module(own).open_filesystem(url, options)
        return opened
    if protocol in ("file", "local"):
        return LocalFilesystem(Path(rest[1:] if os.name == "nt" and rest[2:3] == ":" else rest))
    return RemoteFilesystem(url, dict(options or {}))


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
        """Where the object lies for the operating system."""
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

    def list(self, path: str) -> list[str]:
        return [name for name in self._asked("list", path, self._list, path) if not name.startswith(".")]

    def walk(self, path: str) -> Iterator[Found]:
        left = self._below(path)  # and no recursion: somebody else's directories may be deeper than that goes
        while left:
            where = left.pop()
            try:
                about = os.stat(self.path(where), follow_symlinks=False)
            except OSError as error:
                if isinstance(error, _NO_DIRECTORY) or error.errno == errno.ENAMETOOLONG:
                    continue
                raise
            if stat.S_ISDIR(about.st_mode):
                left.extend(self._below(where))
            else:
                yield Found(where, about.st_size, about.st_mtime)

    def _below(self, path: str) -> Names:
        """What lies directly below a path, the first one last."""
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
        missing = _MISSING if doing == "read" else ()
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
        """A file to read; a pipe or a device, from which nothing or no end may ever come, isn't one."""
        try:
            handle = os.open(self.path(path), _OLD_FILE)
        except _NO_FILE as error:
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
        except _NO_DIRECTORY:
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


class RemoteFilesystem:
    """Any other fsspec filesystem; its puts are atomic, as those of object stores and of ``memory://`` are."""

    is_local = False

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = url.rstrip("/") if not url.endswith("://") else url
        self.is_shared = not url.startswith("memory://")
        self._options = options
        self._process = 0
        self._connect()

    def get(self, path: str) -> bytes:
        return self._asked("read", path, lambda: self._get(path), missing=_MISSING)

    def get_writable(self, path: str) -> bytearray:
        return bytearray(self.get(path))

    def get_many(self, paths: Sequence[str], *, most_bytes: int | None = None) -> list[bytes | None]:
        if not paths:
            return []
        wanted = [self._at(path) for path in paths]
        if most_bytes is None:
            found = self._asked("read", "", lambda: self._fs.cat(wanted, on_error="return"))
            got = [found.get(path, found.get(path.lstrip("/"))) for path in wanted]
        else:
            got = self._asked("read", "", lambda: self._fs.cat_ranges(wanted, 0, most_bytes, on_error="return"))
        answers: list[bytes | None] = []
        for path, answer in zip(paths, got, strict=True):
            if most_bytes is not None and isinstance(answer, OSError) and answer.errno == errno.EINVAL:
                answer = b""  # S3 has no first bytes of an empty object
            elif isinstance(answer, Exception) and not isinstance(answer, _NO_FILE):
                answer = self._alone(path, most_bytes)  # with all the patience that one request gets
            answers.append(None if answer is None or isinstance(answer, Exception) else bytes(answer))
        return answers

    def _alone(self, path: str, most_bytes: int | None) -> bytes | None:
        try:
            return self._asked("read", path, lambda: self._get(path, most_bytes), missing=_MISSING)
        except FileNotFoundError:
            return None

    def put(self, path: str, data: Buffer) -> None:
        self._asked("write", path, lambda: self._fs.pipe_file(self._at(path), bytes(data)))

    put_atomic = put

    def create(self, path: str, data: Buffer) -> bool:
        return self._asked("write", path, lambda: self._create(path, data))

    def list(self, path: str) -> list[str]:
        listed = self._asked("list", path, lambda: self._listed(lambda: self._fs.ls(self._at(path), detail=False)))
        return [name.rstrip("/").rpartition("/")[2] for name in listed]

    def walk(self, path: str) -> Iterator[Found]:
        found = self._asked("list", path, lambda: self._listed(lambda: self._fs.find(self._at(path), detail=True)))
        base = len(self._base.lstrip("/")) + 1
        for name in sorted(found):
            yield Found(name.lstrip("/")[base:], int(found[name].get("size") or 0))

    def remove(self, path: str) -> None:
        self._asked("remove", path, lambda: self._remove(path))

    def remove_all(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        try:
            self._asked("remove", "", lambda: self._fs.rm([self._at(path) for path in paths]), missing=_NO_FILE)
        except _NO_FILE:  # some drivers stop at the first that is missing
            for path in paths:
                self.remove(path)

    def _get(self, path: str, most_bytes: int | None = None) -> bytes:
        part = {} if most_bytes is None else {"start": 0, "end": most_bytes}
        try:
            return bytes(self._fs.cat_file(self._at(path), **part))
        except _NO_FILE as error:
            raise FileNotFoundError(path) from error

    def _create(self, path: str, data: Buffer) -> bool:
        try:
            self._fs.pipe_file(self._at(path), bytes(data), mode="create")
        except FileExistsError:
            # It may be our own: it arrived, its answer didn't, and it was sent again, by us or by the driver.
            return self.is_shared and expected(lambda: self._get(path)) == bytes(data)
        except (NotImplementedError, TypeError, ValueError):  # no conditional writes there: as near as it gets
            if self._fs.exists(self._at(path)):
                return False
            self._fs.pipe_file(self._at(path), bytes(data))
        return True

    def _listed(self, ask: Callable[[], Any]) -> Any:
        for _ in range(20):
            try:
                return ask()
            except _NO_DIRECTORY:
                return {}
            except RuntimeError:  # memory:// walks a dict that other threads add to
                continue
        raise StoreUnavailableError(f"can't list {self.url}: it changes too quickly")

    def _remove(self, path: str) -> None:
        with suppress(*_NO_FILE):
            self._fs.rm_file(self._at(path))

    def _asked(self, doing: str, path: str, ask: Callable[[], T], *, missing: tuple[type[Exception], ...] = ()) -> T:
        where = f"{self.url}/{path}" if path else self.url
        return persistently(doing, where, ask, missing=missing, passing=self._passes)

    def _passes(self, error: Exception) -> bool:
        """Throttling, lost connections: drivers have errors of their own kinds for them."""
        return self.is_shared and not isinstance(error, (PermissionError, *_NO_FILE, *FINAL))

    @property
    def _fs(self) -> Any:
        if self._process != os.getpid():  # its connections don't survive a fork
            self._connect()
        return self._filesystem

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _connect(self) -> None:
        protocol = self.url.partition("://")[0]
        options = {**_TUNING.get(protocol, {}), **self._options}
        try:
            self._filesystem, base = fsspec.url_to_fs(
                self.url, use_listings_cache=False, skip_instance_cache=True, **options
            )
        except ImportError as error:
            driver = _DRIVERS.get(protocol, f"its fsspec driver ({error})")
            raise StoreUnavailableError(f"a store at {protocol}:// needs {driver}: pip install {driver}") from error
        except ValueError as error:
            raise StoreUnavailableError(
                f"{self.url!r} is no URL that fsspec knows ({error}). Use a path, file://, memory://, s3://, gcs://, "
                "abfs:// or another protocol of fsspec."
            ) from error
        except Exception as error:
            raise StoreUnavailableError(f"can't reach {self.url}: {error}") from error
        self._base = base.rstrip("/")
        self._process = os.getpid()


def opened(target: str, flags: int) -> int:
    """Open a new file; its directory is made, and again if somebody takes it away meanwhile because it is empty."""
    for _ in range(_MOST_TRIES):
        try:
            return os.open(target, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
    return os.open(target, flags, 0o666)


def write_all(handle: int, data: Buffer) -> None:
    """Write every byte: the operating system may take less at a time (2 GiB on Linux)."""
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(handle, view) :]
