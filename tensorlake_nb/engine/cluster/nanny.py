"""Worker processes of the embedded cluster: how they start, and what they died of.

This file deals with parts of distributed that have no public interface: `Any` stops here.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing.spawn
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any, NamedTuple

import psutil
from distributed import Client, LocalCluster, Nanny, Scheduler, Worker
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.diagnostics.plugin import SchedulerPlugin
from tornado.ioloop import PeriodicCallback

from tensorlake_nb.engine.process.last_words import VARIABLE, OutputFiles
from tensorlake_nb.engine.process.watchdog import EXIT_OVERRUN

logger = logging.getLogger(__name__)

_MOST_DEATHS = 1000
#: Starts in a row that may fail before a nanny gives up.
_MOST_FAILED_STARTS = 20
#: The cause of death of a worker that was ended because a call overran its timeout.
TIMED_OUT = "timeout"
#: The cause of death of a worker that was ended because it was paused.
STOOD_STILL = "SIGSTOP"
#: How often workers are looked at (s), and how often in a row one may be found paused: somebody may be looking into it.
_LOOK_EVERY_S = 1.0
MOST_PAUSED_LOOKS = 30
_SIGALRM = int(getattr(signal, "SIGALRM", 14))
_WORKER_PROCESS = "Dask Worker process (from Nanny)"


class _Death(NamedTuple):
    """What a worker died of, and what programs and C libraries had written in the call that it was at."""

    cause: str
    last_words: tuple[str, ...] = ()


#: What worker processes of this kernel died of, by the address that they had.
_deaths: OrderedDict[str, _Death] = OrderedDict()
_noted = threading.Condition()
#: The last worker of each nanny.
_born: dict[str, str] = {}


def death_at(address: str, timeout_s: float) -> str | None:
    """What the worker of an address died of, ``None`` if nothing is known within the timeout."""
    with _noted:
        _noted.wait_for(lambda: address in _deaths, timeout_s)
        death = _deaths.get(address)
        return None if death is None else death.cause


def last_words_at(address: str) -> tuple[str, ...]:
    """What programs and C libraries had written in the call that the worker of an address died in, or the end of it."""
    with _noted:
        return _deaths.get(address, _Death("")).last_words


def cause_of(exit_code: int) -> str:
    """An exit code of `multiprocessing` in words: ``"exit code 3"``, ``"SIGKILL"``."""
    if exit_code in (EXIT_OVERRUN, -_SIGALRM):  # the watchdog's own end, and the one that its alarm clock makes
        return TIMED_OUT
    if exit_code < 0:
        try:
            return signal.Signals(-exit_code).name
        except ValueError:
            return f"signal {-exit_code}"
    return f"exit code {exit_code}"


@contextmanager
def silencing_only_its_own() -> Iterator[None]:
    """Leave handlers of others as they are while Dask silences all those of its loggers for as long as a cluster lives.

    A test runner's hears those loggers, too, and would hear nothing of anybody from then on.
    """
    heard = [handler for name in ("distributed", "bokeh") for handler in logging.getLogger(name).handlers]
    levels = {handler: handler.level for handler in heard if type(handler) is not logging.StreamHandler}
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


class QuietNanny(Nanny):
    """A nanny whose worker is deaf to SIGINT from its first moment, and whose death is noted with its cause."""

    #: The cluster is being closed: who dies now stays dead.
    is_ending = False
    _failed_starts = 0
    _starting: asyncio.Lock | None = None
    _worker_pid: int | None = None
    _output: OutputFiles | None = None
    #: The process that was paused when it was last looked at, and for how many looks by now.
    _paused: tuple[int | None, int] = (None, 0)

    async def start_unsafe(self) -> Any:
        self.periodic_callbacks["paused"] = PeriodicCallback(self._look, _LOOK_EVERY_S * 1000)
        return await super().start_unsafe()  # type: ignore[no-untyped-call]

    def _look(self) -> None:
        """End a worker that stays paused (SIGSTOP): nobody else would for minutes, and its own watchdog is paused, too.

        Looks are counted, not seconds: a kernel that was asleep itself, with the whole machine or by Ctrl-Z, ends
        nobody. A process that a debugger holds isn't paused in this sense.
        """
        pid = self.pid
        with suppress(psutil.Error):
            is_paused = pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED
            self._paused = (pid, self._paused[1] + 1 if self._paused[0] == pid else 1) if is_paused else (None, 0)
            if self._paused[1] >= MOST_PAUSED_LOOKS:
                seconds = MOST_PAUSED_LOOKS * _LOOK_EVERY_S
                logger.warning("worker process %s has been paused for %.0f s: it is ended and replaced", pid, seconds)
                end_left([self])

    async def instantiate(self) -> Status:
        if self.is_ending:
            return Status.failed
        _block_sigint()
        with _no_main():
            if self.process is None or self._failed_starts >= _MOST_FAILED_STARTS:
                self._have_files()
                status = await super().instantiate()
            else:
                status = await self._start_again()
        self._worker_pid = self.pid
        if self._output is not None and status == Status.running:
            self._output.forget_names()
        return status

    def _have_files(self) -> None:
        """Have the next worker process write the output of calls to files of its own."""
        if self._output is None and hasattr(os, "register_at_fork"):
            try:
                self._output = OutputFiles()
            except OSError as error:
                logger.critical("what programs and C libraries write in calls is not in their logs: %s", error)
        self.env[VARIABLE] = "" if self._output is None else self._output.paths

    async def _start_again(self) -> Status:
        """Replace a worker that died.

        The new one may be given a task that ends it before its nanny hears that it is up. A plain nanny takes that
        for a failed start, and gives up; here the death is seen like any other, and leads to the next start.
        """
        assert self.process is not None
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:  # a death during a start leads to another start: one after the other
            if self.is_ending:
                return Status.failed
            self._have_files()
            try:
                status = await self.process.start()
            except Exception:
                status = Status.failed
            self._failed_starts = 0 if status == Status.running else self._failed_starts + 1
            return status

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        # A worker can be known to the scheduler, and die, while its nanny still has the address of the one before.
        address = _born.get(self.address) or self.worker_address
        output, self._output = self._output, None
        words = output.pass_on() if output is not None else ()
        if address is not None and address not in _deaths:
            _note(address, self._cause(exitcode), words)
        super()._on_worker_exit_sync(exitcode)  # type: ignore[no-untyped-call]

    def _cause(self, exit_code: int) -> str:
        cause = cause_of(exit_code)
        if self._paused[0] == self._worker_pid and self._paused[1] >= MOST_PAUSED_LOOKS:
            return STOOD_STILL
        if self.memory_manager._last_terminated_pid == self._worker_pid:
            limit = (self.memory_manager.memory_limit or 0) / 2**20
            return f"{cause}: it used more than its {limit:.0f} MiB of memory"
        return cause


def end_busy(cluster: Any) -> list[QuietNanny]:
    """Let no worker of a cluster be replaced from now on, and end those that compute or still start: closing would
    wait for them.
    """
    nannies = [nanny for nanny in cluster.workers.values() if isinstance(nanny, QuietNanny)]
    busy = {address for address, worker in list(cluster.scheduler.workers.items()) if worker.processing}
    for nanny in nannies:
        nanny.is_ending = True
        is_starting = nanny.process is not None and nanny.process.status == Status.starting
        if is_starting or nanny.worker_address in busy:
            end_left([nanny])
    return nannies


def end_left(nannies: Iterable[QuietNanny]) -> None:
    """End the processes that are left."""
    for nanny in nannies:
        pid = nanny.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


class EmbeddedCluster(LocalCluster):
    """A `LocalCluster` that never gives one of its workers up."""

    def _update_worker_status(self, op: str, msg: Any) -> None:
        # A SpecCluster looks 15 s after a worker's death whether there is another; if that one happens to have just
        # died too, it closes the nanny for good.
        Cluster._update_worker_status(self, op, msg)


class Births(SchedulerPlugin):
    """Notes which worker belongs to which nanny, and that whoever died at its address before is another one."""

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        with _noted:
            _deaths.pop(worker, None)
        nanny = scheduler.workers[worker].nanny
        if nanny is not None:
            _born[nanny] = worker


class MuteClient(Client):
    """A client that says nothing when it is forgotten: what it couldn't close has gone with its scheduler."""

    def __del__(self) -> None:
        with suppress(Exception):
            super().__del__()  # type: ignore[no-untyped-call]


