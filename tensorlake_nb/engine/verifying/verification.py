"""Verify functions: compute a sample of the outputs that a run would replay once more, and compare.

What is replayed is right only as far as a function's outputs follow from its code and its inputs. Unseeded randomness,
clocks, model calls, counters in globals and the order of sets don't, and nothing in the code tells.
"""

from __future__ import annotations

import itertools
import math
import queue
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.graphs.builder import FrozenGraph
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.engine.cluster.connection import Connection
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.dask_backend import DaskBackend
from tensorlake_nb.engine.driving.driver import CANCEL_GRACE_S
from tensorlake_nb.engine.driving.forecast import followed
from tensorlake_nb.engine.driving.launch import check_placement, draw_up, make_desk_of
from tensorlake_nb.engine.driving.run_secrets import secret_values
from tensorlake_nb.engine.process.secrets import with_signing_keys
from tensorlake_nb.engine.process.slices_of_time import slice_before
from tensorlake_nb.engine.verifying.checks import Check, Finding, Kit, check
from tensorlake_nb.engine.verifying.sampling import Sample, Sampler
from tensorlake_nb.errors import OptionError, tell_in_cell
from tensorlake_nb.store.checkpoints.opening import aside

_ADVICE = (
    "A run replays what such a function gave once. If each run should have it anew, mark it cacheable=False; else make "
    "it follow from its inputs: seed what is random, take the time as an input, sort what comes from a set. If only "
    "the last digits of floats differ, it is the order in which threads add them up: round, or use one thread."
)


@dataclass(frozen=True, slots=True)
class Example:
    """One element that differs or failed.

    Attributes
    ----------
    index
        Its position in its function's input stream; of a fold that of the last element folded.
    given
        A short form of its input.
    what
        Where the outputs differ, what came now and what is kept; of a failure the error.
    """

    index: int
    given: str
    what: str


@dataclass(frozen=True, slots=True)
class NodeVerification:
    """The result of verifying a function.

    Attributes
    ----------
    replayed
        Calls that a run would replay: elements, or the steps of a reducer (with ``combine=`` the groups of its tree).
    checked
        How many of them were computed again; of a reducer, how many accumulators, each from the one kept before it.
    equal, different, failed
        Their results.
    example, failure
        The first that differs, and the first that failed.
    """

    replayed: int = 0
    checked: int = 0
    equal: int = 0
    different: int = 0
    failed: int = 0
    example: Example | None = None
    failure: Example | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of `Graph.verify`, per function; ``str()`` is a table, and what to do about those that differ.

    Attributes
    ----------
    left
        How many elements were chosen and not computed again because time was up.
    """

    graph: str
    nodes: Mapping[str, NodeVerification]
    left: int = 0

    @property
    def different(self) -> tuple[str, ...]:
        """The functions that gave something else."""
        return tuple(name for name, node in self.nodes.items() if node.different)

    @property
    def failed(self) -> tuple[str, ...]:
        """The functions that failed on inputs on which they had succeeded."""
        return tuple(name for name, node in self.nodes.items() if node.failed)

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        """Titles, then a row per function."""
        rows: list[tuple[str, ...]] = [("function", "replayed", "checked", "equal", "different", "failed")]
        for name, node in self.nodes.items():
            counts = (node.replayed, node.checked, node.equal, node.different, node.failed)
            rows.append((name, *map(str, counts)))
        return tuple(rows)

    @property
    def remarks(self) -> tuple[str, ...]:
        """A paragraph per thing to know: who differs and what to do, who failed, what wasn't looked at."""
        found = []
        for name, node in self.nodes.items():
            if node.example is not None:
                found.append(
                    f"{name} gave something else for {node.different} of {node.checked}. {_example_words(node.example)}"
                )
            if node.failure is not None:
                found.append(
                    f"{name} failed on {node.failed} of {node.checked} that it had an output for. "
                    f"{_example_words(node.failure)}"
                )
        if self.different:
            found.append(_ADVICE)
        if self.left:
            found.append(f"Time was up: {self.left} more were chosen and not computed again.")
        if not any(node.replayed for node in self.nodes.values()):
            found.append("A run with these inputs would replay nothing, so there was nothing to compare with.")
        elif not found:
            found.append("All that was computed again came out as it is kept.")
        return tuple(found)

    def __str__(self) -> str:
        widths = [max(len(row[i]) for row in self.table) for i in range(len(self.table[0]))]
        lines = ["  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip() for row in self.table]
        return "\n".join([*lines, *(f"\n{remark}" for remark in self.remarks)])

    __repr__ = __str__


def _example_words(example: Example) -> str:
    given = f", given {example.given}" if example.given else ""
    return f"First element {example.index}{given}: {example.what}."


def verify(
    graph: FrozenGraph,
    definition: Mapping[str, Any],
    inputs: Mapping[str, Any],
    session: Session,
    *,
    sample: float,
    seed: int,
    time_limit_s: float,
) -> Verification:
    """Compute a sample of what a run would replay again, on the session's cluster; the store stays as it is.

    Raises
    ------
    OptionError
        A sample that is no share, or no time.
    """
    if not 0 < sample <= 1:
        raise OptionError(f"sample={sample!r} has to be a share: more than 0, and 1 at most")
    if not time_limit_s > 0:
        raise OptionError(f"time_limit={time_limit_s!r} has to be some seconds")
    with tempfile.TemporaryDirectory(prefix="tensorlake-nb-verify-") as folder:
        apart = Session(session.settings, aside(session.store(), Path(folder)))
        blueprint, resolver = draw_up(graph, definition, inputs, apart)
        check_placement(session, blueprint)
        kit = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}

        def make_desk() -> Desk:
            return make_desk_of(blueprint, apart.store(), resolver, apart, keeps=False)

        def chosen(state: RunState, desk: Desk) -> dict[str, Sample]:
            sampler = Sampler(blueprint, state, desk, apart.store(), share=sample, seed=seed)
            return {name: sampler.of(name) for name in blueprint.plan.nodes}

        samples = followed(blueprint.plan, make_desk, chosen)
    checks = [each for taken in samples.values() for each in taken.checks]
    findings: dict[int, Finding] = {}
    if checks:
        findings = _Checking(session, blueprint, kit, checks).run(time_limit_s)
    return _report(blueprint, samples, checks, findings)


