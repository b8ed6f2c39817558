"""The data side of a run's streams: where every output lies and what its digest is, in arrays and ranges.

The planner knows chunks by their sizes alone. This table holds the rest, at some forty bytes an output, and answers
what a batch needs: the digests and the places of the elements of a slice, whatever edge they came by.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tensorlake_nb.core.batches.batch import BARE, Column, Span
from tensorlake_nb.core.batches.output_columns import OutputColumns, Positions, concat, picked
from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.batches.receipt import Piece
from tensorlake_nb.core.graphs.plan import Plan, Port
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, group_digests, stream_digest
from tensorlake_nb.core.planning.events import Chunk
from tensorlake_nb.core.values.digest import list_digest


@dataclass(frozen=True, slots=True)
class Elements:
    """The input of a port: outputs, or lists of them if it takes lists whole.

    ``lists`` are one digest per element then; ``None``: each element is one output, and has its digest.
    """

    outputs: OutputColumns
    lists: bytes | None = None

    @property
    def size(self) -> int:
        return self.outputs.size

    @property
    def spans(self) -> tuple[Span, ...]:
        return self.outputs.spans

    @property
    def digests(self) -> bytes:
        return self.outputs.digests if self.lists is None else self.lists

    def cut(self, start: int, stop: int) -> Elements:
        lists = None if self.lists is None else self.lists[start * DIGEST_SIZE : stop * DIGEST_SIZE]
        return Elements(self.outputs.cut(start, stop), lists)

    def pick(self, places: Positions) -> Elements:
        return Elements(self.outputs.pick(places), None if self.lists is None else picked(self.lists, places))


@dataclass(frozen=True, slots=True)
class ChunkData:
    """A chunk's outputs. ``slice`` is ``None`` for a whole stream that was replayed at once."""

    slice: Slice | None
    outputs: OutputColumns
    computed: int = 0
    replayed: int = 0
    #: Not so for the parts of a generator's items but the last.
    is_last: bool = True
    #: Of a whole stream that was replayed: its digest, by which the next node is looked up without any other.
    whole_digest: Digest | None = None


@dataclass(slots=True)
class Rows:
    """Elements that were formed from several outputs: one `Elements` per parameter (``None``: one for all)."""

    columns: tuple[tuple[str | None, Elements], ...]
    digests: bytes
    group_sizes: tuple[int, ...] | None = None
    #: The elements that make up groups of neighbours.
    formed_of: tuple[Slice, ...] = ()


def settled(piece: Piece, slices: Sequence[Slice]) -> Iterator[ChunkData]:
    """Cut a worker's piece, which settles several slices end to end, into chunk data for each.

    ``piece.computed`` counts whole elements, so it is dealt out from the front.
    """
    if len(slices) == 1:
        yield ChunkData(slices[0], piece.outputs, piece.computed, piece.replayed, piece.is_last)
        return
    first, computed = 0, piece.computed
    for where in slices:
        mine = min(computed, where.size)
        computed -= mine
        yield ChunkData(where, piece.outputs.cut(first, first + where.size), mine, where.size - mine)
        first += where.size


