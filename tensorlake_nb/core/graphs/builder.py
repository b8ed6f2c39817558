"""Graphs: wired from functions, checked, and frozen into what a run executes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from tensorlake_nb.core.functions.binding import list_mode
from tensorlake_nb.core.functions.function import Function, FunctionLike, NodeLike, as_function
from tensorlake_nb.core.functions.policy import Retries
from tensorlake_nb.core.graphs.joins import trace_joins
from tensorlake_nb.core.graphs.problems import clash, find_problems
from tensorlake_nb.core.graphs.routes import identity, replaces
from tensorlake_nb.core.graphs.wiring import Edge, Link, Wiring, in_order, read_wiring, same_definition
from tensorlake_nb.core.identifiers import checked_name, did_you_mean, listed
from tensorlake_nb.errors import GraphError, OptionError

__all__ = ["Edge", "FrozenGraph", "GraphBuilder", "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A function under a name in a graph.

    Attributes
    ----------
    parents, children
        Edges in order of declaration.
    joined
        True if it is called with one value of each parent by name, instead of once per value.
    ancestor
        Of a join: the node whose outputs name its rows; None when it has one row in a run.
    broadcast
        Of a join: parameters whose single value goes to every row.
    """

    name: str
    function: Function
    kind: Literal["function", "router", "reducer"]
    parents: tuple[Edge, ...]
    children: tuple[Edge, ...]
    joined: bool = False
    ancestor: str | None = None
    broadcast: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FrozenGraph:
    """A graph that was found right, as it was then; ``nodes`` are in topological order, else as declared."""

    name: str
    start: str
    nodes: Mapping[str, Node]
    retries: Retries
    on_error: Literal["fail", "continue"]
    description: str | None
    tags: Mapping[str, str]
    version: str | None


