"""The state and the results of a run, by its record: everything about a `Run` but driving it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from tensorlake_nb.core.batches.receipt import LogLine
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint
from tensorlake_nb.core.functions.function import NodeLike
from tensorlake_nb.core.functions.targets import target_name
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.core.planning import events as ev
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.run_state import RunState, RunStatus
from tensorlake_nb.core.planning.timing import Bar
from tensorlake_nb.engine.calls.context import is_told
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.driving.driver import Driver
from tensorlake_nb.engine.process.private_loop import spawn
from tensorlake_nb.engine.reports.comparison import Comparison, RunSummary, differences, inputs_words, outdated
from tensorlake_nb.engine.reports.counts import FailedElement, failed_elements, snapshot
from tensorlake_nb.engine.reports.elements import ElementPage, elements
from tensorlake_nb.engine.reports.standings import NodeStanding, critical_path, running_bars, standings
from tensorlake_nb.engine.reports.why import Reasons, reasons
from tensorlake_nb.engine.runs import detached
from tensorlake_nb.errors import UsageError
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.owner import Owner, is_alive

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: How often a log that another kernel writes is looked at (s).
FOLLOW_S = 0.2


class RecordedRun:
    """A run whose state is followed here, or read from the record that another process writes."""

    def __init__(self, session: Session, blueprint: Blueprint, resolver: ClassResolver) -> None:
        self._session, self._blueprint, self._resolver = session, blueprint, resolver
        self._store = session.store()
        self._log = RunLog(self._store, blueprint.run_id)
        self._state = RunState.fresh(blueprint.plan)
        self._driver: Driver | None = None
        self._done: Future[None] | None = None
        self._parts_read = 0
        self._is_broken = False

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
    def status(self) -> RunStatus:
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
        """True if the run's end is recorded."""
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
        """True if this object drives the run, so that it can be cancelled here."""
        return self._driver is not None

    @property
    def is_stopping(self) -> bool:
        """True if the run only finishes running work: it was cancelled, or something failed."""
        return self._on_loop(lambda: self._state.stopping is not None)

    def counts(self, function: NodeLike) -> dict[str, int]:
        """Count a function's elements: ``computed``, ``replayed``, ``failed``, ``cancelled``, ``pending``."""
        node = self.snapshot()[self._name(function)]
        counted = {name: node[name] or 0 for name in ("computed", "replayed", "failed", "cancelled")}
        return {**counted, "pending": (node["pending"] or 0) + (node["running"] or 0)}

    def snapshot(self) -> dict[str, dict[str, int | None]]:
        """Return the numbers of every function's elements; see `counts`, and ``total`` once it is known."""
        if self._done is None:
            self._refresh()
        return self._on_loop(lambda: snapshot(self._state))

    def standings(self) -> dict[str, NodeStanding]:
        """Return every function's counts, times and pace, in a size independent of the number of elements."""
        if self._done is None:
            self._refresh()
        notes = {name: (part.note,) for name, part in self._blueprint.prints.items() if part.note}
        return self._on_loop(lambda: standings(self._state, time.time(), notes))

    def critical_path(self) -> tuple[str, ...]:
        """Return the run's critical path: the functions that took its time, first to last."""
        return self._on_loop(lambda: critical_path(self._state))

    def timeline(self) -> tuple[tuple[Bar, ...], bool]:
        """Return the bars of the run's batches, and True if neighbours were joined to keep the list short."""

        def look() -> tuple[tuple[Bar, ...], bool]:
            return (*self._state.bars.kept, *running_bars(self._state)), self._state.bars.is_joined

        return self._on_loop(look)

    def elements(self, function: NodeLike, *, state: str = "all", start: int = 0, count: int = 100) -> ElementPage:
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
    def started_at(self) -> float:
        """When it began (s since the epoch)."""
        return self._state.started_at or self._blueprint.created_at

    @property
    def ended_at(self) -> float | None:
        """When it ended (s since the epoch); ``None`` while it runs."""
        return self._state.ended_at

    @property
    def doing(self) -> str:
        """The reason for a wait other than for its calls; empty if there is none."""
        driver = self._driver
        if driver is None or self._done is None or self._done.done():
            return ""
        if driver.awaits_store:
            return "waiting for the store"
        if driver.waits_for:
            return driver.waits_for
        return self._on_loop(lambda: "waiting for the cluster" if self._state.awaits_cluster else "")

    def summary(self) -> RunSummary:
        """Return a summary of the run."""
        counted = self.snapshot().values()

        def total(name: str) -> int:
            return sum(counts[name] or 0 for counts in counted)

        status = self.status
        return RunSummary(
            id=self.id,
            graph=self.graph,
            status=status,
            started_at=self.started_at,
            ended_at=self.ended_at,
            computed=total("computed"),
            replayed=total("replayed"),
            failed=total("failed"),
            error=self.error,
            inputs=inputs_words(self._blueprint.inputs_repr),
            is_elsewhere=self._driver is None and status == "running",
        )

    def outdated(self, prints: Mapping[str, FunctionPrint], plan: Plan) -> dict[str, str]:
        """Return the nodes of a plan whose fingerprints differ from this run's, and why."""
        return outdated(self._blueprint.prints, prints, plan)

    def compare(self, other: RecordedRun) -> Comparison:
        """Compare the run with another, side by side: code, inputs, numbers and time."""
        return differences(
            (self.summary(), self._blueprint, self.standings()),
            (other.summary(), other._blueprint, other.standings()),
        )

    @property
    def failures(self) -> tuple[FailedElement, ...]:
        """Every element that failed after its retries, the first first."""
        return self._on_loop(lambda: failed_elements(self._state))

    def logs(self, function: NodeLike) -> Sequence[LogLine]:
        """Return the kept lines that the calls of a function printed, warned and logged."""
        name = self._name(function)
        return self._on_loop(
            lambda: [line for part in self._blueprint.plan.parts_of(name) for line in self._state.nodes[part].logs]
        )

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """The timers (s) and counters that functions set through their `RequestContext`."""

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

    def metrics_of(self, function: NodeLike) -> dict[str, dict[str, float]]:
        """Return the timers (s) and counters of the calls of one function."""
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

    def source_of(self, function: NodeLike) -> str:
        """Return the source of a function when the run began, without docstrings and comments."""
        return self._blueprint.prints[self._name(function)].sources.get("code", "")

    def why(self, function: NodeLike) -> Reasons:
        """Why a function's elements were computed or replayed, and what changed since they last were."""
        name = self._name(function)
        parts = self._blueprint.plan.parts_of(name)
        told = self._on_loop(
            lambda: {note for part in parts for note in self._state.nodes[part].notes if is_told(note)}
        )
        return reasons(self._store, self._blueprint, self.snapshot(), name, sorted(told))

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
            time.sleep(FOLLOW_S)

    # -- within --

    def _name(self, function: NodeLike) -> str:
        name = target_name(function)
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
            logger.warning("the record of run %s is damaged: only its readable part is shown", self.id)
