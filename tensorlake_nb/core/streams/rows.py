"""Form rows from streams: the sides of a join matched by the element they descend from, or groups of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensorlake_nb.core.batches.output_columns import Positions
from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.graphs.plan import FAN_IN
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, group_digests, one_by_one, row_digest, stream_digest
from tensorlake_nb.core.streams.tables import ChunkData, Rows, Streams, arriving, together
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import JoinError


def group(streams: Streams, name: str, slices: Sequence[Slice]) -> Rows:
    """Group elements in `FAN_IN` neighbours; only the last group may be shorter."""
    whole = together([streams.elements(name, piece) for piece in slices])
    size = whole.size
    group_sizes = tuple(min(FAN_IN, size - start) for start in range(0, size, FAN_IN))
    each = one_by_one(whole.digests)
    rows = b"".join(group_digests("group/1", each[i : i + FAN_IN]) for i in range(0, size, FAN_IN))
    return Rows(((None, whole),), rows, group_sizes, tuple(slices))


def digest_given(streams: Streams, name: str) -> Digest:
    """Return the digest of a node's whole input, which has to be complete.

    That of a join says, beside what its sides give, to which parameters, and which elements of them make up each row.

    Raises
    ------
    JoinError
        As `join`.
    """
    node = streams.plan.nodes[name]
    if not node.ports:
        return stream_digest([streams.inputs.digests])
    if node.gather != "join":
        ports = [streams.digest_at(name, index) for index in range(len(node.ports))]
        return ports[0] if len(ports) == 1 else group_digests("ports/1", ports)
    rows, sides = _match(streams, name)
    fields: list[Digest] = []
    for into in sorted(sides):
        places = _places(sides[into].origin, rows).astype("<i8").tobytes()
        fields += [digest(into), streams.digest_at(name, sides[into].index), stream_digest([places])]
    return group_digests("rows/1", fields)


def join(streams: Streams, name: str) -> Rows:
    """One row per element of the sides' common ancestor for which every side has an output.

    Raises
    ------
    JoinError
        A side has several outputs for one element, or a side that is given to all rows isn't one value.
    """
    rows, sides = _match(streams, name)
    columns = []
    for into, side in sides.items():
        elements = together([part for _, part in streams.port_elements(name, side.index)])
        columns.append((into, elements.pick(_places(side.origin, rows))))
    each = [
        row_digest((into, Digest(part.digests[i * DIGEST_SIZE : (i + 1) * DIGEST_SIZE])) for into, part in columns)
        for i in range(len(rows))
    ]
    return Rows(tuple(columns), b"".join(each))


def rows_of(streams: Streams, name: str) -> Positions:
    """For each row of a join, which output of the sides' common ancestor it stands for."""
    rows, _ = _match(streams, name)
    return rows


@dataclass(frozen=True, slots=True)
class _Side:
    """A side of a join: the origin of each element; ``None`` if its only one goes to every row."""

    index: int
    origin: Positions | None


def _match(streams: Streams, name: str) -> tuple[Positions, dict[str, _Side]]:
    """Return the ancestor's elements for which every side has an output, and the sides by parameter."""
    node = streams.plan.nodes[name]
    sides: dict[str, _Side] = {}
    is_empty = False
    for index, port in enumerate(node.ports):
        assert port.into is not None
        origin = None
        if port.into not in node.broadcast:
            origin = _origin_of_port(streams, name, index, node.ancestor)
        if origin is None:
            size = _size_of_port(streams, name, index)
            if size > 1:
                raise JoinError(
                    f"{name!r} joins {port.into!r} from {port.parent!r} with every element, so it has to be one value, "
                    f"but {port.parent!r} gave {size}. Fold it first, or let both sides come from one function."
                )
            is_empty = is_empty or not size
        sides[port.into] = _Side(index, origin)
    matched = [side.origin for side in sides.values() if side.origin is not None]
    for into, side in sides.items():
        _check_single(name, into, side.origin, node.ancestor)
    rows = matched[0] if matched else np.zeros(1, dtype=np.int64)
    for origin in matched[1:]:
        rows = np.intersect1d(rows, origin)
    rows = np.sort(rows)
    return rows[:0] if is_empty else rows, sides


