"""Places of elements by descent, however the work is cut: the keys of calls that aren't cacheable.

The addresses of chunks tell where elements stand within one life of a run, but a run that is gone on with may cut its
batches otherwise. A *place* doesn't know of batches. It is 32 bytes: an output has the place of the element it was
made of, and an item of a list the hash of that and of its number in the list. So no two elements of a stream share one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from blake3 import blake3

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.batches.output_columns import picked
from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.graphs.plan import FAN_IN, Plan
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, one_by_one
from tensorlake_nb.core.planning.events import Chunk
from tensorlake_nb.core.streams.rows import rows_of
from tensorlake_nb.core.streams.tables import ChunkData, Rows, Streams, arriving

#: Of what there is one of: the inputs of a run, and what a reducer emits.
ROOT = Digest(blake3(b"place/1").digest())


def item_place(place: bytes, number: int) -> bytes:
    """Return the place of an item of the list that the element at a place returned."""
    return blake3(b"place/item/1" + place + number.to_bytes(8, "little")).digest()


def placed(given: bytes, places: bytes) -> bytes:
    """Input digests of elements that count by where they stand, too; both are n times 32 bytes, end to end."""
    return b"".join(
        blake3(b"placed/1" + digest + place).digest()
        for digest, place in zip(one_by_one(given), one_by_one(places), strict=True)
    )


class PlacedStreams(Streams):
    """The streams of a run some of whose nodes call their function for each element, be it equal to another or not.

    Parameters
    ----------
    by_place
        These nodes.
    """

    def __init__(self, plan: Plan, inputs: Span, inputs_digest: Digest, by_place: Collection[str]) -> None:
        super().__init__(plan, inputs, inputs_digest)
        self._by_place = frozenset(by_place)
        self._followed = _above(plan, self._by_place)
        self._places: dict[tuple[str, Address], bytes] = {}  # of the outputs of each chunk
        self._row_places: dict[tuple[str, int], bytes] = {}

    def add(self, name: str, address: Address, data: ChunkData) -> Chunk:
        chunk = super().add(name, address, data)
        if name in self._followed:
            self._places[name, address] = self._of_outputs(name, address, data)
        return chunk

    def add_rows(self, name: str, rows: Rows) -> tuple[int, int]:
        number, n_rows = super().add_rows(name, rows)
        if name in self._followed or name in self._by_place:
            if self.plan.nodes[name].gather == "join":
                self._row_places[name, number] = self._of_join(name)
            else:
                self._row_places[name, number] = _every(b"".join(self._arrived(name, each) for each in rows.formed_of))
        return number, n_rows

    def given(self, name: str, slices: Iterable[Slice]) -> bytes:
        pieces = tuple(slices)
        digests = super().given(name, pieces)
        if name not in self._by_place:
            return digests
        return placed(digests, self.places(name, pieces))

    def places(self, name: str, slices: Iterable[Slice]) -> bytes:
        """Return the places of the elements of some slices, end to end; for ancestors of nodes that ask for them."""
        if self.plan.nodes[name].gather is None:
            return b"".join(self._arrived(name, piece) for piece in slices)
        return b"".join(
            self._row_places[name, piece.source[1]][piece.start * DIGEST_SIZE : piece.stop * DIGEST_SIZE]
            for piece in slices
        )

    def _of_outputs(self, name: str, address: Address, data: ChunkData) -> bytes:
        if self.plan.nodes[name].kind == "fold":
            return ROOT * data.outputs.n_out
        given = self._of_inputs(name) if data.slice is None else self.places(name, (data.slice,))
        if data.outputs.counts is None:
            return given
        before = 0  # items that came in earlier parts
        for part in range(address[-1] if data.slice is not None else 0):
            earlier = self.get(name, (*address[:-1], part))
            before += earlier.outputs.n_out if earlier is not None else 0
        found: list[bytes] = []
        for place, count in zip(one_by_one(given), data.outputs.each_count.tolist(), strict=True):
            if count == BARE:
                found.append(place)
            else:
                found.extend(item_place(place, before + number) for number in range(count))
        return b"".join(found)

    def _of_inputs(self, name: str) -> bytes:
        """Return the places of a node's whole input, in order, once all of it is known."""
        node = self.plan.nodes[name]
        if node.gather == "join":
            return self._of_join(name)
        if not node.ports:
            return ROOT
        ports = range(len(node.ports))
        sources = [source for index in ports for source, _ in self.port_elements(name, index)]
        everything = b"".join(self._of_port(name, source) for source in sources)
        return everything if node.gather is None else _every(everything)

    def _of_join(self, name: str) -> bytes:
        """Return the places of a join's rows, each that of the element it stands for."""
        rows = rows_of(self, name)
        ancestor = self.plan.nodes[name].ancestor
        if ancestor is None:
            return ROOT * len(rows)
        theirs = b"".join(self._places[ancestor, address] for address in self.addresses(ancestor))
        return picked(theirs, rows)

    def _arrived(self, name: str, piece: Slice) -> bytes:
        """Return the places of the elements that arrive by a node's ports."""
        if not self.plan.nodes[name].ports:
            return ROOT * piece.size
        return self._of_port(name, piece.source)[piece.start * DIGEST_SIZE : piece.stop * DIGEST_SIZE]

    def _of_port(self, name: str, source: Address) -> bytes:
        index, *address = source
        ports = self.plan.nodes[name].ports
        port = ports[index]
        places = self._places[port.parent, tuple(address)]
        data = self.get(port.parent, tuple(address))
        assert data is not None
        if port.whole or (port.routed and data.outputs.routes is not None):
            given, elements = arriving(data, port)
            places = picked(places, given.starts[elements])
        if len(ports) == 1:
            return places
        return b"".join(item_place(place, index) for place in one_by_one(places))


def _above(plan: Plan, names: Iterable[str]) -> frozenset[str]:
    """Return the ancestors of some nodes."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        for port in plan.nodes[wanted.pop()].ports:
            if port.parent not in found:
                found.add(port.parent)
                wanted.append(port.parent)
    return frozenset(found)


def _every(places: bytes) -> bytes:
    """Return the places of groups of neighbours, each that of its first element."""
    return picked(places, np.arange(0, len(places) // DIGEST_SIZE, FAN_IN))
