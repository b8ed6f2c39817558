"""What a writer is given for one finished task, and what a reader gets."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.keys import Digest, TaskKey
from tensorlake_nb.errors import InternalError
from tensorlake_nb.store.codecs.codec import Encoded
from tensorlake_nb.store.filesystems.protocol import Buffer
from tensorlake_nb.store.format.zarr_arrays import Layout

#: For each output (or for a router: for what it passes on) the names of the nodes it goes to.
Routes = tuple[tuple[str, ...], ...]

_BY_MANY_THREADS = 4 * 2**20


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a segment: its path there, and what its bytes must be."""

    path: str
    size_bytes: int
    digest: bytes

    @classmethod
    def of(cls, path: str, data: Buffer) -> StoredObject:
        """What to list for an object."""
        return cls(path, len(data), object_digest(data))

    def is_in(self, data: Buffer) -> bool:
        """Whether these are the bytes that were listed."""
        return len(data) == self.size_bytes and object_digest(data) == self.digest


def object_digest(data: Buffer) -> bytes:
    """BLAKE3 of an object's bytes; large ones by as many threads as there are cores to spare."""
    return blake3(data, max_threads=blake3.AUTO if len(data) >= _BY_MANY_THREADS else 1).digest()


@dataclass(frozen=True, slots=True)
class Placed:
    """A large value that lies in its segment already, before the record that will list it.

    Attributes
    ----------
    segment
        ``"<fingerprint>/<name>"``.
    layout
        The array that holds it, as far as it is known yet: further rows may follow.
    row
        Which row of the array, for an ``ndarray``; 0 for bytes, which have an array of their own.
    """

    codec: str
    digest: Digest
    segment: str
    layout: Layout
    row: int
    objects: tuple[StoredObject, ...]

    @property
    def size_bytes(self) -> int:
        return self.layout.row_bytes if self.codec == "ndarray" else self.layout.shape[0]


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished task on its way into a segment.

    Attributes
    ----------
    count
        `BARE` for one value, else how many outputs its list holds.
    effects
        What the call did besides, in the caller's own form.
    duration_s
        How long the call took.
    supersedes
        Key of an earlier entry of the same writer that need not be kept once this one is: the accumulator before it.
    refers
        Where its outputs lie, if they were committed before it: those of a long list, a part at a time.
    """

    key: TaskKey
    count: int
    values: tuple[Encoded | Placed, ...]
    routes: Routes | None = None
    effects: bytes | None = None
    duration_s: float = 0.0
    supersedes: TaskKey | None = None
    refers: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        outputs = len(self.values) + sum(len(span) for span in self.refers)
        if len(self.key) != 32 or self.count < BARE or outputs != (1 if self.count == BARE else self.count):
            raise InternalError(f"a count of {self.count} and {outputs} outputs, key {self.key!r:.80}")
        if self.values and self.refers:
            raise InternalError("outputs of its own and elsewhere")

    @property
    def size_bytes(self) -> int:
        return sum(value.size_bytes for value in self.values) + len(self.effects or b"")

    @property
    def is_droppable(self) -> bool:
        """Nothing of it was written yet, so it can be left out of the segment."""
        return not any(isinstance(value, Placed) for value in self.values)


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """One committed task: where its outputs lie, and what else is known of it.

    Attributes
    ----------
    count
        `BARE` for one value, else how many outputs its list holds.
    spans
        Its outputs; empty if it has none.
    digests
        Their digests end to end, 32 bytes each.
    """

    key: TaskKey
    count: int
    spans: tuple[Span, ...]
    digests: bytes
    routes: Routes | None
    effects: bytes | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class TaskBlock:
    """Consecutive tasks of one segment, all in one piece.

    Attributes
    ----------
    counts
        int32 per task: how many outputs; `BARE` for one value.
    spans, digests
        All their outputs, and their digests end to end.
    """

    counts: bytes
    spans: tuple[Span, ...]
    digests: bytes