def _check_single(name: str, into: str, origin: Positions | None, ancestor: str | None) -> None:
    if origin is None:
        return
    found, counts = np.unique(origin, return_counts=True)
    several = found[counts > 1]
    if len(several):
        raise JoinError(
            f"{name!r} can't join {into!r}: it has {int(counts.max())} outputs for element {int(several[0])} of "
            f"{ancestor!r}, and a join takes one. Fold them first, or let the function return one value."
        )


def _places(origin: Positions | None, rows: Positions) -> Positions:
    """Return the positions in a side of the given rows' elements."""
    if origin is None:
        return np.zeros(len(rows), dtype=np.int64)
    order = np.argsort(origin, kind="stable")
    return order[np.searchsorted(origin[order], rows)]


# -- lineage: which element of an ancestor's stream an output descends from --


def _origin_of_port(streams: Streams, name: str, index: int, ancestor: str | None) -> Positions | None:
    """For each element of a port, the position of the ancestor's output that it descends from."""
    port = streams.plan.nodes[name].ports[index]
    outputs = _origins(streams, port.parent, ancestor)
    if outputs is None:
        return None
    found: list[Positions] = []
    for data, mine in zip(streams.chunks(port.parent), outputs, strict=True):
        given, places = arriving(data, port)
        found.append(mine[given.starts[places]])  # a list stands for the element that its first output descends from
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _size_of_port(streams: Streams, name: str, index: int) -> int:
    everything = _origin_of_port(streams, name, index, None)
    assert everything is not None, "without an ancestor every output has the same origin"
    return len(everything)


def _origins(streams: Streams, name: str, ancestor: str | None) -> list[Positions] | None:
    """For each chunk of a node, the ancestor's position behind each output; ``None`` where there is no such line."""
    if ancestor is None:
        return [np.zeros(data.outputs.n_out, dtype=np.int64) for data in streams.chunks(name)]
    if name == ancestor:
        found, first = [], 0
        for data in streams.chunks(name):
            found.append(np.arange(first, first + data.outputs.n_out, dtype=np.int64))
            first += data.outputs.n_out
        return found
    node = streams.plan.nodes[name]
    if node.kind == "fold" or node.gather == "group" or not node.ports:
        return None
    inputs = _inputs_of_join(streams, name, ancestor) if node.gather else _inputs_of_map(streams, name, ancestor)
    if inputs is None:
        return None
    everything, base = inputs
    return [_repeat(data, everything, base) for data in streams.chunks(name)]


def _repeat(data: ChunkData, everything: Positions, base: dict[Address, int]) -> Positions:
    if data.slice is None:
        mine = everything
    else:
        first = base[data.slice.source] + data.slice.start
        mine = everything[first : first + data.outputs.size]
    return np.repeat(mine, data.outputs.sizes)


def _inputs_of_map(streams: Streams, name: str, ancestor: str) -> tuple[Positions, dict[Address, int]] | None:
    found: list[Positions] = []
    base: dict[Address, int] = {}
    first = 0
    for index in range(len(streams.plan.nodes[name].ports)):
        mine = _origin_of_port(streams, name, index, ancestor)
        if mine is None:
            return None
        found.append(mine)
        for source, elements in streams.port_elements(name, index):
            base[source] = first
            first += elements.size
    return np.concatenate(found), base


def _inputs_of_join(streams: Streams, name: str, ancestor: str) -> tuple[Positions, dict[Address, int]] | None:
    own = streams.plan.nodes[name].ancestor
    if own is None:
        return None
    rows, _ = _match(streams, name)
    if own != ancestor:
        above = _origins(streams, own, ancestor)
        if above is None:
            return None
        rows = np.concatenate(above)[rows]
    return rows, {(0, 0): 0}
