"""Preloaded into every worker process of an embedded cluster, before anything else runs there.

Jupyter's Stop sends SIGINT to the kernel's whole process group. A worker must not hear it.
"""

from __future__ import annotations

import signal
import threading
from typing import Any


def deafen() -> None:
    """Ignore SIGINT in this process, and let go of the block that kept it out until now."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(signal, "SIGALRM"):  # the alarm clock of the watchdog is to end the process
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def dask_setup(worker: Any) -> None:
    """What Dask calls of a preloaded module."""
    deafen()


deafen()