class GraphBuilder:
    """Functions wired together; every method that adds returns the graph, so that calls can be chained.

    Parameters
    ----------
    name
        Stands in paths and displays.
    start_node
        The function that gets a run's inputs.
    description, tags, version
        Kept with the runs; none enters a key.
    retries
        For functions that have none of their own; a number is `Retries` of so many.
    on_error
        ``"fail"`` stops a run at the first failed element, ``"continue"`` finishes what doesn't depend on it.

    Raises
    ------
    OptionError
        When an option has a value that it can't have.
    """

    def __init__(
        self,
        name: str,
        start_node: FunctionLike,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        version: str | None = None,
        retries: Retries | int = Retries(),  # noqa: B008 - frozen
        on_error: Literal["fail", "continue"] = "fail",
    ) -> None:
        self.name = checked_name("Graph: name", name)
        self.description = description
        self.tags = _checked_tags(name, tags)
        self.version = None if version is None else checked_name(f"Graph {name!r}: version", version)
        self.retries = Retries.read(f"Graph {name!r}", retries)
        if on_error not in ("fail", "continue"):
            raise OptionError(f'Graph {name!r}: on_error={on_error!r} isn\'t allowed. Give "fail" or "continue".')
        self.on_error: Literal["fail", "continue"] = on_error
        self._log: list[str | Link] = []
        #: Where in the log a node or an edge was declared first.
        self._places: dict[str | tuple[str, str, str | None], int] = {}
        self._given: dict[str, Function] = {}
        self.start_node: str = self._take(start_node)

    def add_node(self, function: NodeLike) -> Self:
        """Add a function, and those that it declares to go on with."""
        self._take(function)
        return self

    def add_edge(self, from_node: NodeLike, to_node: NodeLike, into: str | None = None) -> Self:
        """Feed each output of one function to another.

        Parameters
        ----------
        from_node, to_node
            Functions, added if need be, or the names of functions that the graph has.
        into
            The parameter to feed. A function all of whose edges say this is a join: it is called with one value of
            each, once per element of the nearest node that they all descend from.

        Raises
        ------
        GraphError
            When another function has the name already.
        UsageError
            When something else than a decorated function is given.
        """
        source, target = self._take(from_node), self._take(to_node)
        if into is not None and (not isinstance(into, str) or not into.isidentifier()):
            raise OptionError(f"graph {self.name!r}: into={into!r} isn't allowed. Give the name of a parameter.")
        self._link(Link(source, target, into, "edge", (self._given.get(source), self._given.get(target))))
        return self

    def add_edges(self, from_node: NodeLike, to_node: NodeLike | Iterable[NodeLike]) -> Self:
        """Feed each output of one function to several others."""
        targets: Any = [to_node] if callable(to_node) or isinstance(to_node, str) else to_node
        for target in targets:
            self.add_edge(from_node, target)
        return self

    def route(self, router: NodeLike, targets: NodeLike | Collection[NodeLike]) -> Self:
        """Declare routes: the functions, one or a list, that a router may choose, or another function by RouteTo."""
        source = self._take(router)
        for target in targets if isinstance(targets, (list, tuple, set, frozenset)) else (targets,):
            self._log.append(Link(source, self._take(target), None, "route"))
        return self

    def rebind(self, function: FunctionLike) -> bool:
        """Replace a function by its redefinition.

        Returns whether the graph holds the function now: True also when it already did, False when it has no function
        of that name, another one, or a later definition.
        """
        new = as_function(function)
        old = self._wiring().nodes.get(new.name)
        if old is None:
            return False
        if same_definition(new, old):
            return True
        if not replaces(new, old):
            return False
        self._given[new.name] = new
        return True

    @property
    def nodes(self) -> dict[str, Function]:
        """Functions by name, the start node first, then as declared."""
        return dict(self._wiring().nodes)

    @property
    def edges(self) -> list[Edge]:
        """Edges in order of declaration."""
        return _edges(self._wiring())

    def validate(self) -> Self:
        """Check all that can be known before a run; return the graph.

        Raises
        ------
        GraphError
            With every problem found, and what to do about it.
        """
        self._checked()
        return self

    def freeze(self) -> FrozenGraph:
        """Validate, and return the graph as it is now; later changes and redefinitions don't touch it."""
        wiring, edges = self._checked()
        order = in_order(list(wiring.nodes), [(edge.source, edge.target) for edge in edges])
        parents: dict[str, list[Edge]] = {name: [] for name in order}
        children: dict[str, list[Edge]] = {name: [] for name in order}
        for edge in edges:
            parents[edge.target].append(edge)
            children[edge.source].append(edge)
        joins = trace_joins(wiring.nodes, order, parents)
        nodes: dict[str, Node] = {}
        for name in order:
            join = joins.get(name)
            function = wiring.nodes[name]
            nodes[name] = Node(
                name=name,
                function=function,
                kind=function.kind,
                parents=tuple(parents[name]),
                children=tuple(children[name]),
                joined=join is not None,
                ancestor=join.ancestor if join is not None else None,
                broadcast=join.broadcast if join is not None else frozenset(),
            )
        return FrozenGraph(
            name=self.name,
            start=self.start_node,
            nodes=nodes,
            retries=self.retries,
            on_error=self.on_error,
            description=self.description,
            tags=dict(self.tags),
            version=self.version,
        )

    def definition(self) -> dict[str, Any]:
        """Return the graph as plain data, ready for JSON: what was declared, whether or not it can run."""
        wiring = self._wiring()
        return {
            "name": self.name,
            "description": self.description,
            "version": self.version,
            "tags": dict(self.tags),
            "start_node": self.start_node,
            "retries": {name: getattr(self.retries, name) for name in Retries.__slots__},
            "on_error": self.on_error,
            "nodes": {
                name: {"kind": function.kind, "description": function.description, "options": function.options.plain()}
                for name, function in wiring.nodes.items()
            },
            "edges": [
                {"source": e.source, "target": e.target, "into": e.into, "whole": e.whole, "routed": e.routed}
                for e in _edges(wiring)
            ],
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {', '.join(self._wiring().nodes)}>"

    def _wiring(self) -> Wiring:
        return read_wiring(self._log, self._given)

    def _checked(self) -> tuple[Wiring, list[Edge]]:
        wiring = self._wiring()
        edges = _edges(wiring)
        problems = find_problems(wiring, self.start_node, edges)
        if problems:
            raise GraphError(self.name, problems)
        return wiring, edges

    def _take(self, candidate: NodeLike) -> str:
        """Add a function under its name, or in place of its earlier definition; return the name."""
        if isinstance(candidate, str):
            known = self._wiring().nodes
            if candidate not in known:
                advice = (
                    f"{did_you_mean(candidate, known)}. It has {listed(known)}; give the function itself to add it."
                )
                raise GraphError(self.name, (f"there is no node {candidate!r}{advice}",))
            self._note(candidate)
            return candidate
        function = as_function(candidate)
        old = self._given.get(function.name)
        if old is not None and identity(old) != identity(function):
            raise GraphError(self.name, (clash(old, function),))
        if old is None or function.defined >= old.defined:
            self._given[function.name] = function
        self._note(function.name)
        return function.name

    def _note(self, name: str) -> None:
        if name not in self._places and name in self._given:
            self._places[name] = len(self._log)
            self._log.append(name)

    def _link(self, link: Link) -> None:
        """Keep a declaration; one that was made with earlier definitions of its functions is replaced."""
        place = self._places.setdefault(link.key, len(self._log))
        earlier = self._log[place] if place < len(self._log) else None
        if isinstance(earlier, Link) and not all(map(same_definition, earlier.ends, link.ends)):
            self._log[place] = link
        else:
            self._log.append(link)


def _edges(wiring: Wiring) -> list[Edge]:
    nodes = wiring.nodes
    return [
        Edge(
            source=link.source,
            target=link.target,
            into=link.into,
            whole=list_mode(nodes[link.source], nodes[link.target], link.into),
            routed=link.source in wiring.choosing,
        )
        for link in wiring.links
    ]


def _checked_tags(graph: str, tags: Mapping[str, str] | None) -> dict[str, str]:
    tags = {} if tags is None else tags
    if not isinstance(tags, Mapping) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise OptionError(f"Graph {graph!r}: tags={tags!r} isn't allowed. Give a dict of texts.")
    return dict(tags)
