"""Causes of death of the embedded cluster's workers: noted by their nannies, looked up by address."""

from __future__ import annotations

import signal
import threading
from collections import OrderedDict
from typing import NamedTuple

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from tensorlake_nb.engine.process.watchdog import EXIT_OVERRUN

_MOST_DEATHS = 1000
#: The cause of death of a worker that was ended because a call overran its timeout.
TIMED_OUT = "timeout"
#: The cause of death of a worker that was ended because it was paused.
STOOD_STILL = "SIGSTOP"
_SIGALRM = int(getattr(signal, "SIGALRM", 14))


class _Death(NamedTuple):
    """A worker's cause of death, and the last output of programs and C libraries in its call."""

    cause: str
    last_words: tuple[str, ...] = ()


#: Causes of death of this kernel's worker processes, by their addresses.
noted_deaths: OrderedDict[str, _Death] = OrderedDict()
_noted = threading.Condition()
#: The last worker of each nanny.
born_at: dict[str, str] = {}


def death_at(address: str, timeout_s: float) -> str | None:
    """Return the cause of death of the worker at an address, ``None`` if it isn't known within the timeout."""
    with _noted:
        _noted.wait_for(lambda: address in noted_deaths, timeout_s)
        death = noted_deaths.get(address)
        return None if death is None else death.cause


def last_words_at(address: str) -> tuple[str, ...]:
    """Return the end of what programs and C libraries wrote during the call in which a worker died."""
    with _noted:
        return noted_deaths.get(address, _Death("")).last_words


def cause_of(exit_code: int) -> str:
    """Describe an exit code of `multiprocessing`: ``"exit code 3"``, ``"SIGKILL"``."""
    if exit_code in (EXIT_OVERRUN, -_SIGALRM):  # the watchdog's own end, and the one that its alarm clock makes
        return TIMED_OUT
    if exit_code < 0:
        try:
            return signal.Signals(-exit_code).name
        except ValueError:
            return f"signal {-exit_code}"
    return f"exit code {exit_code}"


class Births(SchedulerPlugin):
    """Notes which worker belongs to which nanny, and that whoever died at its address before is another one."""

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        with _noted:
            noted_deaths.pop(worker, None)
        nanny = scheduler.workers[worker].nanny
        if nanny is not None:
            born_at[nanny] = worker


def note(address: str, cause: str, words: tuple[str, ...] = ()) -> None:
    """Keep what the worker of an address died of, and wake whoever waits to hear it."""
    with _noted:
        noted_deaths[address] = _Death(cause, words)
        while len(noted_deaths) > _MOST_DEATHS:
            noted_deaths.popitem(last=False)
        _noted.notify_all()
