"""The invariants of a run's state, for tests and simulations to hold after every event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from tensorlake_nb.core.batches.positions import END, Address, Slice
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState

#: Where an element that has arrived and isn't settled may be: it is in one of these, and in no two.
PLACES: Mapping[str, Callable[[NodeState], Iterator[Slice]]] = {
    "arrived": lambda node: iter(node.arrived),
    "probing": lambda node: iter(node.probing or ()),
    "ready": lambda node: iter(node.ready),
    "delayed": lambda node: (piece for _, _, piece in node.delayed),
    "suspects": lambda node: iter(node.suspects),
    "held": lambda node: (piece for _, _, piece in node.held),
    "twins": lambda node: (piece for by_index in node.twins.values() for some in by_index.values() for piece in some),
    "under_way": lambda node: (piece for slices in node.under_way.values() for piece in slices),
}


class InvalidStateError(AssertionError):
    """A run's state that no sequence of events may lead to; ``args`` are the sentences that say why."""


def validate(state: RunState) -> None:
    """Check that the parts of a state agree with each other.

    Raises
    ------
    InvalidStateError
        They don't; every contradiction is named.
    """
    found = [f"{name}: {problem}" for name, node in state.nodes.items() for problem in _problems(state, node)]
    if found:
        raise InvalidStateError(*found)


def _problems(state: RunState, node: NodeState) -> Iterator[str]:
    for number in node.under_way:
        if state.node_of.get(number) != node.plan.name:
            yield f"batch {number} is under way and recorded for {state.node_of.get(number)}"
        if number >= state.batches:
            yield f"batch {number} is under way, and only {state.batches} numbers were given"
    for part, numbers in (("progress", node.progress), ("workers", node.workers), ("parts", node.parts)):
        if strays := sorted(set(numbers) - set(node.under_way)):
            yield f"{part} of batches {strays}, which aren't under way"
    if node.n_ready != sum(piece.size for piece in node.ready):
        yield f"n_ready is {node.n_ready}, and {sum(piece.size for piece in node.ready)} elements are ready"
    if node.barrier != min((failure.slice.order for failure in node.failures), default=END):
        yield f"the barrier {node.barrier} isn't the lowest failure"
    if node.plan.kind == "map":
        yield from _problems_of_elements(node)


def _problems_of_elements(node: NodeState) -> Iterator[str]:
    waiting = {place: list(slices(node)) for place, slices in PLACES.items()}
    yield from _in_two_places(waiting)
    unsettled = Counter(piece.order for place, some in waiting.items() if place != "under_way" for piece in some)
    for number, slices in node.under_way.items():
        part = node.parts.get(number)
        unsettled.update(piece.order if part is None else piece.address(part + 1) for piece in slices)
    if unsettled != node.open.orders:
        missing, stray = unsettled - node.open.orders, node.open.orders - unsettled
        yield f"open lacks {sorted(missing.elements())} and has {sorted(stray.elements())} besides"
    if node.sealed and any(waiting.values()):
        yield f"it is sealed, and elements are in {[place for place, some in waiting.items() if some]}"
    # the first part of a generator's settles its element; streams that can't be joined fail before elements arrive
    is_counted = not (node.sealed or node.plan.lone or (node.plan.gather is not None and node.failures))
    if is_counted:
        placed = sum(piece.size for some in waiting.values() for piece in some)
        settled = sum(chunk.n_in for chunk in node.chunks)
        if node.n_arrived != placed + settled + node.n_failed:
            yield f"of {node.n_arrived} elements {placed} wait, {settled} are settled, {node.n_failed} have failed"


def _in_two_places(waiting: Mapping[str, list[Slice]]) -> Iterator[str]:
    by_source: dict[Address, list[tuple[int, int, str]]] = {}
    for place, some in waiting.items():
        for piece in some:
            by_source.setdefault(piece.source, []).append((piece.start, piece.stop, place))
    for source, ranges in by_source.items():
        ranges.sort()
        for (_, stop, place), (start, _, other) in pairwise(ranges):
            if start < stop:
                yield f"element {start} of {source} is {place} and {other}"
