"""Lay out the boxes of a graph in columns from left to right, with few crossings and short wires.

The usual layered drawing: a box stands one column to the right of its last parent, a wire that passes a column gets a
place in it, columns are ordered by the mean position of their neighbours, and heights are the ones closest to those of
the neighbours that keep order and distance.

References
----------
.. [1] Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of Hierarchical System Structures", 1981.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

#: A box, or the place (wire number, column) where a long wire passes a column.
Spot = str | tuple[int, int]

SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Point:
    """Pixels from the left and from the top."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Positions:
    """The centre of each box, the points that each wire passes from source to target, and the size of it all (px).

    A wire begins and ends at the centres of its boxes; a column that it passes, it crosses level.
    """

    centres: Mapping[str, Point]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def place(
    widths: Mapping[str, float],
    wires: Sequence[tuple[str, str]],
    *,
    box_height: float,
    gap_x: float,
    gap_y: float,
) -> Positions:
    """Place boxes of the given widths, whose order in the mapping decides where nothing else does.

    A wire that would close a cycle is drawn backwards; everything else points to the right.
    """
    backward = _closing_wires(list(widths), wires)
    forward = [(b, a) if i in backward else (a, b) for i, (a, b) in enumerate(wires)]
    column = _columns(list(widths), forward)
    columns: list[list[Spot]] = [[] for _ in range(1 + max(column.values(), default=-1))]
    for name in widths:
        columns[column[name]].append(name)
    chains: list[list[Spot]] = []
    for i, (a, b) in enumerate(forward):
        spots: list[Spot] = [(i, c) for c in range(column[a] + 1, column[b])]
        for c, spot in enumerate(spots, column[a] + 1):
            columns[c].append(spot)
        chains.append([a, *spots, b])
    before: dict[Spot, list[Spot]] = {}
    after: dict[Spot, list[Spot]] = {}
    for chain in chains:
        for left, right in pairwise(chain):
            after.setdefault(left, []).append(right)
            before.setdefault(right, []).append(left)

    _order(columns, before, after)
    heights = {spot: box_height if isinstance(spot, str) else 0.0 for spots in columns for spot in spots}
    y = _align(columns, before, after, heights, gap_y)
    sides: list[tuple[float, float]] = []
    right_edge = 0.0
    for spots in columns:
        width = max((widths[spot] for spot in spots if isinstance(spot, str)), default=0.0)
        sides.append((right_edge, right_edge + width))
        right_edge += width + gap_x
    centres = {name: Point(sum(sides[column[name]]) / 2, y[name]) for name in widths}
    routes = []
    for i, (a, b) in enumerate(forward):
        passing = [Point(x, y[i, c]) for c in range(column[a] + 1, column[b]) for x in sides[c]]
        points = (centres[a], *passing, centres[b])
        routes.append(points[::-1] if i in backward else points)
    return Positions(
        centres=centres,
        routes=tuple(routes),
        width=max(0.0, right_edge - gap_x),
        height=max((y[spot] + heights[spot] / 2 for spot in y), default=0.0),
    )


def _closing_wires(names: Sequence[str], wires: Sequence[tuple[str, str]]) -> set[int]:
    """Wires to a box that is being visited: without them there is no cycle."""
    out: dict[str, list[tuple[int, str]]] = {}
    for i, (a, b) in enumerate(wires):
        out.setdefault(a, []).append((i, b))
    closing: set[int] = set()
    state: dict[str, str] = {}
    for root in names:
        stack = [(root, iter(out.get(root, ())))] if root not in state else []
        state.setdefault(root, "open")
        while stack:
            name, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                state[name] = "closed"
                stack.pop()
            elif state.get(step[1]) == "open":
                closing.add(step[0])
            elif step[1] not in state:
                state[step[1]] = "open"
                stack.append((step[1], iter(out.get(step[1], ()))))
    return closing


def _columns(names: Sequence[str], wires: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the length of the longest path to each box."""
    column = dict.fromkeys(names, 0)
    parents = {name: sum(b == name and a != b for a, b in wires) for name in names}
    ready = [name for name in names if not parents[name]]
    while ready:
        name = ready.pop()
        for a, b in wires:
            if a == name != b:
                column[b] = max(column[b], column[a] + 1)
                parents[b] -= 1
                if not parents[b]:
                    ready.append(b)
    return column


def _order(
    columns: list[list[Spot]], before: Mapping[Spot, Sequence[Spot]], after: Mapping[Spot, Sequence[Spot]]
) -> None:
    """Sort each column by the mean position of its neighbours, sweeping right and left."""
    for sweep in range(SWEEPS):
        neighbours, order = (before, columns) if sweep % 2 == 0 else (after, columns[::-1])
        rank = {spot: i for spots in columns for i, spot in enumerate(spots)}
        for spots in order:
            wanted = {
                spot: sum(rank[n] for n in near) / len(near) if (near := neighbours.get(spot)) else float(rank[spot])
                for spot in spots
            }
            spots.sort(key=wanted.__getitem__)
            rank.update({spot: i for i, spot in enumerate(spots)})


def _align(
    columns: Sequence[Sequence[Spot]],
    before: Mapping[Spot, Sequence[Spot]],
    after: Mapping[Spot, Sequence[Spot]],
    heights: Mapping[Spot, float],
    gap: float,
) -> dict[Spot, float]:
    """Heights of the centres: each as near as can be to the mean of its neighbours', the first at the top edge."""
    y: dict[Spot, float] = {}
    offsets: list[list[float]] = []
    for spots in columns:
        at, stacked = 0.0, []
        for above, spot in zip([None, *spots], spots, strict=False):
            if above is not None:
                at += (heights[above] + heights[spot]) / 2 + gap
            stacked.append(at)
        offsets.append(stacked)
        y.update({spot: offset - at / 2 for spot, offset in zip(spots, stacked, strict=True)})
    for sweep in range(SWEEPS):
        pairs = list(zip(columns, offsets, strict=True))
        for spots, stacked in pairs if sweep % 2 == 0 else pairs[::-1]:
            wanted = []
            for spot, offset in zip(spots, stacked, strict=True):
                near = [*before.get(spot, ()), *after.get(spot, ())]
                wanted.append((sum(y[n] for n in near) / len(near) if near else y[spot]) - offset)
            for spot, offset, level in zip(spots, stacked, _nearest_rising(wanted), strict=True):
                y[spot] = level + offset
    top = min((y[spot] - heights[spot] / 2 for spot in y), default=0.0)
    return {spot: value - top for spot, value in y.items()}


def _nearest_rising(values: Sequence[float]) -> list[float]:
    """Return the non-decreasing sequence with the least squared distance to ``values`` (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, n), (last, m) = pools[-2], pools[-1]
            pools[-2:] = [((mean * n + last * m) / (n + m), n + m)]
    return [mean for mean, n in pools for _ in range(n)]
