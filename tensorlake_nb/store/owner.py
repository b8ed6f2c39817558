"""Identify the process that drives a run, and check that it still exists."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Mapping

import psutil

Owner = Mapping[str, str | int | float]


def this_process() -> Owner:
    """Identify this process among all that ever were."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=2)
def _process(pid: int) -> Owner:
    return {"host": socket.gethostname(), "pid": pid, "created": psutil.Process(pid).create_time()}


def is_alive(owner: Owner) -> bool:
    """Return True if a run's process still exists; assume so for one on another host.

    An owner that names no process, be it empty, damaged or forged, isn't there.
    """
    try:
        host, pid, created = owner["host"], int(owner["pid"]), float(owner["created"])
        if host != socket.gethostname():
            return True
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # it has ended, and its parent hasn't asked how
            return False
        return abs(float(process.create_time()) - created) < 1
    except (psutil.Error, KeyError, ValueError, TypeError, OverflowError):
        return False
