"""One call of a user's function: watched, captured, its secrets shown, its failure described."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.batches.batch import Batch, Call, Failure, FailureKind
from tensorlake_nb.engine.calls.context import RequestContext
from tensorlake_nb.engine.calls.failure_text import failure_of
from tensorlake_nb.engine.calls.loaded import Loaded
from tensorlake_nb.engine.calls.reporting import CallProgress, Overran, Report
from tensorlake_nb.engine.process import secrets
from tensorlake_nb.engine.process.capture import BatchLog, Captured
from tensorlake_nb.engine.process.children import end_process
from tensorlake_nb.engine.process.secrets import signing_keys_of
from tensorlake_nb.engine.process.watchdog import EXIT_OVERRUN, Cancelled, Interrupt, Watch, rest_alarm
from tensorlake_nb.errors import TaskTimeoutError
from tensorlake_nb.store.checkpoints.store import Store

#: Seconds that a hanging process still has to save what is finished, and to tell.
_LAST_WORDS_S = 5.0
_SENDING_S = 0.2
#: Types that take next to no time to encode and to write. (An error's value is none of them.)
_QUICK_TO_KEEP = frozenset({bool, int, float})
_LACKING = (
    "Programs or C libraries wrote output while several calls ran on one worker. It isn't in the logs, since it can't "
    "be told apart: max_concurrency=1 makes one call at a time."
)
_NOTHING_SHOWN: tuple[str, ...] = ()


#: Makes a call (or, for a coroutine function, its coroutine), given what to call and the leading arguments.
Make = Callable[[Callable[..., Any], tuple[Any, ...]], Any]


@dataclass(frozen=True, slots=True)
class Returned:
    """A call that came to its end."""

    value: Any
    effects: bytes | None
    duration_s: float


class Host:
    """The process that calls are made in.

    Attributes
    ----------
    exits
        It is a worker's own process with a nanny behind it: a hanging call may be ended with it.
    alarm
        Only one call at a time runs in it, so that its alarm clock can watch that call.
    is_alone
        Asked whether the batch that is being computed is all that there is in it.
    is_leaving
        Asked whether its scheduler has taken it away: what it is at begins elsewhere as soon as it lets go.
    """

    def __init__(
        self,
        exits: bool = False,
        alarm: bool = False,
        address: str = "",
        is_alone: Callable[[], bool] = lambda: True,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self.exits, self.alarm, self.address = exits, alarm, address
        self.is_alone, self.is_leaving = is_alone, is_leaving


class Caller:
    """Makes the calls of one node for one batch.

    Parameters
    ----------
    save
        Commits what is finished; called on another thread before a hanging process ends.
    """

    def __init__(
        self,
        batch: Batch,
        call: Call,
        loaded: Loaded,
        store: Store,
        report: Report,
        host: Host,
        save: Callable[[], None],
    ) -> None:
        self._batch, self._call, self._loaded, self._store = batch, call, loaded, store
        self._report, self._host, self._save = report, host, save
        #: Values that no log and no error may show.
        self._hidden = signing_keys_of(batch.run_id).texts()
        self.log = BatchLog()
        #: Notes about the log, for people.
        self.notes: tuple[str, ...] = ()
        self.seconds = 0.0
        self._offset = 0
        self._watch = Watch(
            batch.run_id,
            call.timeout_s,
            on_hang=lambda: self._hang(self._offset, self._watch),
            alarm=host.alarm,
            repeated=True,
        )

    def close(self) -> None:
        """No further call follows."""
        self._watch.end()

    def call(self, offset: int, given: Any, make: Make) -> Returned | Failure | None:
        """Make one call.

        Parameters
        ----------
        offset, given
            Which element, and what a failure shows of it.

        Returns
        -------
        outcome
            ``None`` when the run was cancelled meanwhile.
        """
        self._offset, watch = offset, self._watch
        context = self._context(offset, watch)
        lead = () if context is None else (context,)
        began = time.perf_counter()
        error: BaseException | None = None
        value: Any = None
        captured, shown = Captured(of=self._call.node), _NOTHING_SHOWN
        try:
            with captured, secrets.shown(self._batch.run_id, self._call.secrets) as shown:
                try:
                    with watch:
                        value = make(self._loaded.target(), lead)
                except BaseException as raised:
                    watch.close()
                    error = raised
                if type(value) not in _QUICK_TO_KEEP:
                    rest_alarm()
                return self._ended(offset, given, watch, context, value, error, time.perf_counter() - began, shown)
        finally:
            self.log.extend(captured.lines(offset, (*shown, *self._hidden)))

    async def call_async(self, offset: int, given: Any, make: Make) -> Returned | Failure | None:
        """Make one call of a coroutine function; has to run in a task of its own."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt(_: Interrupt) -> None:
            loop.call_soon_threadsafe(task.cancel)

        watch = Watch(
            self._batch.run_id,
            self._call.timeout_s,
            interrupt=interrupt,
            on_hang=lambda: self._hang(None, watch),
            alarm=self._host.alarm,
        )
        context = self._context(offset, watch)
        lead = () if context is None else (context,)
        began = time.perf_counter()
        error: BaseException | None = None
        value: Any = None
        captured, shown = Captured(of=self._call.node), _NOTHING_SHOWN
        try:
            with captured, secrets.shown(self._batch.run_id, self._call.secrets) as shown:
                try:
                    with watch:
                        value = await make(self._loaded.target(), lead)
                except BaseException as raised:
                    watch.close()
                    if isinstance(raised, asyncio.CancelledError) and watch.reason is None and task.cancelling():
                        raise  # the batch itself is being given up
                    if watch.reason is not None:
                        task.uncancel()
                    error = raised
                return self._ended(offset, given, watch, context, value, error, time.perf_counter() - began, shown)
        finally:
            self.log.extend(captured.lines(offset, (*shown, *self._hidden)))
            if captured.is_lacking:
                self.notes = (_LACKING,)

    def failure(self, offset: int, given: Any, error: BaseException) -> Failure:
        """Describe what went wrong after a call, with the outputs."""
        with secrets.shown(self._batch.run_id, self._call.secrets) as shown:
            return failure_of(offset, error, given, secrets=(*shown, *self._hidden), resolver=self._loaded.resolver)

    def _context(self, offset: int, watch: Watch) -> RequestContext | None:
        if not self._call.inject_ctx:
            return None
        return RequestContext(
            self._batch.run_id,
            self._batch.graph,
            self._batch.graph_version,
            self._store,
            self._loaded.resolver,
            on_progress=lambda current, total: self._report(
                CallProgress(self._batch.name, self._call.node, offset, current, total)
            ),
            restart_clock=watch.restart,
        )

    def _ended(
        self,
        offset: int,
        given: Any,
        watch: Watch,
        context: RequestContext | None,
        value: Any,
        error: BaseException | None,
        duration_s: float,
        shown: tuple[str, ...],
    ) -> Returned | Failure | None:
        self.seconds += duration_s
        if isinstance(watch.reason, Cancelled) and error is not None:
            return None
        if watch.reason is not None and not isinstance(watch.reason, Cancelled):
            late = TaskTimeoutError(f"{self._call.node!r} took longer than its timeout of {self._call.timeout_s:g} s")
            late.__traceback__ = error.__traceback__ if error is not None else None
            return failure_of(
                offset,
                late,
                given,
                kind=FailureKind.TIMEOUT,
                secrets=(*shown, *self._hidden),
                resolver=self._loaded.resolver,
            )
        if error is not None:
            return failure_of(offset, error, given, secrets=(*shown, *self._hidden), resolver=self._loaded.resolver)
        return Returned(value, context.effects.packed() if context is not None else None, duration_s)

    def _hang(self, offset: int | None, watch: Watch) -> None:
        """End this process on the watchdog's thread, if it is ours: the call ignored its interruption.

        Among calls that share an event loop, the one that blocks it can't be told.
        """
        saving = threading.Thread(target=self._save, name="tensorlake-nb last words", daemon=True)
        saving.start()
        saving.join(_LAST_WORDS_S)
        if not watch.is_hung:  # it has ended meanwhile, and another call may have begun, which isn't to blame
            return
        if isinstance(watch.reason, Cancelled):  # it isn't ours if there is anything else in it
            exits = self._host.exits and self._host.is_alone()
        else:
            exits = self._host.exits
            self._report(Overran(self._batch.name, self._call.node, offset, self._call.timeout_s, exits))
        if exits:
            time.sleep(_SENDING_S)
            if watch.is_hung:
                end_process(EXIT_OVERRUN)
