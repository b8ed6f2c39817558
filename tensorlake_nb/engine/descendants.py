"""Processes that calls start (ffmpeg, a browser, a pool): they end with the worker that they were started for.

Each worker of an embedded cluster leads a process group, which what it starts belongs to. A guardian outside of the
group holds the other end of a pipe: when the worker is gone, however that happened, the pipe is closed, and the
guardian kills what is left of the group. `multiprocessing.resource_tracker` guards shared memory in the same way.

Outside of the group nobody sends SIGINT either: Jupyter's Stop goes to the kernel's group, and a program that it ended
would give its call a result that nobody asked for.
"""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import suppress

import psutil

logger = logging.getLogger(__name__)

#: The guardian goes on in the background, so that it is no child of the worker, which may wait for all of its own.
_GUARDIAN = 'exec 3<&0; (read _ <&3; kill -s KILL -- "-$0") &'

#: The worker's end of the pipe, open as long as the process is there.
_guarded_by: list[int] = []


def lead_group() -> None:
    """Make this process the leader of a group that ends with it (Unix)."""
    if not hasattr(os, "setpgid"):
        return
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    theirs, ours = os.pipe()
    try:
        subprocess.run(
            ["/bin/sh", "-c", _GUARDIAN, str(os.getpid())],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        logger.warning("what calls on process %s start may outlive it: %s", os.getpid(), error)
        os.close(ours)
    else:
        _guarded_by.append(ours)
        os.register_at_fork(after_in_child=_let_go)
    finally:
        os.close(theirs)


def _let_go() -> None:
    """A fork has the pipe, too, and would hold it open."""
    while _guarded_by:
        os.close(_guarded_by.pop())


def kill_tree(pid: int) -> None:
    """Kill a process and what it has started."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        below = process.children(recursive=True)
        process.kill()
        kill_all(below)


def kill_all(processes: list[psutil.Process]) -> None:
    """Kill processes that may have ended."""
    for each in processes:
        with suppress(psutil.Error):
            each.kill()


def kill_children() -> None:
    """Kill what this process has started."""
    with suppress(psutil.Error):
        kill_all(psutil.Process().children(recursive=True))
