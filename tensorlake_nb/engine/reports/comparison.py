"""Runs in short, and two of them side by side: what differs in code, inputs, numbers and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorlake_nb.core.fingerprint.fingerprint import Change, FunctionPrint, explain
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.planning.run_state import RunStatus

if TYPE_CHECKING:
    from tensorlake_nb.core.planning.blueprint import Blueprint, KeptPrint
    from tensorlake_nb.engine.reports.standings import NodeStanding


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run in short; times in seconds since the epoch, ``inputs`` as a person would write them."""

    id: str
    graph: str
    status: RunStatus
    started_at: float
    ended_at: float | None
    computed: int
    replayed: int
    failed: int
    error: str | None
    inputs: str
    is_elsewhere: bool


@dataclass(frozen=True, slots=True)
class NodeNumbers:
    """The work of a node in a run."""

    computed: int
    replayed: int
    failed: int
    outputs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class InputDifference:
    """An input that differs, as short forms; ``None`` where a run has no such input."""

    name: str
    left: str | None
    right: str | None


@dataclass(frozen=True, slots=True)
class NodeDifference:
    """A node of either run: what changed in its code from left to right, and its numbers."""

    node: str
    changes: tuple[Change, ...]
    left: NodeNumbers | None
    right: NodeNumbers | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side; ``str()`` says what differs, from left to right."""

    left: RunSummary
    right: RunSummary
    inputs: tuple[InputDifference, ...]
    nodes: tuple[NodeDifference, ...]

    def __str__(self) -> str:
        runs = " -> ".join(f"run {run.id} of {run.graph!r} ({run.status})" for run in (self.left, self.right))
        inputs = [f"input {each.name}: {each.left or 'none'} -> {each.right or 'none'}" for each in self.inputs]
        code = [f"{node.node}: {' and '.join(map(str, node.changes))}" for node in self.nodes if node.changes]
        rows = [("function", "computed", "replayed", "failed", "in calls"), *map(_row, self.nodes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([runs, *inputs, *code, *table])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the comparison in a cell."""
        printer.text(str(self))


def _row(node: NodeDifference) -> tuple[str, str, str, str, str]:
    def sides(show: Callable[[NodeNumbers], str]) -> str:
        left, right = ("none" if side is None else show(side) for side in (node.left, node.right))
        return left if left == right else f"{left} -> {right}"

    return (
        node.node,
        sides(lambda side: str(side.computed)),
        sides(lambda side: str(side.replayed)),
        sides(lambda side: str(side.failed)),
        sides(lambda side: f"{side.seconds:.1f} s"),
    )


def outdated(before: Mapping[str, KeptPrint], now: Mapping[str, FunctionPrint], plan: Plan) -> dict[str, str]:
    """Return the outdated nodes of the graph, by changed code or by their ancestors', with a sentence each."""
    found: dict[str, str] = {}
    cause: dict[str, str] = {}
    for node in plan.nodes.values():  # parents come first
        name = node.of
        if name in found:
            continue
        old = before.get(name)
        if old is None:
            found[name], cause[name] = "it is new since the last run", name
        elif old.fingerprint != now[name].fingerprint:
            changes = explain(old.parts, old.sources, now[name].parts, now[name].sources)
            found[name] = " and ".join(str(change) for change in changes[:3]) or "its code changed"
            cause[name] = name
        else:
            first = next((cause[of] for port in node.ports if (of := plan.nodes[port.parent].of) in cause), None)
            if first is not None and first != name:
                found[name], cause[name] = f"because of {first}, where its outputs differ", first
    return found


def inputs_words(inputs_repr: Mapping[str, str]) -> str:
    """``site='…', n=300``."""
    return ", ".join(f"{name}={text}" for name, text in inputs_repr.items())


def numbers_of(standing: NodeStanding) -> NodeNumbers:
    """Return the numbers that are compared."""
    return NodeNumbers(standing.computed, standing.replayed, standing.failed, standing.outputs, standing.seconds)


def differences(
    left: tuple[RunSummary, Blueprint, Mapping[str, NodeStanding]],
    right: tuple[RunSummary, Blueprint, Mapping[str, NodeStanding]],
) -> Comparison:
    """Compare two runs, from what each is made of and how its nodes stand."""
    (one, mine, my_nodes), (other, theirs, their_nodes) = left, right
    names = list(dict.fromkeys([*mine.inputs_repr, *theirs.inputs_repr]))
    inputs = tuple(
        InputDifference(name, mine.inputs_repr.get(name), theirs.inputs_repr.get(name))
        for name in names
        if mine.inputs_repr.get(name) != theirs.inputs_repr.get(name)
    )
    nodes = tuple(
        NodeDifference(
            name,
            _changes(mine, theirs, name),
            numbers_of(my_nodes[name]) if name in my_nodes else None,
            numbers_of(their_nodes[name]) if name in their_nodes else None,
        )
        for name in dict.fromkeys([*my_nodes, *their_nodes])
    )
    return Comparison(one, other, inputs, nodes)


def _changes(mine: Blueprint, theirs: Blueprint, name: str) -> tuple[Change, ...]:
    before: Any = mine.prints.get(name)
    after: Any = theirs.prints.get(name)
    if before is None or after is None:
        return ()
    return tuple(explain(before.parts, before.sources, after.parts, after.sources))
