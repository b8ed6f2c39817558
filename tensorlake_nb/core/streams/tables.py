"""The data side of a run's streams: where every output lies and what its digest is, in arrays and ranges.

The planner knows chunks by their sizes alone. This table holds the rest, at some forty bytes an output, and answers
what a batch needs: the digests and the places of the elements of a slice, whatever edge they came by.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import BARE, Column, Piece, Span
from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.graphs.plan import Plan, Port
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, group_digests, stream_digest
from tensorlake_nb.core.planning.events import Chunk
from tensorlake_nb.core.values.digest import list_digest

Counts = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Elements:
    """What a port is given by a chunk: places and digests, one digest per element.

    ``groups`` (int32 per element) says how many outputs make up an element, `BARE` for one that stands alone;
    ``None`` where every element is one output.
    """

    spans: tuple[Span, ...]
    digests: bytes
    groups: Counts | None = None

    @property
    def size(self) -> int:
        return len(self.digests) // DIGEST_SIZE

    def cut(self, start: int, stop: int) -> Elements:
        digests = self.digests[start * DIGEST_SIZE : stop * DIGEST_SIZE]
        if self.groups is None:
            return Elements(sp.cut(self.spans, start, stop), digests)
        ends = np.concatenate(([0], np.cumsum(sizes(self.groups))))
        return Elements(sp.cut(self.spans, int(ends[start]), int(ends[stop])), digests, self.groups[start:stop])


@dataclass(slots=True)
class ChunkData:
    """A chunk's outputs. ``slice`` is ``None`` for a whole stream that was replayed at once.

    ``digests`` may be a function for a replayed stream: they are read from the store only when something needs them.
    """

    slice: Slice | None
    counts: Counts
    spans: tuple[Span, ...]
    digests: bytes | Callable[[], bytes]
    routes: Mapping[str, Mask] | None = None
    computed: int = 0
    replayed: int = 0
    #: Not so for the parts of a generator's items but the last.
    is_last: bool = True
    #: Of a whole stream that was replayed: its digest, by which the next node is looked up without any other.
    whole_digest: Digest | None = None

    @property
    def n_out(self) -> int:
        return int(sizes(self.counts).sum())

    def all_digests(self) -> bytes:
        if not isinstance(self.digests, bytes):
            self.digests = self.digests()
        return self.digests


@dataclass(slots=True)
class Rows:
    """Elements that were formed from several outputs: one `Elements` per parameter (``None``: one for all)."""

    columns: tuple[tuple[str | None, Elements], ...]
    digests: bytes
    group_sizes: tuple[int, ...] | None = None
    #: The elements that make up groups of neighbours.
    formed_of: tuple[Slice, ...] = ()


def sizes(counts: Counts) -> NDArray[np.int64]:
    """How many outputs each count stands for."""
    return np.where(counts == BARE, 1, counts).astype(np.int64)


def from_piece(piece: Piece, where: Slice | None) -> ChunkData:
    """A worker's piece as chunk data of the slice that it settles."""
    routes = None
    if piece.routes is not None:
        routes = {name: np.frombuffer(mask, dtype=np.bool_) for name, mask in piece.routes.items()}
    counts = np.frombuffer(piece.counts, dtype=np.int32)
    return ChunkData(where, counts, piece.spans, piece.digests, routes, piece.computed, piece.replayed, piece.is_last)


def split(data: ChunkData, slices: Sequence[Slice]) -> Iterator[ChunkData]:
    """Cut chunk data that settles several slices end to end into one for each.

    ``data.computed`` counts whole elements, so it is dealt out from the front.
    """
    if len(slices) == 1:
        data.slice = slices[0]
        yield data
        return
    digests = data.all_digests()
    ends = np.concatenate(([0], np.cumsum(sizes(data.counts))))
    first, computed = 0, data.computed
    for where in slices:
        last = first + where.size
        low, high = int(ends[first]), int(ends[last])
        routes = None if data.routes is None else {name: mask[low:high] for name, mask in data.routes.items()}
        mine = min(computed, where.size)
        computed -= mine
        yield ChunkData(
            where,
            data.counts[first:last],
            sp.cut(data.spans, low, high),
            digests[low * DIGEST_SIZE : high * DIGEST_SIZE],
            routes,
            mine,
            where.size - mine,
        )
        first = last


@dataclass(slots=True)
class _Stream:
    chunks: dict[Address, ChunkData] = field(default_factory=dict)
    order: list[Address] = field(default_factory=list)
    covering: dict[Address, list[tuple[int, int, Address]]] = field(default_factory=dict)
    selected: dict[tuple[Address, Port], Elements] = field(default_factory=dict)
    rows: list[Rows] = field(default_factory=list)


