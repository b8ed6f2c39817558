"""Nannies of the embedded cluster: how worker processes start, are replaced, and end when they stay paused (SIGSTOP).

This file deals with parts of distributed that have no public interface: `Any` stops here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psutil
from distributed import LocalCluster, Nanny
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from tornado.ioloop import PeriodicCallback

from tensorlake_nb.engine.cluster.deaths import STOOD_STILL, born_at, cause_of, note, noted_deaths
from tensorlake_nb.engine.cluster.quiet import block_sigint, no_main
from tensorlake_nb.engine.process.last_words import VARIABLE, OutputFiles

logger = logging.getLogger(__name__)

#: Starts in a row that may fail before a nanny gives up.
_MOST_FAILED_STARTS = 20
#: How often workers are looked at (s), and how often in a row one may be found paused: a person may be debugging it.
_LOOK_EVERY_S = 1.0
MOST_PAUSED_LOOKS = 30


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
        """End a worker that stays paused (SIGSTOP): Dask would wait for minutes, and its own watchdog is paused too.

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
        block_sigint()
        with no_main():
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
                logger.critical("the output of programs and C libraries isn't in the logs of calls: %s", error)
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
        address = born_at.get(self.address) or self.worker_address
        output, self._output = self._output, None
        words = output.pass_on() if output is not None else ()
        if address is not None and address not in noted_deaths:
            note(address, self._cause(exitcode), words)
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
