"""Kill points in a kernel and its workers: Python imports this at its start, wherever this folder is on its path.

The environment says at which call of which function, counted over all processes of the run, who is killed, and whether
before the call, when half of what it writes is written, or after it. Each call of each place is counted in a file.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

#: Modules, classes and methods at which somebody may be killed.
PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "tensorlake_nb.store.filesystems.local": {"LocalFilesystem": ("_write", "put", "put_atomic", "create", "remove")},
    "tensorlake_nb.store.writing.spool": {"Spool": ("_append", "restart", "remove")},
    "tensorlake_nb.store.checkpoints.store": {"Store": ("commit", "recover")},
    "tensorlake_nb.store.checkpoints.run_log": {"RunLog": ("append",)},
    "tensorlake_nb.core.planning.turn": {"Turn": ("fold", "perform")},
    "tensorlake_nb.engine.driving.driver": {"Driver": ("_take",)},
    "tensorlake_nb.engine.driving.dask_backend": {"DaskBackend": ("submit", "_on_done", "_on_event")},
    "tensorlake_nb.engine.worker.node_work": {"NodeWork": ("add", "receipt")},
}


def install(folder: str, point: Mapping[str, Any]) -> None:
    """Put kill points around all places."""
    for module, classes in PLACES.items():
        for name, methods in classes.items():
            kind = getattr(importlib.import_module(module), name)
            for method in methods:
                setattr(kind, method, _wrapped(f"{name}.{method}", getattr(kind, method), folder, point))
    spool: Any = importlib.import_module("tensorlake_nb.store.writing.spool").Spool
    spool.add = _noted(spool.add, point["calls"])


def _wrapped(place: str, original: Callable[..., Any], folder: str, point: Mapping[str, Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def called(*args: Any, **named: Any) -> Any:
        is_here = _ticket(f"{folder}/{place}") == point["number"] and place == point["place"]
        moment = point["moment"] if is_here else ""
        if moment == "before":
            _kill(point["victim"])
        if moment == "half" and place in ("LocalFilesystem._write", "Spool._append"):
            *before, data = args
            if place == "Spool._append" and before[0]._handle >= 0:
                os.write(before[0]._handle, data[: len(data) // 2])
            elif place == "LocalFilesystem._write":
                original(*before, memoryview(data).cast("B")[: len(data) // 2])
            _kill(point["victim"])
        result = original(*args, **named)
        if moment:
            _kill(point["victim"])
        return result

    return called


def _noted(add: Callable[..., Any], calls: str) -> Callable[..., Any]:
    """Note what is kept from now on, whatever happens."""

    @functools.wraps(add)
    def called(*args: Any, **named: Any) -> None:
        add(*args, **named)
        _append(calls, f"kept @{threading.get_native_id()}\n".encode())

    return called


def _ticket(path: str) -> int:
    """How often somebody was here, this time included."""
    return _append(path, b".")


def _append(path: str, data: bytes) -> int:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, data)
        return os.lseek(handle, 0, os.SEEK_CUR)
    finally:
        os.close(handle)


def _kill(victim: str) -> None:
    """Kill the kernel (which leads the session), this process, or both; other workers end with the kernel."""
    kernel = os.getsid(0)
    if victim == "all":
        os.kill(kernel, signal.SIGKILL)
    os.kill(kernel if victim == "kernel" else os.getpid(), signal.SIGKILL)


if "TENSORLAKE_NB_KILL" in os.environ and "resource_tracker" not in " ".join(sys.orig_argv):
    _point = json.loads(os.environ["TENSORLAKE_NB_KILL"])
    install(_point["hits"], _point)