class Streams:
    """All streams of one run."""

    def __init__(self, plan: Plan, inputs: Span, inputs_digest: Digest) -> None:
        self.plan = plan
        # A call with arguments by name isn't the call with a dict of them, which a parent may give.
        self.inputs = Elements((inputs,), group_digests("inputs/1", [inputs_digest]))
        self._streams = {name: _Stream() for name in plan.nodes}

    def add(self, name: str, address: Address, data: ChunkData) -> Chunk:
        """Add a settled chunk; gives what the planner is to know of it."""
        stream = self._streams[name]
        stream.chunks[address] = data
        insort(stream.order, address)
        if data.slice is not None:
            covered = stream.covering.setdefault(data.slice.source, [])
            insort(covered, (data.slice.start, data.slice.stop, address))
        routed = None
        if data.routes is not None:
            routed = {
                port.target: self._select(name, address, port).size
                for child, index in self.plan.nodes[name].children
                if (port := self.plan.nodes[child].ports[index]).routed
            }
        n_lists = int(np.count_nonzero(data.counts))
        is_bare = bool((data.counts == BARE).all())
        return Chunk(
            address, len(data.counts), data.n_out, n_lists, data.spans, routed, data.computed, data.replayed, is_bare
        )

    def add_rows(self, name: str, rows: Rows) -> tuple[int, int]:
        """Add formed rows; gives their number and how many there are."""
        stream = self._streams[name]
        stream.rows.append(rows)
        return len(stream.rows) - 1, len(rows.digests) // DIGEST_SIZE

    def get(self, name: str, address: Address) -> ChunkData | None:
        return self._streams[name].chunks.get(address)

    def chunks(self, name: str) -> Iterator[ChunkData]:
        """A node's chunks in stream order."""
        stream = self._streams[name]
        return (stream.chunks[address] for address in stream.order)

    def addresses(self, name: str) -> tuple[Address, ...]:
        """Where a node's chunks stand, in stream order."""
        return tuple(self._streams[name].order)

    def covering(self, name: str, source: Address, index: int) -> ChunkData | None:
        """The chunk that settled one element, if it is settled."""
        covered = self._streams[name].covering.get(source, [])
        at = bisect_right(covered, (index, 2**62, ())) - 1
        if at < 0 or covered[at][1] <= index:
            return None
        return self._streams[name].chunks[covered[at][2]]

    def parts(self, name: str, piece: Slice) -> list[ChunkData]:
        """The chunks of one element, in order: of a generator as many as have come."""
        found: list[ChunkData] = []
        while (data := self.get(name, piece.address(len(found)))) is not None:
            found.append(data)
        return found

    def settled(self, name: str, source: Address, index: int) -> ChunkData | None:
        """What one element gave, as if it were replayed, if it is settled."""
        parts = self.parts(name, Slice(source, index, index + 1))
        if len(parts) > 1 or (parts and not parts[0].is_last):
            return _put_together(parts) if parts[-1].is_last else None
        data = self.covering(name, source, index)
        return None if data is None else _one_of(data, index)

    # -- what a node is given --

    def elements(self, name: str, piece: Slice) -> Elements:
        """The elements of a slice of a node's input that doesn't consist of rows."""
        node = self.plan.nodes[name]
        if not node.ports:
            return self.inputs
        port = node.ports[piece.source[0]]
        return self._select(port.parent, piece.source[1:], port).cut(piece.start, piece.stop)

    def given(self, name: str, slices: Iterable[Slice]) -> bytes:
        """Input digests of the elements of some slices, end to end."""
        if self.plan.nodes[name].gather is not None:
            rows = self._streams[name].rows
            return b"".join(
                rows[piece.source[1]].digests[piece.start * DIGEST_SIZE : piece.stop * DIGEST_SIZE] for piece in slices
            )
        return b"".join(self.elements(name, piece).digests for piece in slices)

    def columns(self, name: str, slices: Sequence[Slice]) -> tuple[Column, ...]:
        """Where the values of some slices lie, for a batch."""
        node = self.plan.nodes[name]
        if node.gather is None:
            into = "**" if not node.ports else None
            return (_column(into, [self.elements(name, piece) for piece in slices]),)
        rows = [(self._streams[name].rows[piece.source[1]], piece) for piece in slices]
        columns = []
        for index, (into, _) in enumerate(rows[0][0].columns):
            parts = []
            for row, piece in rows:
                start, stop = _row_range(row, piece)
                parts.append(row.columns[index][1].cut(start, stop))
            columns.append(_column(into, parts))
        return tuple(columns)

    def group_sizes(self, name: str, slices: Iterable[Slice]) -> tuple[int, ...]:
        """How many elements each row of some slices folds (a reducer's leaves and branches)."""
        found: list[int] = []
        for piece in slices:
            group_sizes = self._streams[name].rows[piece.source[1]].group_sizes
            assert group_sizes is not None
            found += group_sizes[piece.start : piece.stop]
        return tuple(found)

    def port_elements(self, name: str, index: int) -> Iterator[tuple[Address, Elements]]:
        """All that a port is given, chunk by chunk in stream order, with the source of each."""
        port = self.plan.nodes[name].ports[index]
        for address in self._streams[port.parent].order:
            yield (index, *address), self._select(port.parent, address, port)

    def position(self, name: str, where: Slice) -> int:
        """Where an element is in its node's input stream, as far as that is known now."""
        node = self.plan.nodes[name]
        if not node.ports or node.gather is not None:
            return where.start
        before = 0
        for index in range(len(node.ports)):
            for source, elements in self.port_elements(name, index):
                if source == where.source:
                    return before + where.start
                before += elements.size
        return before + where.start

    def digest_at(self, name: str, index: int) -> Digest:
        """The digest of all that one of a node's ports gives, which has to be complete."""
        port = self.plan.nodes[name].ports[index]
        stream = self._streams[port.parent]
        if len(stream.order) == 1:
            whole = stream.chunks[stream.order[0]]
            if whole.whole_digest is not None and _gives_all(whole, port):
                return whole.whole_digest
        return stream_digest(elements.digests for _, elements in self.port_elements(name, index))

    def _select(self, name: str, address: Address, port: Port) -> Elements:
        stream = self._streams[name]
        data = stream.chunks[address]
        if _gives_all(data, port):
            return Elements(data.spans, data.all_digests())
        key = (address, port)
        if key not in stream.selected:
            stream.selected[key] = _select(data, port)
        return stream.selected[key]


