"""Read a graph's declarations as one picture: its functions, and the edges between them.

Declarations are kept in the order in which they were made and read anew each time, because a notebook defines things in
any order: a route may name a function that comes later, and a cell that runs again replaces a function under its name.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.graphs.routes import declared_targets, identity, may_choose, replaces


@dataclass(frozen=True, slots=True)
class Edge:
    """That output feeds this input.

    Attributes
    ----------
    source, target
        Names of nodes.
    into
        The target's parameter that it feeds, for a join; else None.
    whole
        A list is taken as one value instead of an element per item.
    routed
        The source decides for each element whether this edge is taken.
    """

    source: str
    target: str
    into: str | None = None
    whole: bool = False
    routed: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """One declaration of an edge: by ``add_edge``, by ``route``, or by the source itself (``next=``, annotation).

    ``ends`` are the functions as they were then; a declaration repeated with others is that of a cell that ran again.
    """

    source: str
    target: str
    into: str | None
    origin: Literal["edge", "route", "function"]
    ends: tuple[Function | None, Function | None] = (None, None)

    @property
    def key(self) -> tuple[str, str, str | None]:
        return (self.source, self.target, self.into)


@dataclass(slots=True)
class Wiring:
    """The functions and links of a graph, and what doesn't fit together in them.

    Attributes
    ----------
    nodes
        Functions by name, in the order in which they were first met.
    links
        One per edge, in order of declaration; repeated ones are in ``repeated``.
    unknown
        (source, name) of declared routes to nothing that is known.
    choosing
        Names of nodes that choose among their edges.
    clashes
        Pairs of different functions under one name.
    """

    nodes: dict[str, Function] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    repeated: list[Link] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    choosing: set[str] = field(default_factory=set)
    clashes: list[tuple[Function, Function]] = field(default_factory=list)

    def into(self, target: str) -> list[Link]:
        """Return the links into a node, in order of declaration."""
        return [link for link in self.links if link.target == target]


def same_definition(one: Function | None, other: Function | None) -> bool:
    """Tell whether two Functions are one: the same object, or made of the same class."""
    if one is None or other is None:
        return one is other
    return one is other or (one.call is other.call and one.defined == other.defined)


def read_wiring(log: Sequence[str | Link], given: Mapping[str, Function]) -> Wiring:
    """Read the declarations of a graph.

    Parameters
    ----------
    log
        Names of nodes and links between them, in order.
    given
        The latest function known under each name, those of the log among them.
    """
    chosen = dict(given)
    while True:  # a route may lead to a later definition of a function, whose own routes count then
        known = dict(chosen)
        wiring = _read(log, chosen)
        if all(same_definition(known.get(name), function) for name, function in chosen.items() if name in known):
            return wiring


def _read(log: Sequence[str | Link], chosen: dict[str, Function]) -> Wiring:
    wiring = Wiring()
    declared: list[Link] = []
    for entry in log:
        if isinstance(entry, Link):
            declared.append(entry)
        else:
            declared.extend(_follow(entry, chosen, wiring))
    explicit = {(link.source, link.target) for link in declared if link.origin == "edge"}
    seen: set[tuple[str, str, str | None]] = set()
    for link in declared:
        if link.origin != "edge" and (link.source, link.target) in explicit:
            continue  # the edge says the same and more
        if link.target not in wiring.nodes:
            wiring.unknown.append((link.source, link.target))
        elif link.key not in seen:
            seen.add(link.key)
            wiring.links.append(link)
        elif link.origin == "edge":
            wiring.repeated.append(link)
    routing = {link.source for link in declared if link.origin == "route"}
    wiring.choosing = {name for name, function in wiring.nodes.items() if name in routing or may_choose(function)}
    return wiring


def _follow(name: str, chosen: dict[str, Function], wiring: Wiring) -> Iterator[Link]:
    """Meet a node and, along the routes that functions declare, those it leads to."""
    pending = deque([name])
    while pending:
        name = pending.popleft()
        if name in wiring.nodes:
            continue
        function = wiring.nodes[name] = chosen[name]
        for target in declared_targets(function) or ():
            if isinstance(target, str):
                yield Link(name, target, None, "function")
                if target in chosen:
                    pending.append(target)
                continue
            known = chosen.setdefault(target.name, target)
            if replaces(target, known):
                chosen[target.name] = target
            elif identity(target) != identity(known):
                wiring.clashes.append((known, target))
            yield Link(name, target.name, None, "function")
            pending.append(target.name)


def in_order(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Sort names so that sources come before targets, else as they are given; those on cycles are left out."""
    position = {name: index for index, name in enumerate(nodes)}
    waiting = dict.fromkeys(nodes, 0)
    targets: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in set(edges):
        waiting[target] += 1
        targets[source].append(target)
    ready = [index for name, index in position.items() if waiting[name] == 0]
    ordered: list[str] = []
    while ready:
        name = nodes[heapq.heappop(ready)]
        ordered.append(name)
        for target in targets[name]:
            waiting[target] -= 1
            if waiting[target] == 0:
                heapq.heappush(ready, position[target])
    return ordered