class MuteScheduler(Scheduler):
    """A scheduler in this process that listens on no port, not even for a dashboard."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


class MuteWorker(Worker):
    """A worker in this process that listens on no port."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


def _note(address: str, cause: str, words: tuple[str, ...] = ()) -> None:
    with _noted:
        _deaths[address] = _Death(cause, words)
        while len(_deaths) > _MOST_DEATHS:
            _deaths.popitem(last=False)
        _noted.notify_all()


def _block_sigint() -> None:
    """Block SIGINT in this thread: threads and processes that it starts inherit that, and the kernel's main thread is
    none of them. `worker_setup` lets go of it in the worker, once SIGINT is ignored there.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is threading.main_thread():
        return
    resource_tracker.ensure_running()  # starting it later would unblock SIGINT again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


# -- a script is not run again in each worker --------------------------------------------------------------------------

_patching = threading.Lock()
_patches = 0
_original = multiprocessing.spawn.get_preparation_data


@contextmanager
def _no_main() -> Iterator[None]:
    """Let worker processes start without importing the main script.

    Functions come to them by value, so they don't need it; and a script without ``if __name__ == "__main__":`` would
    start a cluster in each worker. Other processes that start meanwhile are left as they are.
    """
    global _patches
    with _patching:
        _patches += 1
        if _patches == 1:
            multiprocessing.spawn.get_preparation_data = _without_main
    try:
        yield
    finally:
        with _patching:
            _patches -= 1
            if _patches == 0 and multiprocessing.spawn.get_preparation_data is _without_main:
                multiprocessing.spawn.get_preparation_data = _original


def _without_main(name: str) -> dict[str, Any]:
    data = _original(name)
    if name == _WORKER_PROCESS:
        data.pop("init_main_from_path", None)
        data.pop("init_main_from_name", None)
    return data
