"""Stores that fail now and then, by URL: ``faulty+file:///path?before=0.01&seed=3``.

Everything that opens a store opens one of these, in every process: the faults travel in the URL. Below it lies an
ordinary store, which anybody can open by its own URL.

    faulty+file://     a disk: writes may be cut short, spools are kept
    faulty+objects://  a directory that behaves as an object store does: objects are there whole or not at all
    faulty+s3://, …    any other URL of fsspec, with faults before its driver is asked

The faults stand below the patience of the store, where a real disk and a real driver have theirs.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from tensorlake_nb.store.filesystems.local import LocalFilesystem, write_all
from tensorlake_nb.store.filesystems.protocol import Buffer, Filesystem, Names
from tensorlake_nb.store.filesystems.remote import RemoteFilesystem
from tensorlake_nb.testing.faults import Dice, Faults

T = TypeVar("T")

_PREFIX = "faulty+"
_FAILING = ("before", "after", "timed_out", "throttled", "slow")


def faulty_url(store: str | os.PathLike[str], faults: Faults, *, as_objects: bool = False) -> str:
    """Return the URL of a store that has faults.

    Parameters
    ----------
    store
        A directory, or the URL of the store that lies below.
    as_objects
        Let a directory behave as an object store does.
    """
    url = os.fspath(store)
    if "://" not in url:
        url = f"{'objects' if as_objects else 'file'}://{Path(url).absolute().as_posix()}"
    query = urlencode(faults.to_query())
    return f"{_PREFIX}{url}?{query}" if query else f"{_PREFIX}{url}"


def open_filesystem(url: str, options: Mapping[str, Any] | None = None) -> Filesystem:
    """Return the filesystem of a URL from `faulty_url`."""
    below, _, query = url.removeprefix(_PREFIX).partition("?")
    dice = Dice(Faults.of_query(dict(parse_qsl(query))))
    protocol, _, rest = below.partition("://")
    if protocol == "file":
        return FaultyDisk(Path(rest), dice, url)
    if protocol == "objects":
        return FaultyObjects(below, dice, url, driver=lambda: _Directory(Path(rest)))
    return FaultyObjects(below, dice, url, options=options)


class _Meeting:
    """Operations that meet their fates."""

    dice: Dice

    def meet(self, ask: Callable[[], T], *possible: str) -> T:
        """Do something, unless something becomes of it."""
        return self.undergo(self.dice.fate(*_FAILING, *possible), ask)

    def undergo(self, fate: str, ask: Callable[[], T]) -> T:
        """Do something to which something happens."""
        if fate in ("timed_out", "slow"):
            time.sleep(self.dice.faults.slow_s)
        if fate == "before" or (fate == "timed_out" and self.dice.share() < 0.5):
            raise _error(fate)
        if fate == "throttled":
            raise _error(fate)
        if fate == "stale":
            raise FileNotFoundError(errno.ENOENT, "it is there, but not seen yet")
        answer = ask()
        if fate in ("after", "timed_out"):
            raise _error(fate)
        return answer


class FaultyDisk(_Meeting, LocalFilesystem):
    """A directory whose operations fail now and then."""

    def __init__(self, root: Path, dice: Dice, url: str) -> None:
        super().__init__(root)
        self.dice, self.url = dice, url

    def _get(self, path: str, most_bytes: int | None = None) -> bytes:
        return self.meet(lambda: LocalFilesystem._get(self, path, most_bytes), "stale")

    def _get_writable(self, path: str) -> bytearray:
        return self.meet(lambda: LocalFilesystem._get_writable(self, path), "stale")

    def _put(self, path: str, data: Buffer) -> None:
        fate = self.dice.fate(*_FAILING, "cut")
        if fate == "cut":
            self._write(self.path(path), self._half(data))
            raise _error(fate)
        self.undergo(fate, lambda: LocalFilesystem._put(self, path, data))

    def _put_atomic(self, path: str, data: Buffer) -> None:
        self._whole_or_cut(path, data, lambda: LocalFilesystem._put_atomic(self, path, data))

    def _create(self, path: str, data: Buffer) -> bool:
        return self._whole_or_cut(path, data, lambda: LocalFilesystem._create(self, path, data))

    def _whole_or_cut(self, path: str, data: Buffer, write: Callable[[], T]) -> T:
        """Cut a write of an object that is written under another name first."""
        fate = self.dice.fate(*_FAILING, "cut")
        if fate == "cut":
            with self._whole(path, self._half(data)):
                raise _error(fate)
        return self.undergo(fate, write)

    def _list(self, path: str) -> Names:
        fate = self.dice.fate(*_FAILING, "lagging")
        names = self.undergo(fate, lambda: LocalFilesystem._list(self, path))
        if fate == "lagging":
            seen_until = time.time() - self.dice.faults.lag_s
            names = [name for name in names if _changed_at(self.path(f"{path}/{name}")) < seen_until]
        return names

    def _remove(self, path: str) -> None:
        self.meet(lambda: LocalFilesystem._remove(self, path))

    def _append(self, handle: int, data: Buffer) -> None:
        fate = self.dice.fate(*_FAILING, "cut")
        if fate == "cut":
            write_all(handle, self._half(data))
            raise _error(fate)
        self.undergo(fate, lambda: LocalFilesystem._append(self, handle, data))

    def _half(self, data: Buffer) -> bytes:
        raw = bytes(data)
        return raw[: int(len(raw) * self.dice.share())]


class FaultyObjects(RemoteFilesystem):
    """An object store whose requests fail now and then.

    Parameters
    ----------
    below
        The URL of the store that is asked.
    url
        The URL that others open this one by.
    driver
        The driver to use instead of the URL's own.
    """

    def __init__(
        self,
        below: str,
        dice: Dice,
        url: str,
        *,
        options: Mapping[str, Any] | None = None,
        driver: Callable[[], Any] | None = None,
    ) -> None:
        self.dice, self._below, self._driver = dice, below, driver
        super().__init__(below, dict(options or {}))
        self.url = url

    def _connect(self) -> None:
        if self._driver is None:
            opened, self.url = self.url, self._below
            super()._connect()
            self.url = opened
        else:
            self._filesystem, self._base, self._process = self._driver(), "", os.getpid()
        self._filesystem = _FaultyDriver(self._filesystem, self.dice)


class _FaultyDriver(_Meeting):
    """An fsspec driver for `RemoteFilesystem`, with faults before it."""

    def __init__(self, driver: Any, dice: Dice) -> None:
        self._driver, self.dice = driver, dice

    def cat_file(self, path: str, **part: int) -> bytes:
        return self.meet(lambda: bytes(self._driver.cat_file(path, **part)), "stale")

    def cat(self, paths: Sequence[str], on_error: str) -> dict[str, Any]:
        return dict(zip(paths, self.cat_ranges(paths, 0, None, on_error), strict=True))

    def cat_ranges(self, paths: Sequence[str], start: int, end: int | None, on_error: str) -> list[Any]:
        part = {} if end is None else {"start": start, "end": end}
        answers: list[Any] = []
        for path in paths:
            try:
                answers.append(self.cat_file(path, **part))
            except Exception as error:
                answers.append(error)
        return answers

    def pipe_file(self, path: str, data: bytes, **how: Any) -> None:
        self.meet(lambda: self._driver.pipe_file(path, data, **how))

    def ls(self, path: str, detail: bool) -> list[str]:
        return self.meet(lambda: list(self._driver.ls(path, detail=detail)))

    def find(self, path: str, detail: bool) -> dict[str, Any]:
        return self.meet(lambda: dict(self._driver.find(path, detail=detail)))

    def rm_file(self, path: str) -> None:
        self.meet(lambda: self._driver.rm_file(path))

    def rm(self, paths: Sequence[str]) -> None:
        self.meet(lambda: self._driver.rm(paths))

    def exists(self, path: str) -> bool:
        return self.meet(lambda: bool(self._driver.exists(path)))


class _Directory:
    """A directory as the driver of an object store: objects appear whole, and only one can be the first."""

    def __init__(self, root: Path) -> None:
        self._objects = LocalFilesystem(root)

    def cat_file(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        return self._objects.get(path.lstrip("/"))[start:end]

    def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
        if mode != "create":
            self._objects.put_atomic(path.lstrip("/"), data)
        elif not self._objects.create(path.lstrip("/"), data):
            raise FileExistsError(path)

    def ls(self, path: str, detail: bool) -> list[str]:
        return self._objects.list(path.lstrip("/"))

    def find(self, path: str, detail: bool) -> dict[str, Any]:
        return {found.path: {"size": found.size_bytes} for found in self._objects.walk(path.lstrip("/"))}

    def rm_file(self, path: str) -> None:
        self._objects.remove(path.lstrip("/"))

    def rm(self, paths: Sequence[str]) -> None:
        self._objects.remove_all([path.lstrip("/") for path in paths])

    def exists(self, path: str) -> bool:
        return os.path.lexists(self._objects.path(path.lstrip("/")))


def _error(fate: str) -> OSError:
    match fate:
        case "throttled":
            return OSError(errno.EBUSY, "a fault: slow down")
        case "timed_out":
            return TimeoutError(errno.ETIMEDOUT, "a fault: it took too long")
        case "after":
            return OSError(errno.EIO, "a fault: an error, though it was done")
        case "cut":
            return OSError(errno.EIO, "a fault: it was cut short")
        case _:
            return OSError(errno.EIO, "a fault: an error, and nothing was done")


def _changed_at(path: str) -> float:
    with suppress(OSError):
        return os.stat(path).st_mtime
    return 0.0
