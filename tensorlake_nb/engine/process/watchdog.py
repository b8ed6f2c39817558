"""Ends calls that take too long: softly by an exception, then by ending the process.

One daemon thread per process looks at the deadlines of all calls under way. When that thread can't run either, because
a call holds the interpreter lock in C, the kernel's alarm clock ends the process (SIGALRM, Unix only).
"""

from __future__ import annotations

import ctypes
import logging
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from tensorlake_nb.core.keys import RunId

logger = logging.getLogger(__name__)

#: The exit code of a process that a hanging call was ended with (that of ``timeout(1)``).
EXIT_OVERRUN: Final = 124
#: Seconds between the exception and the end of the process, and from there to the alarm.
GRACE_S = 1.0
_ALARM_MARGIN_S = 2.0
#: Seconds until a cancelled call that hangs is looked at again.
_AGAIN_S = 10.0
#: How much later the alarm may ring, so that it needn't be set for every call: each time is a system call.
_ALARM_SLACK_S = 0.5


class Interrupt(BaseException):
    """Raised into a call from outside; not an `Exception`, so that ``except Exception`` lets it through."""


class Overrun(Interrupt):
    """The call's time is up."""


class Cancelled(Interrupt):
    """The call's run was cancelled."""


class Watch:
    """The clock of a call, or of calls one after the other; a context manager around each of them.

    Parameters
    ----------
    interrupt
        Interrupts the call from another thread. ``None``: raise the exception in the thread that enters.
    on_hang
        Called on the watchdog's thread when the call continues, a while after it was interrupted; and now and then
        again if it was cancelled.
    alarm
        True to arm the process's alarm clock: only one call at a time may.
    repeated
        Many calls follow each other closely: the watchdog keeps looking in between, until `end`, and the alarm
        stays set, until `rest_alarm`.
    """

    def __init__(
        self,
        run_id: RunId,
        timeout_s: float,
        *,
        interrupt: Callable[[Interrupt], None] | None = None,
        on_hang: Callable[[], None] = lambda: None,
        alarm: bool = False,
        repeated: bool = False,
    ) -> None:
        self.run_id, self.timeout_s = run_id, timeout_s
        self._interrupt_call, self._on_hang, self._alarm = interrupt, on_hang, alarm
        self._repeated, self._is_known = repeated, False
        self._lock = threading.Lock()
        self._thread_id = 0
        self._is_open = False
        self._hung = False
        self._interrupted_at = 0.0
        self.deadline = 0.0
        #: Why the call was interrupted, if it was.
        self.reason: Interrupt | None = None

    def __enter__(self) -> Watch:
        self._thread_id = threading.get_ident()
        self.reason, self._hung = None, False
        self._is_open = True
        self.restart()
        if not self._is_known:
            self._is_known = True
            _WATCHDOG.add(self)
        return self

    def restart(self) -> None:
        """Give the call its whole time again."""
        self.deadline = time.monotonic() + self.timeout_s
        if self._alarm:
            _ALARM.set(self.deadline + GRACE_S + _ALARM_MARGIN_S)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the clock. An exception that was raised but hasn't arrived yet is taken back; `reason` stays."""
        with self._lock:
            self._is_open = False
            if self.reason is not None and self._interrupt_call is None:
                _take_back(self._thread_id)
        if not self._repeated:
            self.end()

    def end(self) -> None:
        """No further call follows."""
        if self._alarm:
            _ALARM.rest()
        if self._is_known:
            self._is_known = False
            _WATCHDOG.remove(self)

    def interrupt(self, reason: Interrupt) -> None:
        """Interrupt the call, once, unless it has ended."""
        with self._lock:
            if not self._is_open or self.reason is not None:
                return
            self.reason, self._interrupted_at = reason, time.monotonic()
            if self._interrupt_call is None:
                raise_in_thread(self._thread_id, type(reason))
            else:
                self._interrupt_call(reason)

    @property
    def is_hung(self) -> bool:
        """True if the call continues some time after its interruption."""
        return self._is_open and self._hung

    def look(self, now: float) -> float:
        """Do what is due; gives the time of the next look."""
        if not self._is_open:  # the next call has its whole time
            return now + self.timeout_s
        if self.reason is None:
            if now < self.deadline:
                return self.deadline
            self.interrupt(Overrun())
            self._interrupted_at = now
        # whoever looks late, since the process was paused, gives it all the same
        if now < self._interrupted_at + GRACE_S:
            return self._interrupted_at + GRACE_S
        with self._lock:
            is_cancelled = isinstance(self.reason, Cancelled)
            is_due = self._is_open and (is_cancelled or not self._hung)
            self._hung = self._hung or is_due
        if is_due:
            self._on_hang()
        return now + (_AGAIN_S if is_cancelled else 3600.0)