def together(parts: Sequence[Elements]) -> Elements:
    """Return the elements of all parts end to end."""
    lists = None
    if any(part.lists is not None for part in parts):
        lists = b"".join(part.digests for part in parts)
    return Elements(concat([part.outputs for part in parts]), lists)


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
        self.inputs = Elements(OutputColumns(None, (inputs,), group_digests("inputs/1", [inputs_digest])))
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
        outputs = data.outputs
        if outputs.routes is not None:
            routed = {
                port.target: self._select(name, address, port).size
                for child, index in self.plan.nodes[name].children
                if (port := self.plan.nodes[child].ports[index]).routed
            }
        n_lists = outputs.size if outputs.counts is None else int(np.count_nonzero(outputs.counts))
        is_bare = outputs.counts is None
        return Chunk(
            address, outputs.size, outputs.n_out, n_lists, outputs.spans, routed, data.computed, data.replayed, is_bare
        )

    def add_rows(self, name: str, rows: Rows) -> tuple[int, int]:
        """Add formed rows; gives their number and how many there are."""
        stream = self._streams[name]
        stream.rows.append(rows)
        return len(stream.rows) - 1, len(rows.digests) // DIGEST_SIZE

    def get(self, name: str, address: Address) -> ChunkData | None:
        return self._streams[name].chunks.get(address)

    def chunks(self, name: str) -> Iterator[ChunkData]:
        """Yield a node's chunks in stream order."""
        stream = self._streams[name]
        return (stream.chunks[address] for address in stream.order)

    def whole(self, name: str) -> OutputColumns:
        """All that a node gave; the parts of one generator are one list."""
        runs: list[list[OutputColumns]] = []
        before = None
        for data in self.chunks(name):
            if data.slice is None or data.slice != before:
                runs.append([])
            runs[-1].append(data.outputs)
            before = data.slice
        return concat([run[0] if len(run) == 1 else concat(run).as_list() for run in runs])

    def addresses(self, name: str) -> tuple[Address, ...]:
        """Return the positions of a node's chunks, in stream order."""
        return tuple(self._streams[name].order)

    def covering(self, name: str, source: Address, index: int) -> ChunkData | None:
        """Return the chunk that settled one element, if it is settled."""
        covered = self._streams[name].covering.get(source, [])
        at = bisect_right(covered, (index, 2**62, ())) - 1
        if at < 0 or covered[at][1] <= index:
            return None
        return self._streams[name].chunks[covered[at][2]]

    def parts(self, name: str, piece: Slice) -> list[ChunkData]:
        """Return the chunks of one element, in order: of a generator, those that have come so far."""
        found: list[ChunkData] = []
        while (data := self.get(name, piece.address(len(found)))) is not None:
            found.append(data)
        return found

    def settled(self, name: str, source: Address, index: int) -> OutputColumns | None:
        """Return the outputs of one settled element, as if it were replayed."""
        parts = self.parts(name, Slice(source, index, index + 1))
        if len(parts) > 1 or (parts and not parts[0].is_last):
            return concat([part.outputs for part in parts]).as_list() if parts[-1].is_last else None
        data = self.covering(name, source, index)
        if data is None:
            return None
        assert data.slice is not None
        return data.outputs.cut(index - data.slice.start, index + 1 - data.slice.start)

    # -- what a node is given --

    def elements(self, name: str, piece: Slice) -> Elements:
        """Return the elements of a slice of a node's input that doesn't consist of rows."""
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
        """Return the places of some slices' values, for a batch."""
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
        """Return the number of elements that each row of some slices folds (a reducer's leaves and branches)."""
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
        """Return an element's position in its node's input stream, if known by now."""
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
        """Return the digest of all outputs at one of a node's ports, which has to be complete."""
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
            return Elements(data.outputs.one_by_one())
        key = (address, port)
        if key not in stream.selected:
            stream.selected[key] = _select(data, port)
        return stream.selected[key]


def _gives_all(data: ChunkData, port: Port) -> bool:
    """Return True if a port is given each output of a chunk, one by one."""
    return not port.whole and not (port.routed and data.outputs.routes is not None)


def arriving(data: ChunkData, port: Port) -> tuple[OutputColumns, Positions]:
    """Return a chunk's outputs in the form that a port takes them, singly or in lists, and the ones that travel to it.

    A list travels whole or not at all.
    """
    outputs = data.outputs if port.whole else data.outputs.one_by_one()
    return outputs, outputs.travelling(port.target if port.routed else None)


def _column(into: str | None, parts: Sequence[Elements]) -> Column:
    given = together(parts)
    return Column(given.spans, into, None if given.lists is None else given.outputs.each_count.tobytes())


def _row_range(row: Rows, piece: Slice) -> tuple[int, int]:
    if row.group_sizes is None:
        return piece.start, piece.stop
    return sum(row.group_sizes[: piece.start]), sum(row.group_sizes[: piece.stop])


def _select(data: ChunkData, port: Port) -> Elements:
    """Return the elements that a chunk gives to a port that takes some of them, or whole lists."""
    outputs, places = arriving(data, port)
    given = outputs if len(places) == outputs.size else outputs.pick(places)
    if not port.whole:
        return Elements(given)
    bounds = pairwise((DIGEST_SIZE * given.starts).tolist())
    lists = [
        given.digests[low:high] if count == BARE else list_digest(given.digests[low:high])
        for count, (low, high) in zip(given.each_count.tolist(), bounds, strict=True)
    ]
    return Elements(given, b"".join(lists))
