"""Preloaded into every worker process of an embedded cluster, before anything else runs there.

Jupyter's Stop sends SIGINT to the kernel's whole process group. A worker must not hear it. And it is to end with its
kernel, however that ends and whatever it is doing, as what it has started is to end with it.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

from tensorlake_nb.engine.process.capture import take_descriptors
from tensorlake_nb.engine.process.children import lead_group
from tensorlake_nb.engine.process.last_words import VARIABLE
from tensorlake_nb.engine.process.surroundings import settle

logger = logging.getLogger(__name__)

#: From ``linux/prctl.h``.
_PR_SET_PDEATHSIG = 1


def deafen() -> None:
    """Ignore SIGINT in this process, and let go of the block that kept it out until now."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(signal, "SIGALRM"):  # the alarm clock of the watchdog is to end the process
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for name in ("SIGTTIN", "SIGTTOU"):  # else a program that touches the terminal would stop the whole group
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def end_with_parent() -> None:
    """Have the system kill this process when its parent dies (Linux).

    A thread of Dask's does the same everywhere, but not while a call holds the interpreter lock in C.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died just before
        os._exit(1)


def allow_children() -> None:
    """Let calls start processes of their own, in the way that they are started in a kernel: a pool, a loader of data.

    Dask's workers are daemons, so that they end with the process that started them, and a daemon may not have children.
    Its parent goes on to see one. And a process that was spawned itself would spawn its own, which know nothing of a
    notebook.
    """
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    config["daemon"] = False
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)  # the system's default


def take_output() -> None:
    """Take what programs and C libraries write while calls are made."""
    paths = os.environ.pop(VARIABLE, "")
    if not paths:
        return
    try:
        take_descriptors(paths.split("\n"))
    except (AttributeError, OSError, ValueError) as error:
        logger.critical(
            "the output of programs and C libraries isn't in the logs of calls on process %s: %s", os.getpid(), error
        )


def dask_setup(worker: Any) -> None:
    """Set up a worker; Dask calls this function of a preloaded module."""
    deafen()
    allow_children()
    settle()


deafen()
end_with_parent()
lead_group()
take_output()
