"""Calls that take too long: interrupted, and if that doesn't help, reported and ended with their process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tensorlake_nb import RequestContext, tensorlake_function
from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.calls.reporting import Overran
from tensorlake_nb.engine.process import watchdog
from tensorlake_nb.engine.process.watchdog import Cancelled, Overrun, Watch, interrupt_run
from tests.support.batches import RUN, Bench, Calls


def test_a_call_that_overruns_is_interrupted_and_fails_as_a_timeout(bench: Bench) -> None:
    @tensorlake_function(timeout=0.1)
    def spins(x: int) -> int:
        while x == 2:
            pass
        return x

    receipt = bench.run_one(bench.batch(bench.call(spins), [1, 2, 3], stop_on_failure=False))

    assert bench.values(receipt) == [1, 3]
    (failure,) = receipt.failures
    assert (failure.offset, failure.kind) == (1, FailureKind.TIMEOUT)
    assert failure.error == "TaskTimeoutError: 'spins' took longer than its timeout of 0.1 s"
    assert "while x == 2" in failure.traceback_text


def test_catching_every_exception_does_not_save_a_call_from_its_timeout(bench: Bench) -> None:
    @tensorlake_function(timeout=0.1)
    def stubborn(x: int) -> int:
        try:
            while True:
                pass
        except BaseException:
            return x

    (failure,) = bench.run_one(bench.batch(bench.call(stubborn), [1])).failures

    assert failure.kind is FailureKind.TIMEOUT


def test_progress_gives_a_call_its_whole_time_again(bench: Bench) -> None:
    @tensorlake_function(timeout=0.4, inject_ctx=True)
    def works(ctx: RequestContext, x: int) -> int:
        import time

        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            ctx.update_progress(time.monotonic() - began, 1.0)
            time.sleep(0.02)
        return x

    receipt = bench.run_one(bench.batch(bench.call(works), [1]))

    assert receipt.failures == ()


def test_a_call_that_does_not_end_is_reported_and_what_is_finished_is_saved(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    monkeypatch.setattr(watchdog, "GRACE_S", 0.1)
    monkeypatch.setattr("tensorlake_nb.engine.calls.caller._SENDING_S", 0.0)
    ended = threading.Event()
    monkeypatch.setattr("tensorlake_nb.engine.calls.caller.end_process", lambda code: ended.set())

    @tensorlake_function(timeout=0.1)
    def hangs(x: int) -> int:
        import time

        if x == 2:
            time.sleep(1.0)  # in C: no exception arrives before it ends
        return x

    batch = bench.batch(bench.call(hangs), [1, 2])
    saved: list[int] = []

    class Listening(list[Any]):
        def append(self, message: Any) -> None:
            super().append(message)
            if isinstance(message, Overran):
                saved.append(len(bench.store.index(batch.calls[0].fingerprint, refresh=True)))

    bench.messages = Listening()
    receipt = bench.run_one(batch, Host(exits=True, address="here"))

    assert ended.is_set()
    assert Overran(batch.name, "hangs", 1, 0.1, exits=True) in bench.messages
    assert saved == [1]
    assert receipt.failures[0].kind is FailureKind.TIMEOUT


def test_in_the_kernels_own_process_a_hanging_call_is_only_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "GRACE_S", 0.05)
    ending = "tensorlake_nb.engine.calls.caller.end_process"
    monkeypatch.setattr(ending, lambda code: pytest.fail("the kernel was ended"))

    @tensorlake_function(timeout=0.05)
    def hangs(x: int) -> int:
        import time

        time.sleep(0.5)
        return x

    batch = bench.batch(bench.call(hangs), [1])
    receipt = bench.run_one(batch)

    assert Overran(batch.name, "hangs", 0, 0.05, exits=False) in bench.messages
    assert receipt.failures[0].kind is FailureKind.TIMEOUT


def test_an_interrupt_never_arrives_after_the_watch_is_closed() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that the threads meet at every possible place
    current: list[Watch] = []
    done = threading.Event()

    def shoot() -> None:
        while not done.is_set():
            for watch in current[-1:]:
                watch.interrupt(Overrun())

    thread = threading.Thread(target=shoot)
    thread.start()
    strays = 0
    try:
        for _ in range(2000):
            watch = Watch(RUN, 60.0)
            try:
                with watch:
                    current.append(watch)
                    time.sleep(0)
            except Overrun:
                watch.close()
            current.clear()
            try:
                for _ in range(20):
                    pass
            except Overrun:
                strays += 1
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)

    assert strays == 0


def test_a_call_that_was_paused_past_its_deadline_still_has_its_grace() -> None:
    hung: list[str] = []
    watch = Watch(RUN, 0.0, interrupt=lambda reason: None, on_hang=lambda: hung.append("hung"), repeated=True)
    watch._is_open = True  # as if entered, without the watchdog's own looks

    next_look = watch.look(100.0)
    was_hung = [watch.is_hung]
    watch.look(next_look)
    was_hung.append(watch.is_hung)
    watch.close()
    was_hung.append(watch.is_hung)

    assert next_look == 100.0 + watchdog.GRACE_S
    assert was_hung == [False, True, False]
    assert hung == ["hung"]


def test_only_the_calls_of_one_run_are_interrupted() -> None:
    reasons: list[Any] = []
    mine = Watch(RUN, 60.0, interrupt=lambda reason: reasons.append(type(reason)))
    other = Watch("other", 60.0, interrupt=lambda reason: reasons.append("wrong"))  # type: ignore[arg-type]
    with mine, other:
        interrupt_run(RUN, Cancelled())
        interrupt_run(RUN, Cancelled())

    assert reasons == [Cancelled]


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="no alarm clock on this system")
def test_the_alarm_ends_a_process_whose_interpreter_is_locked_up() -> None:
    script = """
import ctypes
from tensorlake_nb.engine.process import watchdog
watchdog.GRACE_S, watchdog._ALARM_MARGIN_S = 0.1, 0.2
with watchdog.Watch("run", 0.1, alarm=True):
    ctypes.PyDLL(None).sleep(60)  # holds the interpreter lock
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=30, check=False)

    assert done.returncode == -14, "SIGALRM"


def test_an_interrupt_that_comes_too_late_leaves_nothing_behind_for_a_debugger_to_trip_over() -> None:
    """In CPython 3.11 a traced call never returned while the flag for an exception from outside was up."""
    script = """
import sys
from tensorlake_nb.engine.process.watchdog import Cancelled, Watch
watch = Watch("run", 60.0)
try:
    with watch:
        watch.interrupt(Cancelled())
        while True:
            pass
except Cancelled:
    watch.close()
sys.settrace(lambda *event: None)
print((lambda: "traced")())
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=30, check=False, capture_output=True, text=True)

    assert done.stdout == "traced\n", done.stderr
