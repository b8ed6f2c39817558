"""Take over the spools of writers that are dead."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from functools import cache

import psutil

from tensorlake_nb.store.format.spool_frames import SpoolContents, read_spool
from tensorlake_nb.store.format.trust import Keys

try:
    import fcntl
except ImportError:  # Windows
    try_lock: Callable[[int], bool] | None = None
else:

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    try_lock = _lock

#: For files that what the process starts doesn't inherit.
NOT_INHERITED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_STARTED_WITHIN_S = 2.0  # psutil works a process's start out from the clock, which may be set meanwhile
_HEADERLESS_S = 60.0


class AbandonedSpool:
    """A spool of a dead writer, held so that no other process recovers it meanwhile; ``with`` releases it."""

    def __init__(self, handle: int, contents: SpoolContents) -> None:
        self._handle = handle
        self.contents = contents

    def __enter__(self) -> AbandonedSpool:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def take_over(path: str, keys: Keys | None = None) -> AbandonedSpool | None:
    """Take hold of a spool whose writer is dead; ``None`` if it lives, or another process has it."""
    try:
        handle = os.open(path, os.O_RDWR | NOT_INHERITED)
    except OSError:
        return None
    keep = False
    try:
        locked = try_lock is not None and try_lock(handle)
        if try_lock is not None and not locked:
            return None
        raw = _read_all(handle)
        contents = read_spool(raw, keys)
        if _is_alive(contents, os.fstat(handle).st_mtime, locked):
            return None
        if os.name != "nt" and not _is_still(handle, path):
            return None
        keep = True
        return AbandonedSpool(handle, contents)
    except OSError:
        return None
    finally:
        if not keep:
            os.close(handle)


def _is_alive(contents: SpoolContents, touched: float, locked: bool) -> bool:
    if not contents.writer:  # between being created and having a header
        return time.time() - touched < _HEADERLESS_S
    if contents.header.get("locked") and locked:
        return False  # its writer held the lock while it lived
    if contents.header.get("host") != socket.gethostname():
        return True  # can't be told from here; its entries can be read all the same
    pid = contents.header.get("pid")
    started = contents.header.get("started")
    if not isinstance(pid, int) or not isinstance(started, float):
        return False
    return abs(_started(pid) - started) < _STARTED_WITHIN_S


def _is_still(handle: int, path: str) -> bool:
    """Return True if the file still has that name: no process recovered and removed it since it was opened."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return found.st_ino == os.fstat(handle).st_ino


@cache
def own_start(pid: int) -> float:  # by process, since a fork keeps what was cached before it
    """Return when this process started, as its spools say it (s since the epoch)."""
    return _started(pid)


def _started(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _read_all(handle: int) -> bytes:
    parts = []
    while part := os.read(handle, 2**24):
        parts.append(part)
    return b"".join(parts)
