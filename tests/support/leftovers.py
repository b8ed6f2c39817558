"""Find leftovers: processes, threads, files and sockets, before and after."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

PATIENCE_S = 20.0
_VARIABLE = "TENSORLAKE_NB_TEST_MARK"


@dataclass(frozen=True)
class Mark:
    """Marks processes by their environment, so that they are found when their parents are long gone."""

    value: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def environment(self) -> dict[str, str]:
        return {_VARIABLE: self.value}

    def processes(self) -> list[psutil.Process]:
        """All that live and bear the mark."""
        return [process for process in psutil.process_iter() if self._is_on(process)]

    def left(self, within_s: float = PATIENCE_S) -> list[str]:
        """Command lines of those that are there after a time; empty as soon as none is."""
        until = time.monotonic() + within_s
        while (found := self.processes()) and time.monotonic() < until:
            time.sleep(0.02)
        return [told for process in found if (told := _told(process))]

    def end(self) -> None:
        """End them all."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()

    def _is_on(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(_VARIABLE) == self.value)
        except psutil.Error:  # somebody else's, or gone meanwhile
            return False


@contextmanager
def marked() -> Iterator[Mark]:
    """A mark whose processes don't outlive the test."""
    mark = Mark()
    try:
        yield mark
    finally:
        mark.end()


@contextmanager
def nothing_left() -> Iterator[None]:
    """What this process has at the end, it had at the start: children of any depth, threads, files, sockets.

    Raises
    ------
    AssertionError
        Something is left for longer than anything takes to end.
    """
    before = _holdings()
    yield
    until = time.monotonic() + PATIENCE_S
    while (left := _holdings() - before) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left, f"left behind: {', '.join(left.elements())}"


def _holdings() -> Counter[str]:
    own = psutil.Process()
    held = Counter(f"thread {thread.name}" for thread in threading.enumerate())
    held.update(f"process {told}" for child in own.children(recursive=True) if (told := _told(child)))
    held.update(f"file {file.path}" for file in own.open_files())
    # An address differs each time; how many there are of each kind doesn't.
    held.update(f"{each.status} socket" for each in own.net_connections() if each.status != psutil.CONN_TIME_WAIT)
    held["file handle"] = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    return held


def _told(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return ""