def _report(
    blueprint: Blueprint, samples: Mapping[str, Sample], checks: Sequence[Check], findings: Mapping[int, Finding]
) -> Verification:
    plan = blueprint.plan
    by_node: dict[str, list[Finding]] = {name: [] for name in blueprint.prints}
    for number, asked in enumerate(checks):
        finding = findings.get(number)
        if finding is not None and finding.outcome != "unknown":
            by_node[plan.nodes[asked.node].of].append(finding)
    replayed = {name: sum(samples[part].replayed for part in plan.parts_of(name)) for name in by_node}
    nodes = {name: _node(replayed[name], found) for name, found in by_node.items()}
    return Verification(blueprint.graph, nodes, len(checks) - sum(map(len, by_node.values())))


def _node(replayed: int, findings: Sequence[Finding]) -> NodeVerification:
    counts = Counter(finding.outcome for finding in findings)
    examples = {
        outcome: next(
            (Example(each.position, each.given, each.what) for each in findings if each.outcome == outcome), None
        )
        for outcome in ("different", "failed")
    }
    return NodeVerification(
        replayed,
        len(findings),
        counts["equal"],
        counts["different"],
        counts["failed"],
        examples["different"],
        examples["failed"],
    )


class _Checking:
    """Checks on their way to the cluster and back; the cluster is asked on a thread, so that waiting can be ended."""

    def __init__(
        self, session: Session, blueprint: Blueprint, kit: Mapping[str, bytes], checks: Sequence[Check]
    ) -> None:
        self._session, self._blueprint, self._kit, self._checks = session, blueprint, kit, checks
        self._inbox: queue.SimpleQueue[ms.Message | BaseException] = queue.SimpleQueue()
        self._hands = ThreadPoolExecutor(1, thread_name_prefix="tensorlake-nb-verify")
        keys = session.store().signing_keys
        values = with_signing_keys(secret_values(blueprint.graph, blueprint.secrets), keys)
        self._backend = DaskBackend(self._connect, blueprint.run_id, values, self._inbox.put, task=check)
        self._connection: Connection | None = None
        #: Which checks are still to be made, per node.
        self._waiting: dict[str, deque[int]] = {asked.node: deque() for asked in checks}
        for place, asked in enumerate(checks):
            self._waiting[asked.node].append(place)
        #: By the number of the order: the cluster takes each once.
        self._under_way: dict[int, int] = {}
        self._numbers = itertools.count()
        #: Lost elements, perhaps lost by a neighbour: each is tried once more, alone.
        self._lost: deque[int] = deque()
        self._alone: int | None = None
        self._slots = 1
        self._is_stopping = False
        self._findings: dict[int, Finding] = {}

    def run(self, time_limit_s: float) -> dict[int, Finding]:
        """Wait for all of them, or until time is up; an interrupt ends what runs, and is raised again."""
        until = time.monotonic() + time_limit_s
        try:
            self._go_on(until)
        except KeyboardInterrupt as stop:
            tell_in_cell(stop, "the verification was stopped before its end")
            raise
        finally:
            self._is_stopping = True
            self._waiting.clear()
            self._lost.clear()
            if self._under_way:
                self._ask(self._backend.halt, interrupt=True)
                self._go_on(time.monotonic() + CANCEL_GRACE_S)
            self._ask(self._close, tuple(self._under_way))
            self._hands.shutdown(wait=True)
        return self._findings

    def _go_on(self, until: float) -> None:
        while time.monotonic() < until:
            orders = self._next_orders()
            if orders:
                self._ask(self._backend.submit, orders)
            if not self._under_way:
                return
            with suppress(queue.Empty):
                self._take(self._inbox.get(timeout=slice_before(until)))

    def _next_orders(self) -> list[ms.Order]:
        """Return the orders that fit: some for each slot, and of a node as many as may run at once."""
        running = Counter(self._checks[place].node for place in self._under_way.values())
        orders: list[ms.Order] = []
        for name, waiting in self._waiting.items():
            node = self._blueprint.plan.nodes[name]
            most = math.inf if node.limit is None else max(node.limit, node.concurrency)
            while waiting and running[name] < most and len(self._under_way) < 2 * self._slots:
                running[name] += 1
                orders.append(self._order(waiting.popleft()))
        if not self._under_way and self._lost:
            orders.append(self._order(self._lost.popleft()))
            self._alone = orders[0].number
        return orders

    def _order(self, place: int) -> ms.Order:
        number, asked = next(self._numbers), self._checks[place]
        self._under_way[number] = place
        return ms.Order(number, asked, 0, self._blueprint.placements[asked.node])

    def _take(self, message: ms.Message | BaseException) -> None:
        match message:
            case ms.Ready(slots):
                self._slots = slots
            case ms.Finished(number, returned) if number in self._under_way:
                self._findings[self._under_way.pop(number)] = cast(Finding, returned)  # what `check` returned
            case ms.Lost(number, reason) if number in self._under_way:
                place = self._under_way.pop(number)
                if not self._is_stopping and number == self._alone:
                    self._findings[place] = Finding("failed", self._checks[place].position, what=reason)
                elif not self._is_stopping:
                    self._lost.append(place)
            case ms.Broken(error):
                raise error
            case BaseException():
                raise message
            case _:
                pass

    def _ask(self, what: Any, *args: Any, **options: Any) -> None:
        def ask() -> None:
            try:
                what(*args, **options)
            except BaseException as error:
                self._inbox.put(error)

        self._hands.submit(ask)

    def _connect(self) -> Connection:
        self._connection = self._session.connection()
        self._connection.client.register_plugin(Kit(self._run_id, self._kit), name=self._kit_name)
        return self._connection

    def _close(self, left: Iterable[int]) -> None:
        if self._connection is None:
            return
        self._backend.abandon(left)
        self._backend.close()
        self._connection.client.unregister_worker_plugin(self._kit_name)

    @property
    def _run_id(self) -> RunId:
        return self._blueprint.run_id

    @property
    def _kit_name(self) -> str:
        return f"tensorlake-nb-kit-{self._run_id}"
