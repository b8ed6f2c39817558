"""One writer: takes finished tasks, keeps them safe in its spool, and commits them as segments."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.core.batches.output_columns import OutputColumns
from tensorlake_nb.core.keys import TaskKey, picture_key
from tensorlake_nb.errors import CheckpointNotFoundError
from tensorlake_nb.store.codecs.codec import Encoded
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.format.outcomes import Entry, Placed, StoredObject, TaskOutcome
from tensorlake_nb.store.format.paths import segment_path, unique_name, writer_part
from tensorlake_nb.store.format.segment import LARGE_BYTES, Segment
from tensorlake_nb.store.format.segment_builder import SealedSegment, SegmentBuilder
from tensorlake_nb.store.writing.segment_store import SegmentStore
from tensorlake_nb.store.writing.spool import Spool


class Writer:
    """Writes outcomes under one fingerprint; made by `Store.writer`, thread-safe.

    On a local store what was added is safe from the process's death at once; on any other once it is flushed.
    """

    def __init__(
        self, store: SegmentStore, fingerprint: str, name: str, *, spooled: bool = True, after: str | None = None
    ) -> None:
        self._store, self.fingerprint, self.name = store, fingerprint, writer_part(name)
        self._after = after
        self._lock = threading.RLock()
        self._spool: Spool | None = None
        if spooled and isinstance(store.filesystem, LocalFilesystem):
            self._spool = Spool(store.filesystem, fingerprint, self.name, store.signing_keys)
        self._begun: dict[bytes, None] = {}
        self._turns: dict[bytes, None] = {}
        self._builder = self._new_builder()
        self._sealed: list[SealedSegment] = []
        self._flushed: list[Segment] = []
        #: Where each task is; made when it is first asked for.
        self._places: dict[bytes, tuple[Segment, int]] | None = None
        self._left: tuple[dict[TaskKey, TaskOutcome], tuple[bytes, ...]] | None = None
        #: Seconds of compute, and bytes of outputs, added since the last flush.
        self.at_risk_s = 0.0
        self.pending_bytes = 0

    def known(self) -> dict[TaskKey, TaskOutcome]:
        """Return the tasks that earlier writers of this name left, by key: safe, and not to be computed again."""
        return self._earlier()[0]

    def interrupted(self) -> tuple[bytes, ...]:
        """Keys that earlier writers of this name had begun and not finished: what they were at when they died."""
        return self._earlier()[1]

    def begin(self, key: bytes) -> None:
        """Note that a task is being computed."""
        with self._lock:
            self._begun[key] = None
            if self._spool is not None:
                self._spool.begun(key)

    def begin_in_turn(self, keys: Sequence[bytes]) -> None:
        """Note tasks that are going to be computed one after the other: each begins when the one before has ended.

        They replace those noted before; none: what is left of them won't be computed.
        """
        with self._lock:
            is_news = bool(keys or self._turns)
            self._turns = dict.fromkeys(keys)
            if self._spool is not None and is_news:
                self._spool.turns(keys)

    def end(self, key: bytes) -> None:
        """Note that a task has ended and nothing is kept of it: it has failed, or is a step on the way."""
        with self._lock:
            self._end(key)
            if self._spool is not None:
                self._spool.ended(key)

    def _end(self, key: bytes) -> None:
        self._begun.pop(key, None)
        self._turns.pop(key, None)

    def add(self, entry: Entry) -> None:
        """Take in a finished task; a picture that a value comes with is a task of its own.

        Raises
        ------
        StoreUnavailableError
            It isn't safe: nothing was taken in, and the same may be added again.
        """
        with self._lock:
            given = [value for value in entry.values if isinstance(value, Encoded)]
            for value in given:
                if value.picture is not None:
                    self._put(Entry(picture_key(value.digest), BARE, (value.picture,)))
            values = [value.alone() for value in given]
            # What is placed stays: a smaller accumulator is to make room for the next one.
            least = self._store.least_placed_bytes if entry.supersedes is None else LARGE_BYTES
            kept = [self._kept(value, least) for value in values]
            self._put(replace(entry, values=tuple(kept)))
            self._end(entry.key)
            self.at_risk_s += entry.duration_s
            for value, held in zip(values, kept, strict=True):
                if isinstance(held, Encoded):
                    if not held.is_plain:  # else the segment's payload is kept as a whole
                        self._store.remember_value(held)
                elif value.size_bytes <= self._store.largest_remembered_bytes:
                    self._store.remember_value(value.detached())

    def _put(self, entry: Entry) -> None:
        if self._spool is not None:
            self._spool.add(entry)
        self._builder.add(entry)
        self.pending_bytes += entry.size_bytes

    def flush(self) -> None:
        """Commit what was added as a segment: its objects, then its record.

        Raises
        ------
        StoreUnavailableError
            Not committed, but kept: flush again.
        """
        with self._lock:
            if len(self._builder):
                self._sealed.append(self._builder.seal(keys=self._store.signing_keys))
                self._builder = self._new_builder()
            while self._sealed:
                self._commit(self._sealed[0])
                del self._sealed[0]
            if self._spool is not None:
                self._spool.restart(tuple(self._begun), tuple(self._turns))
            self.at_risk_s, self.pending_bytes = 0.0, 0

    def close(self) -> None:
        """Flush, and end the spool."""
        with self._lock:
            self.flush()
            if self._spool is not None:
                self._spool.remove()

    def abandon(self) -> None:
        """Let go without flushing, as if the process had died: what is in the spool can be recovered."""
        with self._lock:
            if self._spool is not None:
                self._spool.release()

    def commit_all(self, entries: Iterable[Entry], interrupted: Sequence[bytes], *, vouched: bool) -> Segment | None:
        """Commit entries that another writer left, as a segment; ``None`` if there are none.

        Parameters
        ----------
        vouched
            They are known to be the user's own, and may be signed.
        """
        with self._lock:
            for entry in entries:
                values = [value for value in entry.values if isinstance(value, Encoded)]
                self._builder.add(replace(entry, values=tuple(self._kept(value, LARGE_BYTES) for value in values)))
            if not len(self._builder) and not interrupted:
                return None
            return self._commit(self._builder.seal(interrupted, self._store.signing_keys if vouched else None))

    def locate(self, key: bytes) -> TaskOutcome:
        """Return the place of a task's outputs, once it is flushed.

        Raises
        ------
        CheckpointNotFoundError
            It wasn't added, isn't flushed yet, or was superseded.
        """
        with self._lock:
            if self._places is None:
                self._places = {}
                for segment in self._flushed:
                    for position, flushed in enumerate(segment.all_keys()):
                        self._places[flushed] = (segment, position)
            place = self._places.get(key)
        if place is None:
            raise CheckpointNotFoundError(f"task {key.hex()} isn't among what writer {self.name} has flushed")
        segment, position = place
        return self._store.completed(segment.outcome(position))

    def locate_block(self, keys: Sequence[bytes]) -> OutputColumns | None:
        """Return the outputs of many tasks, if they were flushed together, in that order, and have nothing else."""
        with self._lock:
            found = (segment.block(keys) for segment in reversed(self._flushed))
            return next((block for block in found if block is not None), None)

    def _new_builder(self) -> SegmentBuilder:
        written = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
        return SegmentBuilder(f"{self.fingerprint}/{unique_name(self.name, self._after)}", written)

    def _kept(self, value: Encoded, least_bytes: int) -> Encoded | Placed:
        if value.size_bytes < least_bytes:
            return value.detached()
        placed, objects = self._builder.place(value)
        base = segment_path(placed.segment)
        listed: list[StoredObject] = []
        # What they are listed with is worked out while the disk is busy with them, unless they may lie there already.
        digesting = threading.Thread(target=lambda: listed.extend(StoredObject.of(*each) for each in objects))
        digesting.start()
        try:
            if self._store.is_known(value.digest):
                digesting.join()
                for (path, data), item in zip(objects, listed, strict=True):
                    self._store.put_object(f"{base}/{path}", data, item)
            else:
                for path, data in objects:
                    self._store.filesystem.put_atomic(f"{base}/{path}", data)
        finally:
            digesting.join()
        self._store.note(value.digest, base, listed)
        return replace(placed, objects=tuple(listed))

    def _commit(self, sealed: SealedSegment) -> Segment:
        segment = self._store.commit(sealed)
        self._flushed.append(segment)
        self._places = None
        return segment

    def _earlier(self) -> tuple[dict[TaskKey, TaskOutcome], tuple[bytes, ...]]:
        with self._lock:
            if self._left is None:
                own = None if self._spool is None else self._spool.name
                self._left = self._store.left_by(self.fingerprint, self.name, own)
            return self._left
