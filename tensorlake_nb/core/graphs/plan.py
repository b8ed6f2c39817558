"""A graph, laid out for execution: what each node is fed, what follows it, and how its work may be cut.

A reducer with ``combine=`` becomes three nodes: leaves that fold groups of neighbouring elements, branches that merge
groups of partial accumulators, and the reducer itself, which merges what is left in order. The shape of that tree
depends on positions alone, so the result is the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.core.functions.policy import Retries
from tensorlake_nb.core.graphs.builder import Edge, FrozenGraph, Node

#: How many neighbours a node of a combine tree folds.
FAN_IN = 8


@dataclass(frozen=True, slots=True)
class Port:
    """One edge into a node: whose outputs come, and which of them, and how."""

    parent: str
    target: str
    into: str | None = None
    whole: bool = False
    routed: bool = False


@dataclass(frozen=True, slots=True)
class PlanNode:
    """A node as the planner sees it.

    Attributes
    ----------
    name, of
        Its own name, and the name of the graph's node that it is a part of.
    kind
        ``"map"``: every element is a call. ``"fold"``: elements are folded in order.
    gather
        ``"join"`` and ``"group"``: rows are formed from the parents' streams first, and each row is a call.
    limit
        How many batches may be under way at once, ``None`` for as many as there is room for.
    concurrency
        How many elements of a batch run at once (async functions).
    lone
        One element per batch (generators, whose items come in parts).
    chain
        The nodes that one element may be carried through in the same batch.
    ancestor, broadcast
        For a join: the node whose elements the rows stand for, and the sides that every row is given.
    """

    name: str
    of: str
    kind: Literal["map", "fold"]
    ports: tuple[Port, ...]
    children: tuple[tuple[str, int], ...]
    depth: int
    retries: Retries
    gather: Literal["join", "group"] | None = None
    limit: int | None = None
    concurrency: int = 1
    lone: bool = False
    chain: tuple[str, ...] = ()
    combines: bool = False
    ancestor: str | None = None
    broadcast: frozenset[str] = frozenset()

    @property
    def is_virtual(self) -> bool:
        return self.name != self.of

    def tries_again(self, kind: FailureKind, attempt: int) -> bool:
        """Return True if an element may be tried again after its n-th attempt failed."""
        return kind.retryable and attempt < self.retries.max_attempts


@dataclass(frozen=True, slots=True)
class Plan:
    """All nodes in topological order. Plain data: a run is resumed from it where its functions aren't defined."""

    graph: str
    start: str
    nodes: Mapping[str, PlanNode]
    stops_on_failure: bool
    version: str | None = None

    def parts_of(self, name: str) -> tuple[str, ...]:
        """Return the plan's nodes that one node of the graph became."""
        return tuple(node.name for node in self.nodes.values() if node.of == name)

    def above(self, name: str) -> frozenset[str]:
        """Return a node of the graph and all its ancestors."""
        found = {name}
        for node in reversed(list(self.nodes.values())):  # children come last
            if node.of in found:
                found.update(self.nodes[port.parent].of for port in node.ports)
        return frozenset(found)


def plan_graph(graph: FrozenGraph) -> Plan:
    """Lay out a validated graph."""
    nodes: dict[str, PlanNode] = {}
    for depth, node in enumerate(graph.nodes.values()):
        for planned in _planned(node, graph.retries, depth):
            nodes[planned.name] = planned
    children: dict[str, list[tuple[str, int]]] = {name: [] for name in nodes}
    for planned in nodes.values():
        for index, port in enumerate(planned.ports):
            children[port.parent].append((planned.name, index))
    nodes = {name: replace(node, children=tuple(children[name])) for name, node in nodes.items()}
    nodes = {name: replace(node, chain=_chain(name, nodes, graph)) for name, node in nodes.items()}
    return Plan(graph.name, graph.start, nodes, stops_on_failure=graph.on_error == "fail", version=graph.version)


def _planned(node: Node, default: Retries, depth: int) -> list[PlanNode]:
    function = node.function
    options = function.options
    ports = tuple(_port(edge) for edge in node.parents)
    base = PlanNode(
        name=node.name,
        of=node.name,
        kind="fold" if node.kind == "reducer" else "map",
        ports=ports,
        children=(),
        depth=depth,
        retries=options.retries or default,
        gather="join" if node.joined else None,
        limit=1 if function.is_async else options.max_concurrency,
        concurrency=(options.max_concurrency or 1) if function.is_async else 1,
        lone=function.is_generator,
        ancestor=node.ancestor,
        broadcast=node.broadcast,
    )
    if node.kind != "reducer":
        return [base]
    if options.combine is None or not ports:  # a start node has one element: nothing to combine
        return [replace(base, gather=None)]
    leaves, branches = f"{node.name}~leaves", f"{node.name}~branches"
    level = replace(base, kind="map", gather="group", limit=options.max_concurrency)
    return [
        replace(level, name=leaves),
        replace(level, name=branches, ports=(Port(leaves, branches),), combines=True),
        replace(base, ports=(Port(branches, node.name),), combines=True),
    ]


def _port(edge: Edge) -> Port:
    return Port(edge.source, edge.target, edge.into, edge.whole, edge.routed)


def _chain(name: str, nodes: Mapping[str, PlanNode], graph: FrozenGraph) -> tuple[str, ...]:
    """Return the nodes after ``name`` through which one element can be carried without a decision."""
    chain: list[str] = []
    here = nodes[name]
    while _is_plain(here, graph) and len(here.children) == 1:
        after = nodes[here.children[0][0]]
        (port, *others) = after.ports
        if others or port.whole or port.routed or after.gather or not _is_plain(after, graph):
            break
        if graph.nodes[after.of].function.options.placement != graph.nodes[name].function.options.placement:
            break
        chain.append(after.name)
        here = after
    return tuple(chain)


def _is_plain(node: PlanNode, graph: FrozenGraph) -> bool:
    inner = graph.nodes[node.of]
    return (
        node.kind == "map"
        and inner.kind == "function"
        and not node.lone
        and not node.is_virtual
        and node.limit is None
        and not any(edge.routed for edge in inner.children)
    )
