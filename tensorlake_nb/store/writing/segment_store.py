"""The part of a store that writers and recovery need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.store.codecs.codec import Encoded
from tensorlake_nb.store.filesystems.protocol import Buffer, Filesystem
from tensorlake_nb.store.format.outcomes import Entry, StoredObject, TaskOutcome
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.segment_builder import SealedSegment
from tensorlake_nb.store.format.trust import Keys


class SegmentStore(Protocol):
    """A store as those see it who put segments into it.

    Attributes
    ----------
    trusted
        True if all that it holds is the user's own, signed or not.
    keys, signing_keys
        Those that spools are checked with; those that what is written is signed with, if any.
    least_placed_bytes, largest_remembered_bytes
        Values from this size on get objects of their own; values up to that size are kept in memory for a while.
    """

    filesystem: Filesystem
    trusted: bool
    keys: Keys

    @property
    def signing_keys(self) -> Keys | None: ...
    @property
    def least_placed_bytes(self) -> int: ...
    @property
    def largest_remembered_bytes(self) -> int: ...

    def is_known(self, digest: bytes) -> bool:
        """Return True if objects of such a value may lie here already."""

    def put_object(self, path: str, data: Buffer, item: StoredObject) -> None:
        """Put an object of a segment, or give an equal one that is there a second name."""

    def note(self, digest: bytes, base: str, objects: Iterable[StoredObject]) -> None:
        """Remember where the objects of a value lie."""

    def commit(self, sealed: SealedSegment) -> Segment:
        """Make a segment that was built visible to all."""

    def write_segment(
        self, fingerprint: str, writer: str, entries: Iterable[Entry], interrupted: Sequence[bytes], *, vouched: bool
    ) -> Segment | None:
        """Write entries as a segment of a writer that is gone; None where there is nothing to write."""

    def segments_of(self, fingerprint: str, writer: str | None = None) -> list[Segment]:
        """Return the usable segments of a function, of one writer or of all."""

    def completed(self, outcome: TaskOutcome) -> TaskOutcome:
        """Fill in what a segment only refers to."""

    def left_by(
        self, fingerprint: str, writer: str, own_spool: str | None
    ) -> tuple[dict[TaskKey, TaskOutcome], tuple[bytes, ...]]:
        """Return the tasks that earlier writers of a name committed, and the keys of those they had begun."""

    def remember_value(self, value: Encoded) -> None:
        """Keep a value in memory for a while."""

    def report(self, reason: str) -> None:
        """Take note of damage."""
