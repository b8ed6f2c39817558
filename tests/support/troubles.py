"""Real troubles of a store's disk that begin and end when a test says so: full, read-only, forbidden, unreachable."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.testing import Faults, faulty_url

_NOBODY = 65534
_SIZE = 4 * 2**20


class Trouble(Protocol):
    """A store at ``url`` that is well until it isn't; ``said`` is what errors call it."""

    url: str
    said: str

    def begin(self) -> None:
        """From now on nothing can be written."""

    def end(self) -> None:
        """It is as before."""


class FullDisk:
    """A small disk, which something else fills."""

    said = "no space is left"

    def __init__(self, disk: Path) -> None:
        self.url, self._ballast = str(disk / "store"), disk / "ballast"

    def begin(self) -> None:
        with open(self._ballast, "wb", buffering=0) as file:
            for size in (2**20, 2**16, 2**12, 2**8, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def end(self) -> None:
        self._ballast.unlink()


class ReadOnlyDisk:
    """A disk that is mounted anew; no file may be open for writing then, so it behaves as an object store."""

    said = "Read-only"

    def __init__(self, disk: Path) -> None:
        self.url, self._disk = faulty_url(disk / "store", Faults(), as_objects=True), disk

    def begin(self) -> None:
        # Until nobody is at writing: the run's log is written every now and then.
        while subprocess.run(["mount", "-o", "remount,ro", self._disk], capture_output=True, check=False).returncode:
            pass

    def end(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self._disk], check=True)


class Forbidden:
    """A directory of somebody's who isn't root, and who may not write to it any more."""

    said = "Permission denied"

    def __init__(self, folder: Path) -> None:
        self.url, self._root = str(folder / "store"), folder / "store"

    def begin(self) -> None:
        self._set(0o500)

    def end(self) -> None:
        self._set(0o700)

    def _set(self, mode: int) -> None:
        for directory, _, _ in os.walk(self._root):
            os.chmod(directory, mode)


class Unreachable:
    """A store none of whose operations succeeds."""

    said = "a fault"

    def __init__(self, folder: Path, *, as_objects: bool) -> None:
        self.url = faulty_url(folder / "store", Faults(), as_objects=as_objects)
        filesystem: Any = open_store(self.url, trusted=True).filesystem
        self._dice = filesystem._filesystem.dice if as_objects else filesystem.dice

    def begin(self) -> None:
        self._dice.faults = replace(self._dice.faults, before=1.0)

    def end(self) -> None:
        self._dice.faults = replace(self._dice.faults, before=0.0)


KINDS = ("full disk", "read-only disk", "permission", "unreachable disk", "unreachable object store")


@contextmanager
def trouble(kind: str, folder: Path) -> Iterator[Trouble]:
    """A trouble of some kind, which hasn't begun."""
    with ExitStack() as stack:
        match kind:
            case "full disk":
                yield FullDisk(stack.enter_context(small_disk()))
            case "read-only disk":
                disk = stack.enter_context(small_disk())
                if disk.is_mount():
                    yield ReadOnlyDisk(disk)
                else:
                    yield Forbidden(stack.enter_context(nobodys_folder()))
            case "permission":
                yield Forbidden(stack.enter_context(nobodys_folder()))
            case _:
                yield Unreachable(folder, as_objects=kind == "unreachable object store")


@contextmanager
def small_disk() -> Iterator[Path]:
    """A filesystem of 4 MiB; where none may be mounted, a folder in memory, which is small as well."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            with tempfile.TemporaryDirectory(dir="/dev/shm") as in_memory:
                yield Path(in_memory)
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def nobodys_folder() -> Iterator[Path]:
    """A folder, and this process as somebody who may do no more than its owner: root could write anywhere."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, _NOBODY, _NOBODY)
        os.seteuid(_NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)
