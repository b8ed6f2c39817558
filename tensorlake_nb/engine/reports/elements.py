"""A node's elements as pages of rows: those that need looking at first, the slowest of the rest next.

A run knows of ranges, not of elements, so ranges are sorted, and only the page that is asked for is made of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.planning.node_state import NodeState, given
from tensorlake_nb.core.planning.run_state import RunState

ElementState = Literal["waiting", "queued", "running", "computed", "replayed", "failed", "cancelled"]

_ORDER: dict[ElementState, int] = {
    "failed": 0,
    "running": 1,
    "queued": 2,
    "computed": 3,
    "replayed": 4,
    "cancelled": 5,
    "waiting": 6,
}


@dataclass(frozen=True, slots=True)
class ElementRow:
    """One element.

    Attributes
    ----------
    index
        Its place in the node's input stream, if known by now (from 0).
    seconds
        Of its call; of a batch of many the mean. ``None`` while unknown.
    output, outputs
        The index of its first output among the node's, ``None`` where that isn't known; and how many it gave.
    """

    index: int
    state: ElementState
    seconds: float | None
    attempts: int
    worker: str
    error: str | None
    output: int | None
    outputs: int


@dataclass(frozen=True, slots=True)
class ElementPage:
    """Rows ``start`` to ``start + len(rows)`` of ``total``."""

    start: int
    total: int
    rows: tuple[ElementRow, ...]


@dataclass(frozen=True, slots=True)
class _Range:
    """Neighbouring elements in one state."""

    index: int
    size: int
    state: ElementState
    seconds: float | None = None
    attempts: int = 1
    worker: str = ""
    error: str | None = None
    output: int | None = None
    is_bare: bool = True
    outputs: int = 0


def elements(state: RunState, node: str, wanted: str, start: int, count: int) -> ElementPage:
    """One page of a node's elements.

    Parameters
    ----------
    wanted
        A state, or ``"all"``; ``"waiting"`` and ``"running"`` include those that are queued.
    start, count
        Which rows.
    """
    ranges = [each for each in _ranges(state, state.nodes[node]) if _is_wanted(each.state, wanted)]
    ranges.sort(key=lambda each: (_ORDER[each.state], -(each.seconds or 0.0), each.index))
    rows: list[ElementRow] = []
    position = 0
    for each in ranges:
        low, high = max(start - position, 0), min(start + count - position, each.size)
        rows.extend(_row(each, offset) for offset in range(low, high))
        position += each.size
    return ElementPage(start, position, tuple(rows))


def _is_wanted(state: ElementState, wanted: str) -> bool:
    return wanted in ("all", state) or (state == "queued" and wanted in ("waiting", "running"))


def _row(each: _Range, offset: int) -> ElementRow:
    index = each.index + offset
    if each.size == 1:
        return ElementRow(
            index, each.state, each.seconds, each.attempts, each.worker, each.error, each.output, each.outputs
        )
    is_known = each.is_bare and each.output is not None
    output = each.output + offset if is_known and each.output is not None else None
    return ElementRow(index, each.state, each.seconds, each.attempts, each.worker, each.error, output, int(is_known))


def _ranges(state: RunState, node: NodeState) -> Iterator[_Range]:
    """Every element of a node, as ranges; of a reducer those that it has folded as one."""
    over = state.status is not None
    if node.plan.kind == "fold":
        yield from _folded(node, over)
        return
    places = _places(state, node)
    output = 0
    for chunk in node.chunks:
        if chunk.n_in:
            source, begin = _input_of(chunk.address)
            index = places.get(source, 0) + begin
            if chunk.replayed == chunk.n_in or not chunk.computed:
                yield _Range(index, chunk.n_in, "replayed", None, 1, "", None, output, chunk.is_bare, chunk.n_out)
            else:
                pace = node.timing.paces.get(chunk.address)
                yield _Range(
                    index,
                    chunk.n_in,
                    "computed",
                    pace.seconds if pace else None,
                    pace.attempt if pace else 1,
                    pace.worker if pace else "",
                    None,
                    output,
                    chunk.is_bare,
                    chunk.n_out,
                )
        output += chunk.n_out
    for failure in node.failures:
        piece = failure.slice
        index = failure.position if failure.position is not None else places.get(piece.source, 0) + piece.start
        yield _Range(index, piece.size, "failed", None, piece.attempt, "", failure.error)
    for number, slices in node.under_way.items():
        doing: ElementState = "running" if number in node.workers else "queued"
        for piece in slices:
            yield _open(piece, places, "cancelled" if over else doing, node.workers.get(number, ""))
    waiting: ElementState = "cancelled" if over else "waiting"
    later = [piece for _, _, piece in (*node.delayed, *node.held)]
    for pieces in (node.arrived, node.ready, node.suspects, later):
        for piece in pieces:
            yield _open(piece, places, waiting)
    for piece in node.probing or ():
        yield _open(piece, places, waiting)
    for by_index in node.twins.values():
        for twins in by_index.values():
            for piece in twins:
                yield _open(piece, places, waiting)


def _open(piece: Slice, places: dict[Address, int], state: ElementState, worker: str = "") -> _Range:
    return _Range(places.get(piece.source, 0) + piece.start, piece.size, state, None, piece.attempt, worker)


def _folded(node: NodeState, over: bool) -> Iterator[_Range]:
    """Yield the ranges that a reducer folded: in order, replayed elements first."""
    if node.replayed:
        yield _Range(0, node.replayed, "replayed", is_bare=False)
    if node.computed:
        yield _Range(node.replayed, node.computed, "computed", node.mean_s, is_bare=False)
    done = node.replayed + node.computed
    for failure in node.failures:
        yield _Range(done, 1, "failed", None, node.fold_attempt, "", failure.error)
    left = 0 if node.sealed else max(node.n_given - done - len(node.failures), 0)
    if left:
        running = min(node.n_under_way, left)
        doing: ElementState = "cancelled" if over else "running" if node.workers else "queued"
        if running:
            yield _Range(done, running, doing)
        if left > running:
            yield _Range(done + running, left - running, "cancelled" if over else "waiting")


def _places(state: RunState, node: NodeState) -> dict[Address, int]:
    """Return the number of elements before those of each source, where the parents' streams are known."""
    places: dict[Address, int] = {}
    before = 0
    if node.plan.gather is not None:
        return places
    for port, edge in enumerate(node.plan.ports):
        for chunk in state.nodes[edge.parent].chunks:
            places[(port, *chunk.address)] = before
            before += given(chunk, edge)
    return places


def _input_of(address: Sequence[int]) -> tuple[Address, int]:
    """Source and first input of the chunk at an address; a node's whole stream, replayed, has the empty one."""
    return (tuple(address[:-2]), address[-2]) if len(address) >= 2 else ((), 0)
