"""Parts of Dask that keep quiet: no logs at exit, no dashboard, no interrupt, no second run of ``__main__``."""

from __future__ import annotations

import logging
import multiprocessing.spawn
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

from distributed import Client, Scheduler, Worker

_patching = threading.Lock()
_patches = 0
_original = multiprocessing.spawn.get_preparation_data
_WORKER_PROCESS = "Dask Worker process (from Nanny)"


@contextmanager
def silencing_only_its_own() -> Iterator[None]:
    """Leave handlers of others as they are while Dask silences all those of its loggers for as long as a cluster lives.

    A test runner's hears those loggers, too, and would hear nothing of anybody from then on.
    """
    heard = [handler for name in ("distributed", "bokeh") for handler in logging.getLogger(name).handlers]
    levels = {handler: handler.level for handler in heard if type(handler) is not logging.StreamHandler}
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


class MuteClient(Client):
    """A client that says nothing when it is forgotten: what it couldn't close has gone with its scheduler."""

    def __del__(self) -> None:
        with suppress(Exception):
            super().__del__()  # type: ignore[no-untyped-call]


class MuteScheduler(Scheduler):
    """A scheduler in this process that listens on no port, not even for a dashboard."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


class MuteWorker(Worker):
    """A worker in this process that listens on no port."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


def block_sigint() -> None:
    """Block SIGINT in this thread: threads and processes that it starts inherit that, and the kernel's main thread is
    none of them. `worker_setup` lets go of it in the worker, once SIGINT is ignored there.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is threading.main_thread():
        return
    resource_tracker.ensure_running()  # starting it later would unblock SIGINT again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@contextmanager
def no_main() -> Iterator[None]:
    """Let worker processes start without importing the main script.

    Functions come to them by value, so they don't need it; and a script without ``if __name__ == "__main__":`` would
    start a cluster in each worker. Other processes that start meanwhile are left as they are.
    """
    global _patches
    with _patching:
        _patches += 1
        if _patches == 1:
            multiprocessing.spawn.get_preparation_data = _without_main
    try:
        yield
    finally:
        with _patching:
            _patches -= 1
            if _patches == 0 and multiprocessing.spawn.get_preparation_data is _without_main:
                multiprocessing.spawn.get_preparation_data = _original


def _without_main(name: str) -> dict[str, Any]:
    data = _original(name)
    if name == _WORKER_PROCESS:
        data.pop("init_main_from_path", None)
        data.pop("init_main_from_name", None)
    return data