def _gives_all(data: ChunkData, port: Port) -> bool:
    """Whether a port is given each output of a chunk, one by one."""
    return not port.whole and not (port.routed and data.routes is not None)


def _one_of(data: ChunkData, index: int) -> ChunkData:
    """One element of a chunk."""
    assert data.slice is not None
    offset = index - data.slice.start
    ends = np.concatenate(([0], np.cumsum(sizes(data.counts))))
    low, high = int(ends[offset]), int(ends[offset + 1])
    routes = None if data.routes is None else {name: mask[low:high] for name, mask in data.routes.items()}
    digests = data.all_digests()[low * DIGEST_SIZE : high * DIGEST_SIZE]
    counts = data.counts[offset : offset + 1]
    return ChunkData(None, counts, sp.cut(data.spans, low, high), digests, routes, replayed=1)


def _put_together(parts: Sequence[ChunkData]) -> ChunkData:
    """The parts of one generator's items as its list."""
    counts: Counts = np.stack([part.counts for part in parts]).sum(axis=0, dtype=np.int32)
    routes = None
    if parts[0].routes is not None:
        routes = {name: np.concatenate([(part.routes or {})[name] for part in parts]) for name in parts[0].routes}
    spans = sp.joined(span for part in parts for span in part.spans)
    return ChunkData(None, counts, spans, b"".join(part.all_digests() for part in parts), routes, replayed=1)


def chosen(data: ChunkData, port: Port) -> Mask:
    """Which outputs of a chunk travel to a port."""
    if port.routed and data.routes is not None:
        return data.routes.get(port.target, np.zeros(data.n_out, dtype=np.bool_))
    return np.ones(data.n_out, dtype=np.bool_)


def _column(into: str | None, parts: Sequence[Elements]) -> Column:
    spans = sp.joined(span for part in parts for span in part.spans)
    if all(part.groups is None for part in parts):
        return Column(spans, into)
    groups = [np.full(part.size, BARE, dtype=np.int32) if part.groups is None else part.groups for part in parts]
    return Column(spans, into, np.concatenate(groups).astype(np.int32).tobytes())


def _row_range(row: Rows, piece: Slice) -> tuple[int, int]:
    if row.group_sizes is None:
        return piece.start, piece.stop
    return sum(row.group_sizes[: piece.start]), sum(row.group_sizes[: piece.stop])


def _select(data: ChunkData, port: Port) -> Elements:
    """The elements that a chunk gives to a port that takes some of them, or lists whole."""
    digests = np.frombuffer(data.all_digests(), dtype=np.uint8).reshape(-1, DIGEST_SIZE)
    mask = chosen(data, port)
    picked = np.flatnonzero(mask)
    spans = data.spans if len(picked) == len(digests) else sp.pick(data.spans, picked)
    if not port.whole:
        return Elements(spans, digests[picked].tobytes())
    # A list travels whole or not at all, so its first output decides.
    ends = np.cumsum(sizes(data.counts))
    groups, whole = [], []
    for count, end in zip(data.counts.tolist(), ends.tolist(), strict=True):
        start = end - (1 if count == BARE else count)
        if start < end and mask[start]:
            groups.append(count)
            items = digests[start:end].tobytes()
            whole.append(items if count == BARE else list_digest(items))
    return Elements(spans, b"".join(whole), np.array(groups, dtype=np.int32))
