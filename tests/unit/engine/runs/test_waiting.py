"""Waiting for a run's end: an interrupt comes out as an interrupt, wherever it hits."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from types import FrameType
from typing import Any

import pytest

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.runs.waiting import Waiting


def test_a_slice_of_a_wait_takes_no_lock_again_that_an_interrupt_could_leave_free() -> None:
    done: Future[None] = Future()
    waiting = Waiting(RunId("run-1"), "g")
    before = sys.gettrace()

    def interrupt(frame: FrameType, event: str, arg: Any) -> None:
        if frame.f_code.co_name == "_acquire_restore":  # of a condition, after its wait
            raise KeyboardInterrupt

    sys.settrace(interrupt)
    try:
        with pytest.raises(TimeoutError, match="it continues"):
            waiting.until(done, lambda: done.set_result(None), timeout=0.01)
    finally:
        sys.settrace(before)
