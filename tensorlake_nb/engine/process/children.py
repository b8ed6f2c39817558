"""Processes that calls start (ffmpeg, a browser, a pool): they end with the worker that they were started for.

Each worker of an embedded cluster leads a process group, which what it starts belongs to. A guardian outside of the
group holds the other end of a pipe: when the worker is gone, however that happened, the pipe is closed, and the
guardian ends what is left of the group. `multiprocessing.resource_tracker` guards shared memory in the same way.

Never before the worker: a call whose program is ended would take half of its output for all of it, and keep that. For
the same reason the group gets no SIGINT: Jupyter's Stop goes to the kernel's.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from contextlib import suppress

import psutil

logger = logging.getLogger(__name__)

#: In the background, so that it is no child of the worker, which may wait for all of its own. What hears SIGTERM can
#: tidy up, as trackers of shared memory do once those who used it are gone.
_GUARDIAN = """exec 3<&0
(
    read _ <&3
    kill -s TERM -- "$@"
    sleep 1
    kill -s KILL -- "$@"
) &"""

#: The worker's ends of the pipes, open as long as the process is there.
_guarded_by: list[int] = []


def lead_group() -> None:
    """Make this process the leader of a group that ends with it (Unix)."""
    if not hasattr(os, "setpgid"):
        return
    nothing = os.open(os.devnull, os.O_RDONLY)  # not a terminal, which a group in the background can't read
    os.dup2(nothing, 0)
    os.close(nothing)
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    try:
        _guard([f"-{os.getpid()}"])
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("programs that calls start may outlive process %s: %s", os.getpid(), error)
    else:
        os.register_at_fork(after_in_child=_let_go)


def end_process(code: int) -> None:
    """End this process at once, without any cleaning up, and then what it has started."""
    try:
        if not _guarded_by:
            below = [str(child.pid) for child in psutil.Process().children(recursive=True)]
            if below:
                _guard(below)
    finally:
        os._exit(code)


def kill_tree(pid: int) -> None:
    """Kill a process, and then what it has started."""
    below: list[psutil.Process] = []
    with suppress(Exception):  # whatever keeps one from looking, the process itself is killed
        below = psutil.Process(pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    for each in below:
        with suppress(psutil.Error):
            each.kill()


def _guard(targets: list[str]) -> None:
    """Have processes, or groups (``-PID``), ended when this process is gone."""
    theirs, ours = os.pipe()
    try:
        subprocess.run(
            ["/bin/sh", "-c", _GUARDIAN, "guardian", *targets],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    _guarded_by.append(ours)


def _let_go() -> None:
    """Close a forked child's copy of the pipe, which would hold it open."""
    while _guarded_by:
        os.close(_guarded_by.pop())
