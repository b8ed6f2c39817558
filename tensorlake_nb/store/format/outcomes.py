"""The outcome of a finished task, for writers and for readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blake3 import blake3

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.batches.output_columns import OutputColumns, Routes, Targets, concat
from tensorlake_nb.core.keys import Digest, TaskKey
from tensorlake_nb.errors import InternalError
from tensorlake_nb.store.codecs.codec import Encoded
from tensorlake_nb.store.filesystems.protocol import Buffer
from tensorlake_nb.store.format.zarr_arrays import Layout

_BY_MANY_THREADS = 4 * 2**20


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a segment: its path there, and what its bytes must be."""

    path: str
    size_bytes: int
    digest: bytes

    @classmethod
    def of(cls, path: str, data: Buffer) -> StoredObject:
        """Return the list entry for an object."""
        return cls(path, len(data), object_digest(data))

    def is_in(self, data: Buffer) -> bool:
        """Return True if these are the bytes that were listed."""
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
    routes
        Where each output travels, by name; ``None``: everywhere.
    effects
        The call's effects beside its outputs, in the caller's own form.
    duration_s
        How long the call took.
    supersedes
        Key of an earlier entry of the same writer that need not be kept once this one is: the accumulator before it.
    refers
        Where its outputs lie, if they were committed before it: those of a long list, a part at a time.
    passes
        As in `TaskOutcome`.
    """

    key: TaskKey
    count: int
    values: tuple[Encoded | Placed, ...]
    routes: Routes | None = None
    effects: bytes | None = None
    duration_s: float = 0.0
    supersedes: TaskKey | None = None
    refers: tuple[Span, ...] = ()
    passes: Targets | None = None

    def __post_init__(self) -> None:
        outputs = len(self.values) + sum(len(span) for span in self.refers)
        if len(self.key) != 32 or self.count < BARE or outputs != (1 if self.count == BARE else self.count):
            raise InternalError(f"a count of {self.count} and {outputs} outputs, key {self.key!r:.80}")
        if self.values and self.refers:
            raise InternalError("outputs of its own and elsewhere")
        if self.routes is not None and len(self.routes) != outputs:
            raise InternalError(f"routes of {len(self.routes)} outputs for {outputs}")

    @property
    def told_routes(self) -> tuple[Targets | None, ...] | None:
        """Targets as records hold them: of each output, or of what is passed on; `None` if nothing is said of them."""
        if self.passes is not None:
            return (self.passes,)
        return None if self.routes is None else self.routes.each()

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
    outputs
        Its outputs, as one element.
    passes
        The targets that a router chose for its input, which travels on as it lies: it has no outputs then.
    """

    key: TaskKey
    outputs: OutputColumns
    effects: bytes | None
    duration_s: float
    passes: Targets | None = None


def outputs_of(outcomes: Sequence[TaskOutcome], passed: OutputColumns | None) -> OutputColumns:
    """Return the outputs of consecutive tasks; of a router that passes its inputs on as they lie, these: ``passed``."""
    if passed is None:
        return concat([outcome.outputs for outcome in outcomes])
    return replace(passed, routes=Routes.of(outcome.passes for outcome in outcomes))
