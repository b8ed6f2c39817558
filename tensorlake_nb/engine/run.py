"""`Run`: one execution of a graph, under way, ended, or found in the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from tensorlake_nb.core import events as ev
from tensorlake_nb.core.batch import FailureKind, LogLine, Span
from tensorlake_nb.core.events import Event
from tensorlake_nb.core.fingerprint import FunctionPrint
from tensorlake_nb.core.function import Function
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.core.plan import Plan
from tensorlake_nb.core.run_state import RunState, evolve
from tensorlake_nb.core.timing import Bar
from tensorlake_nb.engine import detached
from tensorlake_nb.engine import session as sessions
from tensorlake_nb.engine.arrivals import Arrivals, arrivals
from tensorlake_nb.engine.blueprint import Blueprint, from_json
from tensorlake_nb.engine.comparison import Comparison, RunSummary, differences, inputs_words, outdated
from tensorlake_nb.engine.driver import Driver
from tensorlake_nb.engine.elements import ElementPage, elements
from tensorlake_nb.engine.forecast import forecast
from tensorlake_nb.engine.launch import drive, make_desk_of, new_run_id, secret_values
from tensorlake_nb.engine.loop_thread import spawn
from tensorlake_nb.engine.naming import stored_resolver
from tensorlake_nb.engine.ownership import Owner, is_alive
from tensorlake_nb.engine.reasons import Reasons, reasons
from tensorlake_nb.engine.renewal import copied, following, renewed
from tensorlake_nb.engine.results import Outputs
from tensorlake_nb.engine.session import Session
from tensorlake_nb.engine.snapshot import FailedElement, failed_elements, snapshot
from tensorlake_nb.engine.standing import NodeStanding, critical_path, running_bars, standings
from tensorlake_nb.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    InternalError,
    RequestException,
    RunCancelledError,
    RunError,
    RunNotFoundError,
    TaskFailedError,
    UntrustedCheckpointError,
    UsageError,
)
from tensorlake_nb.store.classes import ClassResolver
from tensorlake_nb.store.codec import HOW_TO_TRUST
from tensorlake_nb.store.run_log import RunLog, run_ids

T = TypeVar("T")
#: `Run.list` hides the builtin inside the class.
Values = list[Any]

logger = logging.getLogger(__name__)

#: Entered around every blocking wait: how faces show progress while a cell waits.
waiters: list[Callable[[Run], AbstractContextManager[None]]] = []

#: Called with each run that is begun or gone on with, once it is driven: how faces show it.
started: list[Callable[[Run], None]] = []

#: How long an interrupted wait gives a run to end cleanly (s) before it gives up on it.
_DRAIN_S = 10.0
#: How often a read that met damage has what is missing computed again before it gives up.
_MOST_HEALINGS = 3
#: How often a log that another kernel writes is looked at (s).
_FOLLOW_S = 0.2


class Startable(Protocol):
    """A graph that can begin a run in which some functions are computed anew; see `Graph.start_fresh`."""

    def start_fresh(self, fresh: frozenset[str], inputs: Mapping[str, Any]) -> Run:
        """Begin it."""


class Run:
    """One run of a graph. Made by `Graph.run`, `Graph.start` and `Run.open`."""

    def __init__(self, session: Session, blueprint: Blueprint, resolver: ClassResolver) -> None:
        self._session, self._blueprint, self._resolver = session, blueprint, resolver
        self._store = session.store()
        self._log = RunLog(self._store, blueprint.run_id)
        self._state = RunState.fresh(blueprint.plan)
        self._driver: Driver | None = None
        self._done: Future[None] | None = None
        self._parts_read = 0
        self._is_broken = False
        self._is_vouched = True  # else somebody else may have written it, and the code that it names isn't loaded

    @classmethod
    def _begin(cls, session: Session, blueprint: Blueprint, resolver: ClassResolver) -> Run:
        run = cls(session, blueprint, resolver)
        run._log.create(blueprint.to_json())
        run._drive(resumed=False)
        return run

    @classmethod
    def _detach(cls, session: Session, blueprint: Blueprint, resolver: ClassResolver) -> Run:
        connection = session.connection()
        blueprint = replace(blueprint, owner=detached.owner(connection))
        secrets = secret_values(blueprint.graph, blueprint.secrets)
        run = cls(session, blueprint, resolver)
        run._log.create(blueprint.to_json())
        detached.detach(session, run.id, secrets)
        return run

    def drive_detached(self) -> None:
        """Drive a run that another process has recorded, from its begin or from where its last driver left it."""
        resumed = self._state.started_at > 0
        if resumed:  # what its last driver had computed is to be found
            self._store.recover()
        self._drive(resumed=resumed, owner=self._blueprint.owner)

    def _drive(self, *, resumed: bool, owner: Owner | None = None) -> None:
        self._require_vouched()
        self._driver, self._done = drive(
            self._session, self._blueprint, self._state, self._resolver, resumed=resumed, owner=owner
        )
        for show in started:
            show(self)

    @classmethod
    def open(cls, run_id: str, session: Session | None = None) -> Run:
        """Open a run from the store, whatever kernel it ran in; the end of its id is enough if it is the only one.

        Parameters
        ----------
        session
            Where to look, if not in this process's own session.

        Raises
        ------
        RunNotFoundError
            The store holds no such run, or several.
        """
        session = session or sessions.current()
        store = session.store()
        found = [known for known in run_ids(store) if known.endswith(run_id)]
        if len(found) != 1:
            what = "several runs end" if found else "no run ends"
            raise RunNotFoundError(f"{what} with {run_id!r} in {store.url}. Run.list() shows them all.")
        header, is_vouched = RunLog(store, found[0]).read_header()
        blueprint = from_json(header)
        run = cls(session, blueprint, stored_resolver(store, blueprint.calls.values(), vouched=is_vouched))
        run._is_vouched = is_vouched
        run._refresh()
        return run

    @classmethod
    def list(cls, graph: str | None = None, limit: int = 50) -> Sequence[Run]:
        """The store's runs, newest first; of one graph if it is named.

        Runs whose record is damaged are left out.
        """
        runs: list[Run] = []
        for run_id in run_ids(sessions.current().store()):
            try:
                run = cls.open(run_id)
            except (CorruptCheckpointError, CheckpointNotFoundError, RunNotFoundError):
                continue
            if graph is None or run.graph == graph:
                runs.append(run)
            if len(runs) == limit:
                break
        return runs

    def __repr__(self) -> str:
        return f"<run of {self.graph!r}: {self.status}>"

    # -- how it stands --

    @property
    def id(self) -> RunId:
        """Names the run in its store."""
        return self._blueprint.run_id

    @property
    def graph(self) -> str:
        """The name of its graph."""
        return self._blueprint.graph

    @property
    def definition(self) -> dict[str, Any]:
        """Its graph as it was when the run began, as `Graph.definition` gives it."""
        return dict(self._blueprint.definition)

    @property
    def status(self) -> str:
        """``running``, ``succeeded``, ``failed``, ``cancelled`` or ``interrupted`` (its kernel died)."""
        if self._done is not None:
            return "running" if not self._done.done() else self._state.status or "failed"
        self._refresh()
        if self._state.status is not None:
            return self._state.status
        if self._is_driven():
            return "running"
        self._refresh()  # its last word may have come just before its driver went
        return self._state.status or "interrupted"

    @property
    def has_ended(self) -> bool:
        """Whether its end is on record."""
        if self._done is None:
            self._refresh()
        return self._state.status is not None

    @property
    def error(self) -> str | None:
        """Why it failed, if it did: the first failure in a sentence."""
        failures = self.failures
        return f"{failures[0].node}: {failures[0].error}" if failures else self._state.error

    @property
    def is_driven_here(self) -> bool:
        """Whether this object drives it, so that it can be cancelled here."""
        return self._driver is not None

    @property
    def is_stopping(self) -> bool:
        """Whether it goes on only to its end: it was cancelled, or something failed."""
        return self._on_loop(lambda: self._state.stopping is not None)

    def wait_quietly(self, timeout: float) -> bool:
        """Wait some seconds; whether it has ended. Nothing is raised, shown or cancelled: for those who watch."""
        if self._done is not None:
            finished, _ = wait((self._done,), timeout)
            return bool(finished)
        time.sleep(timeout)
        return self.status != "running"

    def wait(self, timeout: float | None = None) -> Run:
        """Wait for the end. An interrupt (Stop) cancels the run, keeps what is finished, and is raised again.

        Parameters
        ----------
        timeout
            Seconds after which `TimeoutError` is raised; the run goes on.

        Raises
        ------
        RunError
            The run failed or was cancelled; ``.run`` is this run. With ``on_error="continue"`` failed calls
            don't raise: see `failures`.
        """
        with ExitStack() as faces:
            for waiter in waiters:
                faces.enter_context(waiter(self))
            if self._done is None:
                self._follow(timeout)
            else:
                self._wait(self._done, timeout)
        self._raise()
        return self

    def _wait(self, done: Future[None], timeout: float | None) -> None:
        try:
            done.result(timeout)
        except FutureTimeout:
            if not done.done():
                raise TimeoutError(
                    f"run {self.id} of {self.graph!r} didn't end within {timeout} s; it goes on"
                ) from None
            raise
        except KeyboardInterrupt:
            self.cancel()
            with suppress(FutureTimeout):  # a cluster that doesn't answer: the cell ends all the same
                done.result(_DRAIN_S)
            raise

    def _follow(self, timeout: float | None) -> None:
        """Wait for a run that another kernel drives."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.status == "running":
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"run {self.id} of {self.graph!r} didn't end within {timeout} s; it goes on")
            time.sleep(_FOLLOW_S)

    def __await__(self) -> Generator[Any, None, Run]:
        return self._awaited().__await__()

    async def _awaited(self) -> Run:
        with ExitStack() as faces:
            for waiter in waiters:
                faces.enter_context(waiter(self))
            # In slices: an interrupt does not wake a loop that waits for a thread (ipykernel 6 and 7).
            done = self._done
            while done is not None and not done.done():
                await asyncio.wait({asyncio.wrap_future(done)}, timeout=0.2)
            if done is None:
                await asyncio.to_thread(self._follow, None)
        self._raise()
        return self

    def _raise(self) -> None:
        error = self._failure()
        if error is not None:
            raise error

    def _failure(self) -> BaseException | None:
        error: RunError
        if self._driver is not None and self._driver.exception is not None:
            failed = self._driver.exception
            if isinstance(failed, RunError):
                failed.run = self
            return failed
        status = self.status
        failures = self.failures
        requested = next((each for each in failures if each.kind is FailureKind.REQUEST), None)
        if requested is not None:
            error = RequestException(requested.error.partition(": ")[2])
        elif status == "failed" and failures and self._blueprint.plan.stops_on_failure:
            first = failures[0]
            error = TaskFailedError(
                first.node, first.index, first.input_repr, first.attempt, first.error, first.traceback_text
            )
        elif status == "failed" and not failures:
            return InternalError(self._state.error or "the run failed and left no reason")
        elif status in ("cancelled", "interrupted"):
            error = RunCancelledError(f"run {self.id} of {self.graph!r} was {status}; resume() goes on with it")
        else:
            return None
        error.run = self
        return error

    def cancel(self, *, force: bool = False) -> None:
        """Ask the run to stop. What is finished is kept; running calls are interrupted, then their workers ended.

        Parameters
        ----------
        force
            End the workers of running calls at once.

        Raises
        ------
        UsageError
            Another kernel drives it.
        """
        if self._driver is None:
            if self.status == "running":
                if detached.is_owner(self._owner()):
                    self._log.ask("force" if force else "cancel")
                    return
                raise UsageError(f"run {self.id} is driven by another process: {self._owner()}. Cancel it there.")
            return
        self._driver.cancel(force=force)

    def again(
        self, function: Function | str, *, only: bool = False, graph: Startable | None = None, wait: bool = True
    ) -> Run:
        """Compute a function and all that follows it anew: a new run with the same inputs.

        What it gives takes the place of what was kept, so later runs replay that. What came before the function is
        replayed.

        Parameters
        ----------
        only
            Compute just this function anew; what follows is computed where its outputs differ.
        graph
            Whose functions to use; by default those of this run, as they were.
        wait
            ``False`` returns at once.
        """
        name = self._name(function)
        fresh = frozenset((name,)) if only else following(self._blueprint.plan, name)
        if graph is not None:
            run = graph.start_fresh(fresh, self.inputs)
        else:
            self._require_vouched()
            self._session.check()
            self._store.recover()
            run = Run._begin(self._session, renewed(copied(self._blueprint, new_run_id()), fresh), self._resolver)
        return run.wait() if wait else run

    def resume(self, *, wait: bool = True) -> Run:
        """Go on with a run that was cancelled, interrupted or failed: only what is missing is computed.

        It uses the functions and the inputs that the run began with, so a new kernel need not define them.

        Parameters
        ----------
        wait
            ``False`` returns at once.
        """
        if self.status == "running":
            if self._driver is None:
                raise UsageError(f"run {self.id} is driven by another process: {self._owner()}.")
        else:
            self._session.check()
            self._store.recover()
            self._refresh()
            self._drive(resumed=True)
        return self.wait() if wait else self

    # -- what it was given --

    @property
    def inputs(self) -> dict[str, Any]:
        """Its inputs by name, read from the store."""
        (inputs,) = self._store.read((self._blueprint.inputs,), self._resolver)
        return dict(inputs)

    def inputs_of(self, function: Function | str) -> Arrivals:
        """What came to each element of a function so far, as a lazy sequence.

        An element of a join is a dict by parameter, one of the start function the run's inputs by name.
        """
        name = self._name(function)
        state = RunState.fresh(self._blueprint.plan)
        desk = make_desk_of(self._blueprint, self._store, self._resolver, self._session, keeps=False)
        forecast(state, desk, {})  # follows the run as far as the store goes
        return arrivals(desk.streams, name, lambda spans: self._store.read(spans, self._resolver))

    # -- what it gave --

    def output(self, function: Function | str) -> Values:
        """The outputs of a function, in stream order; of a reducer the one that it emitted."""
        return [*self.outputs(function)]

    def outputs(self, function: Function | str) -> Outputs:
        """The outputs of a function so far, as a lazy sequence."""
        name = self._name(function)
        spans = self._on_loop(lambda: [span for chunk in self._state.nodes[name].chunks for span in chunk.spans])
        return Outputs(name, spans, lambda wanted: self._read(name, wanted), self._store.open_array)

    def result(self) -> Any:
        """Wait for the end; then what the last functions gave.

        Returns
        -------
        result
            For one last function its outputs as a list, or the value itself where nothing on the way was mapped
            (or it is a reducer); for several a dict of those by name.
        """
        self.wait()
        leaves = [name for name, node in self._blueprint.plan.nodes.items() if not node.children]
        results = {name: self._result_of(name) for name in leaves}
        return results[leaves[0]] if len(leaves) == 1 else results

    def _result_of(self, name: str) -> Any:
        outputs = self.output(name)
        if self._is_single(name):
            return outputs[0] if outputs else None
        return outputs

    def _is_single(self, name: str) -> bool:
        node = self._state.nodes[name]
        if node.plan.kind == "fold":
            return True
        chunks = [*node.chunks]
        if len(chunks) > 1 or not all(chunk.is_bare for chunk in chunks):
            return False
        return len(node.plan.ports) <= 1 and all(self._is_single(port.parent) for port in node.plan.ports)

    def _read(self, name: str, spans: Sequence[Span]) -> Values:
        """Read values; what is found damaged is computed again, visibly, and read once more."""
        for _ in range(_MOST_HEALINGS):
            try:
                return self._store.read(spans, self._resolver)
            except (CorruptCheckpointError, CheckpointNotFoundError):
                if self.status == "running":
                    raise
                before = self._spans_before(name, spans)
                self._put_damage_aside(name)
                self.resume()
                spans = self._spans_at(name, *before)
        return self._store.read(spans, self._resolver)

    def _put_damage_aside(self, name: str) -> None:
        """Read all that a node gave, so that everything damaged is known, and one resumption is enough."""
        for span in self.outputs(name).spans:
            with suppress(CorruptCheckpointError, CheckpointNotFoundError):
                self._store.read((span,), self._resolver)

    def _spans_before(self, name: str, spans: Sequence[Span]) -> tuple[int, int]:
        """Where in a node's stream some outputs are."""
        position = 0
        wanted = spans[0]
        for chunk in self._state.nodes[name].chunks:
            for span in chunk.spans:
                if span.segment == wanted.segment and span.start <= wanted.start < span.stop:
                    return position + wanted.start - span.start, sum(len(each) for each in spans)
                position += len(span)
        raise CheckpointNotFoundError(f"{name!r} has no output in {wanted.segment} any more")

    def _spans_at(self, name: str, start: int, size: int) -> tuple[Span, ...]:
        return self.outputs(name)[start : start + size].spans

    def counts(self, function: Function | str) -> dict[str, int]:
        """How many elements of a function were ``computed``, ``replayed``, ``failed``, ``cancelled``, ``pending``."""
        node = self.snapshot()[self._name(function)]
        counted = {name: node[name] or 0 for name in ("computed", "replayed", "failed", "cancelled")}
        return {**counted, "pending": (node["pending"] or 0) + (node["running"] or 0)}

    def snapshot(self) -> dict[str, dict[str, int | None]]:
        """How many elements of every function are where; see `counts`, and ``total`` once it is known."""
        if self._done is None:
            self._refresh()
        return self._on_loop(lambda: snapshot(self._state))

    def standings(self) -> dict[str, NodeStanding]:
        """How every function stands: counts, times, pace; the size doesn't depend on the number of elements."""
        if self._done is None:
            self._refresh()
        return self._on_loop(lambda: standings(self._state, time.time()))

    def critical_path(self) -> tuple[str, ...]:
        """The functions along which the time of the run went, first to last."""
        return self._on_loop(lambda: critical_path(self._state))

    def timeline(self) -> tuple[tuple[Bar, ...], bool]:
        """What ran when and where, and whether neighbouring batches were joined to keep the list short."""

        def look() -> tuple[tuple[Bar, ...], bool]:
            return (*self._state.bars.kept, *running_bars(self._state)), self._state.bars.is_joined

        return self._on_loop(look)

    def elements(
        self, function: Function | str, *, state: str = "all", start: int = 0, count: int = 100
    ) -> ElementPage:
        """One page of a function's elements: failed first, then running, then the slowest.

        Parameters
        ----------
        state
            Only those in this state.
        start, count
            Which rows.
        """
        name = self._name(function)
        return self._on_loop(lambda: elements(self._state, name, state, start, count))

    @property
    def spell(self) -> tuple[float, float | None]:
        """When it began and ended (s since the epoch); ``None`` while it runs."""
        return self._state.started_at or self._blueprint.created_at, self._state.ended_at

    @property
    def doing(self) -> str:
        """What it does before its first call, where that takes time; empty when there is nothing to say."""
        if self._driver is None or self._done is None or self._done.done():
            return ""
        return self._on_loop(lambda: "waiting for the cluster" if self._state.awaits_cluster else "")

    def summary(self) -> RunSummary:
        """The run in short."""
        counted = self.snapshot().values()

        def total(name: str) -> int:
            return sum(counts[name] or 0 for counts in counted)

        status = self.status
        started_at, ended_at = self.spell
        return RunSummary(
            id=self.id,
            graph=self.graph,
            status=status,
            started_at=started_at,
            ended_at=ended_at,
            computed=total("computed"),
            replayed=total("replayed"),
            failed=total("failed"),
            error=self.error,
            inputs=inputs_words(self._blueprint.inputs_repr),
            is_elsewhere=self._driver is None and status == "running",
        )

    def outdated(self, prints: Mapping[str, FunctionPrint], plan: Plan) -> dict[str, str]:
        """Which nodes of a plan this run doesn't speak for any more, by what names them now, and why."""
        return outdated(self._blueprint.prints, prints, plan)

    def compare(self, other: Run) -> Comparison:
        """Put the run and another side by side: what differs in code, inputs, numbers and time."""
        return differences(
            (self.summary(), self._blueprint, self.standings()),
            (other.summary(), other._blueprint, other.standings()),
        )

    @property
    def failures(self) -> tuple[FailedElement, ...]:
        """Every element that failed after its retries, the first first."""
        return self._on_loop(lambda: failed_elements(self._state))

    def logs(self, function: Function | str) -> Sequence[LogLine]:
        """What the calls of a function printed, warned and logged, as far as it was kept."""
        name = self._name(function)
        return self._on_loop(
            lambda: [line for part in self._blueprint.plan.parts_of(name) for line in self._state.nodes[part].logs]
        )

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """What functions timed (s) and counted through their `RequestContext`."""

        def collect() -> dict[str, dict[str, float]]:
            timers: dict[str, float] = {}
            counters: dict[str, float] = {}
            for node in self._state.nodes.values():
                for name, seconds in node.timers.items():
                    timers[name] = timers.get(name, 0.0) + seconds
                for name, count in node.counters.items():
                    counters[name] = counters.get(name, 0) + count
            return {"timers": timers, "counters": counters}

        return self._on_loop(collect)

    def metrics_of(self, function: Function | str) -> dict[str, dict[str, float]]:
        """What the calls of one function timed (s) and counted."""
        name = self._name(function)

        def collect() -> dict[str, dict[str, float]]:
            parts = [self._state.nodes[part] for part in self._blueprint.plan.parts_of(name)]
            timers = Counter[str]()
            counters = Counter[str]()
            for part in parts:
                timers.update(part.timers)
                counters.update(part.counters)
            return {"timers": dict(timers), "counters": dict(counters)}

        return self._on_loop(collect)

    @property
    def means_s(self) -> dict[str, float]:
        """Seconds per computed element, for each function that computed any."""
        means = self._on_loop(lambda: {name: node.mean_s for name, node in self._state.nodes.items()})
        return {name: mean for name, mean in means.items() if mean is not None}

    def source_of(self, function: Function | str) -> str:
        """The source of a function as it was when the run began, without docstrings and comments."""
        return self._blueprint.prints[self._name(function)].sources.get("code", "")

    def why(self, function: Function | str) -> Reasons:
        """Why a function's elements were computed or replayed, and what changed since they last were."""
        return reasons(self._store, self._blueprint, self.snapshot(), self._name(function))

    def events(self) -> Iterator[Event]:
        """Everything recorded of the run, then what happens until its end."""
        seen = 0
        while True:
            is_over = self.status != "running"
            for number, part in self._log.parts(seen):
                seen = number
                yield from (ev.from_json(plain) for plain in part)
            if is_over:
                return
            time.sleep(_FOLLOW_S)

    # -- within --

    def _require_vouched(self) -> None:
        if not self._is_vouched:
            raise UntrustedCheckpointError(
                f"run {self.id} can't go on here: its functions are pickles, which are code, in {self._store.url}, and "
                f"its record bears no signature of yours. {HOW_TO_TRUST} Or run the graph itself: what is kept as "
                "plain data is replayed."
            )

    def _name(self, function: Function | str) -> str:
        name = function if isinstance(function, str) else function.name
        if name not in self._blueprint.prints:
            names = ", ".join(self._blueprint.prints)
            raise UsageError(f"run {self.id} of {self.graph!r} has no function {name!r}. It has {names}.")
        return name

    def _is_driven(self) -> bool:
        owner = self._owner()
        if detached.is_owner(owner):
            return detached.is_driven(self._session, owner, self.id)
        return is_alive(owner)

    def _owner(self) -> Owner:
        return self._state.owner or self._blueprint.owner

    def _on_loop(self, look: Callable[[], T]) -> T:
        """Look at the state from the thread that changes it."""
        if self._done is None or self._done.done():
            return look()

        async def looked() -> T:
            return look()

        return spawn(looked()).result()

    def _refresh(self) -> None:
        """Fold in what the log has that was not seen before; only for runs that this object doesn't drive."""
        if self._done is not None or self._is_broken:
            return
        try:
            for number, part in self._log.parts(self._parts_read):
                self._parts_read = number
                for plain in part:
                    evolve(self._state, ev.from_json(plain))
        except Exception:
            # A part is damaged or missing, and what follows it doesn't fit: what is known up to there stands, and
            # resuming the run finds everything that was kept, since that doesn't depend on the log.
            self._is_broken = True
            logger.warning("the record of run %s is damaged: it is shown as far as it can be read", self.id)
