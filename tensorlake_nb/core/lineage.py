"""Which elements belong together: the ancestor that the sides of a join share.

An output *descends* from the outputs it was computed from. Along a plain edge a call gets one output of the parent, so
what it gives descends from one output of the parent and from all that this one descends from. Hence, for each node, the
*line* of nodes from exactly one output of which each of its own outputs descends:

- the start node: itself;
- a node below one parent: itself and the parent's line; below several (a union): itself and what their lines share,
  since nobody knows by which parent an element comes;
- below a parent whose list it takes whole: itself and the parent's line without the parent, of which it gets many;
- a reducer: itself alone, because it folds a whole stream;
- a join: itself and the lines of its sides, broadcast ones left out.

The ancestor of a join is the deepest node on the lines of all its sides: each output of it is met by at most one row. A
side may be the ancestor itself. Sides that share no node (two reducers) meet once in a run: the ancestor is None.

Where that ancestor has a single output in a run, "one row for each" would allow one row in all, though a side below a
map has many values. So sides with a single value in the run are *broadcast*, to every row of the others, whose own
ancestor counts then. Whether a node gives one output or many is read from annotations (``list[...]``, a generator);
a side of which neither is known counts as many if no other side is known to be, and as single otherwise. Reading a
side wrongly never mixes elements: a side with several values for a row is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensorlake_nb.core.fitting import gives_many
from tensorlake_nb.core.function import Function
from tensorlake_nb.core.wiring import Edge


@dataclass(frozen=True, slots=True)
class Join:
    """How the sides of a join meet.

    Attributes
    ----------
    ancestor
        The node whose outputs name the rows; None for one row in a run.
    broadcast
        Names of the parameters whose single value goes to every row.
    crowded
        Names of parameters that surely have several values for a row: this join can't be matched.
    """

    ancestor: str | None
    broadcast: frozenset[str]
    crowded: tuple[str, ...]


def trace_joins(
    nodes: Mapping[str, Function], order: Sequence[str], parents: Mapping[str, Sequence[Edge]]
) -> dict[str, Join]:
    """Find how the sides of each join meet.

    Parameters
    ----------
    nodes
        Functions by name.
    order
        Names in topological order.
    parents
        Edges into each node, in order of declaration. A node all of whose edges say ``into`` is a join.
    """
    trace = _Trace(nodes, order)
    joins: dict[str, Join] = {}
    for name in order:
        edges = parents.get(name, ())
        if edges and all(edge.into is not None for edge in edges):
            joins[name] = trace.join(edges)
        trace.add(name, edges, joins.get(name))
    return joins


class _Trace:
    def __init__(self, nodes: Mapping[str, Function], order: Sequence[str]) -> None:
        self._nodes = nodes
        self._place = {name: index for index, name in enumerate(order)}
        self._lines: dict[str, frozenset[str]] = {}
        #: Whether a node is called, and gives outputs, more than once in a run; None when it isn't known.
        self._called: dict[str, bool | None] = {}
        self._many: dict[str, bool | None] = {}

    def add(self, name: str, edges: Sequence[Edge], join: Join | None) -> None:
        function = self._nodes[name]
        if function.is_reducer:
            self._lines[name] = frozenset({name})
            self._called[name] = False
            own = gives_many(function)
            self._many[name] = function.options.accumulate is list if own is None else own
            return
        lines = [self._line(edge) for edge in edges if join is None or edge.into not in join.broadcast]
        if not lines:
            shared: frozenset[str] = frozenset()
        else:
            shared = frozenset.intersection(*lines) if join is None else frozenset.union(*lines)
        self._lines[name] = shared | {name}
        if join is not None:
            self._called[name] = False if join.ancestor is None else self._many[join.ancestor]
        elif len(edges) > 1:
            self._called[name] = True if any(self._comes_often(edge) for edge in edges) else None
        else:
            self._called[name] = self._comes_often(edges[0]) if edges else False
        self._many[name] = _either(self._called[name], gives_many(function))

    def join(self, edges: Sequence[Edge]) -> Join:
        matched = list(edges)
        ancestor = self._deepest(matched)
        if ancestor is None or self._many[ancestor] is False:
            often = {edge: self._comes_often(edge) for edge in edges}
            many = [edge for edge in edges if often[edge] is True]
            perhaps = [edge for edge in edges if often[edge] is None]
            matched = many or perhaps or matched
            ancestor = self._deepest(matched)
        above = self._lines[ancestor] if ancestor is not None else frozenset()
        crowded = [
            edge.into or ""
            for edge in matched
            if len(matched) > 1 and any(gives_many(self._nodes[between]) for between in self._line(edge) - above)
        ]
        broadcast = frozenset(edge.into or "" for edge in edges if edge not in matched)
        return Join(ancestor, broadcast, tuple(crowded))

    def _line(self, edge: Edge) -> frozenset[str]:
        line = self._lines[edge.source]
        return line - {edge.source} if edge.whole else line

    def _comes_often(self, edge: Edge) -> bool | None:
        return self._called[edge.source] if edge.whole else self._many[edge.source]

    def _deepest(self, edges: Sequence[Edge]) -> str | None:
        shared = frozenset.intersection(*(self._line(edge) for edge in edges))
        return max(shared, key=lambda name: (len(self._lines[name]), self._place[name]), default=None)


def _either(*answers: bool | None) -> bool | None:
    return True if True in answers else None if None in answers else False