class _Alarm:
    """The process's alarm clock, which ends it without anybody's help."""

    def __init__(self) -> None:
        self._rings_at = 0.0

    def set(self, at: float) -> None:
        """Ring at a time (of the monotonic clock, s), or a little later; not before."""
        if not at <= self._rings_at <= at + _ALARM_SLACK_S:
            self._rings_at = at + _ALARM_SLACK_S
            signal.setitimer(signal.ITIMER_REAL, max(self._rings_at - time.monotonic(), 1e-3))

    def rest(self) -> None:
        """Don't ring."""
        if self._rings_at:
            self._rings_at = 0.0
            signal.setitimer(signal.ITIMER_REAL, 0)


class _Watchdog:
    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._changed = threading.Condition()
        self._next_look = float("inf")
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        # A call is far more often begun than it overruns, so the thread is woken only for an earlier deadline.
        with self._changed:
            self._watches.add(watch)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tensorlake-nb watchdog", daemon=True)
                self._thread.start()
            if watch.deadline < self._next_look:
                self._changed.notify()

    def remove(self, watch: Watch) -> None:
        with self._changed:
            self._watches.discard(watch)

    def interrupt(self, run_id: RunId, reason: Interrupt) -> None:
        with self._changed:
            found = [watch for watch in self._watches if watch.run_id == run_id]
        for watch in found:
            watch.interrupt(reason)
        with self._changed:
            self._changed.notify()  # to see whether they end

    def _run(self) -> None:
        while True:
            with self._changed:
                watches = list(self._watches)
            now = time.monotonic()
            looks = [self._looked(watch, now) for watch in watches]
            with self._changed:
                self._next_look = min([now + 60.0, *looks, *(watch.deadline for watch in self._watches - set(watches))])
                self._changed.wait(max(0.0, self._next_look - time.monotonic()))
                self._next_look = 0.0

    def _looked(self, watch: Watch, now: float) -> float:
        try:
            return watch.look(now)
        except Exception:
            logger.exception("the watchdog failed on one call and continues with the others")
            return now + GRACE_S


_WATCHDOG = _Watchdog()
_ALARM = _Alarm()


def rest_alarm() -> None:
    """Between calls, before anything that may take long: the alarm that the last call has set mustn't ring then."""
    _ALARM.rest()


class _TakenBack(BaseException):
    """Takes the place of an interrupt that came too late."""


def _take_back(thread_id: int) -> None:
    """Drop what was to be raised in this thread and hasn't been yet.

    To raise nothing instead would leave the interpreter's flag up: CPython 3.11 then loops for ever in the next call
    that is traced, by a debugger or for coverage. So something harmless is raised, and waited for.
    """
    if threading.get_ident() != thread_id:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), None)
        return
    try:
        raise_in_thread(thread_id, _TakenBack)
        while True:
            pass
    except _TakenBack:
        pass


def raise_in_thread(thread_id: int, kind: type[BaseException]) -> None:
    """Raise an exception in another thread, as soon as that runs Python again."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(kind))


def interrupt_run(run_id: RunId, reason: Interrupt) -> None:
    """Interrupt the calls of a run that are under way in this process."""
    _WATCHDOG.interrupt(run_id, reason)
