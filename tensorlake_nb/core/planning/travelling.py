"""Move elements from node to node: outputs that land arrive at the children, or wait for who takes them in order."""

from __future__ import annotations

from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.planning.events import Chunk
from tensorlake_nb.core.planning.node_state import NodeState, given
from tensorlake_nb.core.planning.run_state import RunState


def land(state: RunState, node: NodeState, chunk: Chunk, *, is_settled: bool = True) -> None:
    """Let the outputs of a chunk arrive at the children; a generator's chunk may land before its element is settled."""
    node.chunks.add(chunk)
    node.computed += chunk.computed
    node.replayed += chunk.replayed
    for name, index in node.plan.children:
        child = state.nodes[name]
        if child.sealed:
            continue
        size = given(chunk, child.plan.ports[index])
        child.n_given += size
        if size and child.plan.kind == "map" and child.plan.gather is None:
            child.arrive(Slice((index, *chunk.address), 0, size))
    if is_settled and node.twins and len(chunk.address) >= 2:
        wake_twins(node, chunk.address[:-2], chunk.address[-2], chunk.address[-2] + chunk.n_in)


def wake_twins(node: NodeState, source: Address, start: int, stop: int) -> None:
    """Let elements that are equal to some of ``start`` to ``stop - 1`` be asked for: those have ended."""
    waiting = node.twins.get(source)
    if waiting is None:
        return
    few = range(start, stop) if stop - start < len(waiting) else sorted(waiting)
    for index in few:
        if start <= index < stop:
            node.arrived.extend(waiting.pop(index, ()))
    if not waiting:
        del node.twins[source]


def advance(state: RunState, node: NodeState, size: int) -> None:
    """Move an ordered consumer's cursor past ``size`` elements."""
    cursor = node.cursor
    if not node.plan.ports:
        cursor.offset += size
    while cursor.port < len(node.plan.ports):
        edge = node.plan.ports[cursor.port]
        parent = state.nodes[edge.parent]
        final = parent.chunks.below(state.frontier(edge.parent))
        while cursor.index < final:
            left = given(parent.chunks.at(cursor.index), edge) - cursor.offset
            if left > size:
                cursor.offset += size
                return
            size -= left
            cursor.index, cursor.offset = cursor.index + 1, 0
        if size == 0 or not state.has_ended(edge.parent):
            return
        cursor.port, cursor.index = cursor.port + 1, 0
