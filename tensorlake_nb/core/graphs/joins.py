"""Find the elements that belong together in a join: by the ancestor that its sides share.

An output *descends* from the outputs it was computed from. Along a plain edge a call gets one output of the parent, so
what it gives descends from one output of the parent, and of all that this one descends from. Following that upwards,
each node has a *line* of nodes, of each of which every output of its own descends from exactly one:

- above the start node there is nothing;
- above a node with one parent stands the parent; with several (a union) the deepest node on the lines of them all,
  since an element's parent isn't known in advance;
- a parent whose list is taken whole is left out of the line, because many of its outputs meet in one;
- above a reducer there is nothing, because it folds a whole stream;
- above a join stands its ancestor, for each output of which it has one row at most.

The ancestor of a join is the deepest node on the lines of all its sides. A side may be the ancestor itself. Sides
whose lines share no node (two reducers) meet once in a run: the ancestor is None.

Where that ancestor has a single output in a run, "one row for each" would allow one row in all, though a side below a
map has many values. So sides with a single value in the run are *broadcast*, to every row of the others, whose own
ancestor counts then. Whether a node gives one output or many is read from annotations (``list[...]``, a generator);
a side of which neither is known counts as many if no other side is known to be, and as single otherwise. Reading a
side wrongly never mixes elements: a side with several values for a row is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.functions.type_matching import gives_many
from tensorlake_nb.core.graphs.wiring import Edge


@dataclass(frozen=True, slots=True)
class Join:
    """The meeting of a join's sides.

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
    trace = _Trace(nodes)
    joins: dict[str, Join] = {}
    for name in order:
        edges = parents.get(name, ())
        if edges and all(edge.into is not None for edge in edges):
            joins[name] = trace.join(edges)
        trace.add(name, edges, joins.get(name))
    return joins


class _Trace:
    """The ancestors of each node on its line, and the numbers of its calls and outputs in a run."""

    def __init__(self, nodes: Mapping[str, Function]) -> None:
        self._nodes = nodes
        self._above: dict[str, str | None] = {}
        self._depth: dict[str | None, int] = {None: 0}
        #: More than once in a run? None when it isn't known.
        self._called: dict[str, bool | None] = {}
        self._many: dict[str, bool | None] = {}

    def add(self, name: str, edges: Sequence[Edge], join: Join | None) -> None:
        """Enter a node, after all that stand before it."""
        function = self._nodes[name]
        own = gives_many(function)
        above: str | None = None
        called: bool | None = False
        if function.is_reducer:
            own = function.options.accumulate is list if own is None else own
        elif join is not None:
            above = join.ancestor
            called = False if above is None else self._many[above]
        elif edges:
            above = self._deepest(edges)
            often = [self._comes_often(edge) for edge in edges]
            called = often[0] if len(edges) == 1 else True if True in often else None
        self._above[name] = above
        self._depth[name] = self._depth[above] + 1
        self._called[name] = called
        self._many[name] = True if True in (called, own) else None if None in (called, own) else False

    def join(self, edges: Sequence[Edge]) -> Join:
        """Say how sides meet whose sources are entered."""
        matched = list(edges)
        ancestor = self._deepest(matched)
        if ancestor is None or self._many[ancestor] is False:
            often = {edge: self._comes_often(edge) for edge in edges}
            many = [edge for edge in edges if often[edge] is True]
            perhaps = [edge for edge in edges if often[edge] is None]
            matched = many or perhaps or matched
            ancestor = self._deepest(matched)
        crowded = [edge.into or "" for edge in matched if len(matched) > 1 and self._multiplies(edge, ancestor)]
        broadcast = frozenset(edge.into or "" for edge in edges if edge not in matched)
        return Join(ancestor, broadcast, tuple(crowded))

    def _lowest(self, edge: Edge) -> str | None:
        """Return the lowest node of which each arrival along an edge descends from exactly one output."""
        return self._above[edge.source] if edge.whole else edge.source

    def _comes_often(self, edge: Edge) -> bool | None:
        return self._called[edge.source] if edge.whole else self._many[edge.source]

    def _deepest(self, edges: Sequence[Edge]) -> str | None:
        """Return the deepest node on the lines of all edges."""
        shared = self._lowest(edges[0])
        for edge in edges[1:]:
            other = self._lowest(edge)
            while shared != other:
                if self._depth[shared] < self._depth[other]:
                    shared, other = other, shared
                assert shared is not None  # it is the deeper one
                shared = self._above[shared]
        return shared

    def _multiplies(self, edge: Edge, ancestor: str | None) -> bool:
        """Tell whether there surely are several values along an edge for one output of the ancestor."""
        name = self._lowest(edge)
        while name is not None and name != ancestor:
            if gives_many(self._nodes[name]):
                return True
            name = self._above[name]
        return False
