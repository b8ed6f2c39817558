"""Waiting for the end of a run, and what an interrupt (Stop) of the wait does to it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.process.slices_of_time import SLICE_S, slice_before
from tensorlake_nb.engine.runs.recorded_run import FOLLOW_S
from tensorlake_nb.errors import tell_in_cell

#: How long an interrupted wait gives a run to end cleanly (s) before it gives up on it.
_DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for one run, whose id and graph its messages name."""

    run_id: RunId
    graph: str

    def until(self, done: Future[None], cancel: Callable[[], None], timeout: float | None) -> None:
        """Wait for a run that this process drives; an interrupt cancels it, and is raised again.

        Raises
        ------
        TimeoutError
            It didn't end in time; it continues.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        ended = _held_until(done)
        try:
            while not ended.acquire(timeout=slice_before(until)):
                if time.monotonic() >= until:
                    raise self._too_long(timeout)
            done.result()
        except KeyboardInterrupt as stop:
            while True:
                try:
                    cancel()
                    self._tell_cancelled(stop)
                    break
                except KeyboardInterrupt:  # pressed again: the run is cancelled all the same
                    continue
            with suppress(FutureTimeout, KeyboardInterrupt):  # pressed again, or a cluster that doesn't answer
                if not done.done():
                    ended.acquire(timeout=_DRAIN_S)
                done.result(0)
            raise

    async def until_async(self, done: Future[None], cancel: Callable[[], None]) -> None:
        """Wait for the end; if that is cancelled, as by Stop, so is the run, as an awaited task would be."""
        try:
            # In slices: an interrupt does not wake a loop that waits for a thread (ipykernel 6 and 7).
            while not done.done():
                await asyncio.wait({asyncio.wrap_future(done)}, timeout=SLICE_S)
        except (asyncio.CancelledError, KeyboardInterrupt) as stop:
            cancel()
            self._tell_cancelled(stop)
            await asyncio.wait({asyncio.wrap_future(done)}, timeout=_DRAIN_S)
            raise

    def follow(self, is_running: Callable[[], bool], timeout: float | None) -> None:
        """Wait for a run that another process drives; an interrupt ends the wait alone.

        Raises
        ------
        TimeoutError
            It didn't end in time; it continues.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while is_running():
                if end is not None and time.monotonic() > end:
                    raise self._too_long(timeout)
                time.sleep(FOLLOW_S)
        except KeyboardInterrupt as stop:
            self._tell(stop, "continues, since another process drives it", "cancel", "cancels it")
            raise

    def _too_long(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"run {self.run_id} of {self.graph!r} didn't end within {timeout} s; it continues")

    def _tell_cancelled(self, stop: BaseException) -> None:
        self._tell(stop, "is cancelled, and finished work is kept", "resume", "continues it")

    def _tell(self, stop: BaseException, what: str, call: str, then: str) -> None:
        """Say in a cell that was stopped while it waited what its run is: its ``run = ...`` hasn't taken place."""
        run = f'Run.open("{self.run_id.rpartition("-")[2]}")'
        tell_in_cell(stop, f"run {self.run_id} of {self.graph!r} {what}; {run}.{call}() {then}")


def _held_until(done: Future[None]) -> Lock:
    """Return a lock that is released when a future is done.

    It is waited for in one call. The condition of a future is not: two interrupts in a row may leave it half done, and
    come out as "release unlocked lock".
    """
    ended = Lock()
    ended.acquire()
    done.add_done_callback(lambda _: ended.release())
    return ended
