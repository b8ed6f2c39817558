"""The store of checkpoints: write them, find them, read their values, each byte verified on its way in.

What is committed, and what becomes of damage, is in `committed`: here are the writers, the index over a function's
segments and spools, and the values.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.errors import CorruptCheckpointError, UnreadableValueError
from tensorlake_nb.store.checkpoints.committed import CommittedRecords
from tensorlake_nb.store.codecs.classes import ClassResolver, ModuleResolver
from tensorlake_nb.store.codecs.codec import HOW_TO_TRUST, NDARRAY, PICKLE, Encoded, decode, decode_all
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.protocol import Buffer, Filesystem
from tensorlake_nb.store.format.outcomes import Entry, StoredObject, TaskOutcome
from tensorlake_nb.store.format.paths import RECORD, is_of_run, segment_path, segments_path, streams_path
from tensorlake_nb.store.format.segment import LARGE_BYTES, Segment
from tensorlake_nb.store.format.segment_builder import SealedSegment
from tensorlake_nb.store.format.spool_frames import SpoolContents
from tensorlake_nb.store.format.trust import Keys, own_keys
from tensorlake_nb.store.reading.index import Index
from tensorlake_nb.store.reading.pictures import pictures_of
from tensorlake_nb.store.reading.reader import SHARED_BYTES, Reader
from tensorlake_nb.store.reading.recent import Recent
from tensorlake_nb.store.writing import recovery
from tensorlake_nb.store.writing.recovery import Recovery
from tensorlake_nb.store.writing.writer import Writer

_MODULES = ModuleResolver()
_VALUES_BYTES = 64 * 2**20
_CHUNKS_BYTES = 64 * 2**20
_AT_ONCE_BYTES = 8 * 2**20


class Store(CommittedRecords):
    """Checkpoints, streams and runs below one URL; made by `opening.open_store`.

    Thread-safe. Pickling sends the URL: another process gets the store that it has open there, or opens it.

    Attributes
    ----------
    url
        Absolute; the same in every process.
    trusted
        Pickled values may be read: see `opening.open_store`.
    damage
        The damage found through this object, the first thousand cases; for the caller to warn about.
    """

    def __init__(
        self,
        filesystem: Filesystem,
        *,
        trusted: bool,
        options: Mapping[str, Any] | None = None,
        keys: Keys | None = None,
    ) -> None:
        super().__init__(filesystem, trusted=trusted, keys=keys or own_keys())
        self.options = dict(options or {})
        #: Per function the number of tasks left out, since they are unsigned pickles in an untrusted store.
        self.distrusted: dict[str, int] = {}
        self._values: Recent[Encoded] = Recent(_VALUES_BYTES)
        self._reader = Reader(filesystem, _CHUNKS_BYTES)
        #: By function, and by the run that wrote what is looked for (None: all).
        self._indexes: dict[tuple[str, str | None], Index] = {}
        _OPEN.add(self)

    @property
    def largest_remembered_bytes(self) -> int:
        """Values up to this size are kept in memory for a while after they are written.

        A local disk gives a large one back from the system's cache as quickly as it can be copied twice.
        """
        return LARGE_BYTES if self.is_local else self._values.most_bytes // 4

    @property
    def least_placed_bytes(self) -> int:
        """Values from this size on get objects of their own, at once.

        On a local disk an object costs little, and one of its own may share its place with an equal one.
        """
        return LARGE_BYTES // 4 if self.is_local else LARGE_BYTES

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopened, (self.url, self.trusted, self.options))

    # Writing

    def writer(self, fingerprint: str, name: str, *, spooled: bool = True, renews: bool = False) -> Writer:
        """Return a writer of outcomes; a second one of the same name finds what the first left.

        Parameters
        ----------
        spooled
            Without a spool nothing is safe until it is flushed: for one small task that is flushed at once.
        renews
            Its outputs replace those that are there now, even if a clock was set back since.
        """
        segments_path(fingerprint)
        newest = self._listed(fingerprint)[-1:] if renews else ()
        return Writer(self, fingerprint, name, spooled=spooled, after=newest[0] if newest else None)

    def put_object(self, path: str, data: Buffer, item: StoredObject) -> None:
        """Put an object of a segment; on a local disk a large one that is there already gets a second name instead."""
        filesystem = self.filesystem
        if item.size_bytes < SHARED_BYTES or not isinstance(filesystem, LocalFilesystem):
            filesystem.put(path, data)
            return
        known = self._reader.lying.get(item.digest)
        if known is not None and filesystem.link(known, path, data):
            return
        filesystem.put_atomic(path, data)  # never in place: what is there may have other names
        self._reader.note(path, item)

    def is_known(self, digest: bytes) -> bool:
        """Return True if objects of such a value may lie here, by what this process has read and written."""
        return self._reader.lying.get((digest,)) is not None

    def note(self, digest: bytes, base: str, objects: Iterable[StoredObject]) -> None:
        """Remember where the objects of a large value lie."""
        self._reader.lying.put((digest,), base, 1)
        for item in objects:
            self._reader.note(f"{base}/{item.path}", item)

    def commit(self, sealed: SealedSegment) -> Segment:
        """Put a segment: its objects first, its record last."""
        base = segment_path(sealed.name)
        for path, data, item in sealed.objects:
            self.put_object(f"{base}/{path}", data, item)
        segment = self._segment(sealed.name, f"{base}/{RECORD}", sealed.record)
        self.filesystem.put_atomic(segment.path, sealed.record)
        self._records.put(segment.name, segment, segment.size_bytes)
        for path, chunk in sealed.payload:
            self._reader.keep(segment.name, path, chunk)
        return segment

    def write_segment(
        self, fingerprint: str, writer: str, entries: Iterable[Entry], interrupted: Sequence[bytes], *, vouched: bool
    ) -> Segment | None:
        """Write entries as a segment of some writer at once; ``None`` if there is nothing to write."""
        builder = Writer(self, fingerprint, writer, spooled=False)
        return builder.commit_all(entries, interrupted, vouched=vouched)

    def remember_value(self, value: Encoded) -> None:
        """Keep a value in memory for a while: what follows in this process will soon ask for it."""
        self._values.put(bytes(value.digest), value, value.size_bytes + 200)

    # Finding

    def index(self, fingerprint: str, *, refresh: bool = False, run: str | None = None) -> Index:
        """Every committed task of a function: one listing, then one read per segment not read before.

        Made once, then the same until ``refresh``. Spools of dead writers become segments first; those of live
        ones are looked into.

        Parameters
        ----------
        run
            Only what this run committed, by the names of its writers: how a run computes anew what others have kept.
        """
        with self._lock:
            index = self._indexes.get((fingerprint, run))
            if index is None or refresh:
                spools = []  # before the segments: a writer that flushes in between is then seen twice, not never
                if self.is_local:
                    for name in recovery.spool_names(self, fingerprint):
                        recovery.recover_spool(self, fingerprint, name)
                    spools = recovery.live_spools(self, fingerprint)
                segments = self.segments_of(fingerprint)
                if run is not None:
                    segments = [segment for segment in segments if is_of_run(segment.name, run)]
                    spools = [spool for spool in spools if is_of_run(spool.writer, run)]
                index = Index(segments, spools, self._copied, self.completed)
                self._distrust(fingerprint, index.unvouched)
                self._indexes[fingerprint, run] = index
            return index

    def holds(self, fingerprint: str) -> bool:
        """Return True if the store ever kept anything for a function, by at most one listing and without a read.

        A stream whose outputs lie elsewhere (a router's), or that has none, may outlive the function's segments.
        """
        return (
            bool(self._listed(fingerprint))
            or (self.is_local and bool(recovery.spool_names(self, fingerprint)))
            or bool(self.filesystem.list(streams_path(fingerprint)))
        )

    def is_being_written(self, fingerprint: str, writer: str) -> bool:
        """Return True while a live process writes under this name; False where the store has no spools to tell it."""
        if not self.is_local:
            return False
        names = recovery.spool_names(self, fingerprint, writer)
        for name in names:
            recovery.recover_spool(self, fingerprint, name)  # leaves those of the living
        return bool(names) and bool(recovery.spool_names(self, fingerprint, writer))

    def left_by(
        self, fingerprint: str, writer: str, own_spool: str | None
    ) -> tuple[dict[TaskKey, TaskOutcome], tuple[bytes, ...]]:
        """Return the tasks that writers of one name have committed, and those begun but not finished."""
        begun: dict[bytes, None] = {}
        if self.is_local:
            for name in recovery.spool_names(self, fingerprint, writer):
                if name != own_spool:
                    recovery.recover_spool(self, fingerprint, name)
            for contents in recovery.live_spools(self, fingerprint, writer, own_spool):
                begun.update(dict.fromkeys(contents.interrupted))
                recovery.save(self, contents)
        known: dict[TaskKey, TaskOutcome] = {}
        for segment in self.segments_of(fingerprint, writer):
            known.update(self._outcomes(segment))
            begun.update(dict.fromkeys(segment.interrupted))
        return known, tuple(key for key in begun if key not in known)

    def _copied(self, contents: SpoolContents) -> dict[TaskKey, TaskOutcome]:
        recovery.save(self, contents)
        known: dict[TaskKey, TaskOutcome] = {}
        for segment in self.segments_of(contents.fingerprint, contents.writer):
            known.update(self._outcomes(segment))
        return known

    def _distrust(self, fingerprint: str, tasks: int) -> None:
        """Say what is left out, and how it would not be."""
        self.distrusted[fingerprint] = tasks
        if tasks:
            self.report(
                f"{self.url} holds {tasks} outputs of function {fingerprint[:8]} as pickles, which are code, without "
                f"your signature: they are computed again. {HOW_TO_TRUST}"
            )

    # Reading

    def read(self, spans: Iterable[Span], resolver: ClassResolver = _MODULES) -> list[Any]:
        """Return the values of outputs, each a fresh one.

        Raises
        ------
        CorruptCheckpointError, CheckpointNotFoundError
            Something is damaged or missing; the segment is marked, so that it won't be found again.
        UnreadableValueError
            A value needs a library or class that isn't there; the error has its pictures, if any were kept.
        UntrustedCheckpointError
            A pickle, in a store that isn't trusted.
        """
        values: list[Any] = []
        wanted = tuple(spans)
        for span in wanted:
            segment = self._referred(span)
            outputs = range(span.start, span.stop)
            try:
                at_once = self._at_once(segment, span, resolver)
                if at_once is not None:
                    values.extend(at_once)
                    continue
                if len(outputs) > 1:
                    self._reader.prefetch(segment, [n for n in outputs if self._remembered(segment, n) is None])
                values.extend(self._value(segment, output, resolver) for output in outputs)
            except CorruptCheckpointError as error:
                self.quarantine(segment.name, str(error))
                raise
            except UnreadableValueError as error:
                error.pictures = pictures_of(self, wanted)
                raise
        return values

    def stored_bytes(self, span: Span) -> int:
        """About how many bytes some outputs take."""
        segment = self._referred(span)
        bounds = segment.in_payload(span.start, span.stop)
        return bounds[-1] - bounds[0] if bounds else segment.array_bytes(span.start, span.stop)

    def _at_once(self, segment: Segment, span: Span, resolver: ClassResolver) -> list[Any] | None:
        """Small values that lie side by side; ``None`` if they don't."""
        bounds = segment.in_payload(span.start, span.stop)
        if not bounds or bounds[-1] - bounds[0] > _AT_ONCE_BYTES:
            return None
        codecs = segment.codecs(span.start, span.stop)
        if PICKLE in codecs:  # it may be remembered, and then needs no trust
            return None
        data, first = self._reader.payload(segment, bounds[0], bounds[-1]), bounds[0]
        parts = [data[low - first : high - first] for low, high in pairwise(bounds)]
        return decode_all(codecs, parts, resolver=resolver, trusted=segment.vouched)

    def _remembered(self, segment: Segment, output: int) -> Encoded | None:
        return self._values.get(bytes(segment.digest(output)))

    def _value(self, segment: Segment, output: int, resolver: ClassResolver) -> Any:
        remembered = self._remembered(segment, output)
        if remembered is not None:  # written by this process, so there is nothing to trust
            return decode(remembered.codec, remembered.data, resolver=resolver)
        codec, stored = segment.codec(output), self._reader.stored(segment, output)
        if (len(stored) if isinstance(stored, bytes) else stored.nbytes) >= self.least_placed_bytes:
            self.note(segment.digest(output), segment_path(segment.name), ())
        if not isinstance(stored, bytes):
            if codec != NDARRAY:
                raise CorruptCheckpointError(f"{segment.path} gives an array the codec {codec!r:.80}")
            return stored
        return decode(codec, stored, resolver=resolver, trusted=segment.vouched)

    def open_array(self, spans: Sequence[Span]) -> Any:
        """Equal-shaped arrays, stacked along a new first axis and opened lazily.

        Returns
        -------
        array
            A ``zarr.Array`` for all the arrays of one segment, else a ``dask.array.Array``, or a ``zarr.Array`` again
            where some are kept with other values. Every chunk is verified when it is read.

        Raises
        ------
        UsageError
            The outputs aren't arrays of one shape and dtype.
        """
        # zarr and dask take longer to import than most runs to replay, and nothing else here needs them.
        return import_module("tensorlake_nb.store.reading.lazy_arrays").open_array(self, spans)

    def open_zarr(self, spans: Sequence[Span]) -> Any:
        """Return outputs as one ``zarr.Array``, whatever segments they lie in."""
        return import_module("tensorlake_nb.store.reading.lazy_arrays").open_zarr(self, spans)

    def stored_object(self, segment: Segment, path: str) -> bytes:
        """One object of a segment, verified; damage marks the segment."""
        try:
            return self._reader.object(segment, path)
        except CorruptCheckpointError as error:
            self.quarantine(segment.name, str(error))
            raise

    # Damage

    def recover(self) -> Recovery:
        """Turn the spools of dead writers into segments; nothing to do on a store without spools."""
        return recovery.recover(self)

    def quarantine(self, segment: str, reason: str) -> None:
        super().quarantine(segment, reason)
        of = segment.partition("/")[0]
        with self._lock:  # after the mark: an index that is made until then may still name the segment
            for known in [known for known in self._indexes if known[0] == of]:
                del self._indexes[known]

    def forget(self) -> None:
        super().forget()
        with self._lock:
            self._indexes.clear()

    def _after_fork(self) -> None:
        self._lock = threading.RLock()
        self._records.clear()
        self._values.clear()
        self._reader.recent.clear()
        self._reader.lying.clear()


_OPEN: weakref.WeakSet[Store] = weakref.WeakSet()


def _renew() -> None:
    for store in list(_OPEN):
        store._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def _reopened(url: str, trusted: bool, options: Mapping[str, Any]) -> Store:
    # opening imports this module; a store arriving from another process is the one thing here that opens stores.
    opening = import_module("tensorlake_nb.store.checkpoints.opening")
    reopened: Store = opening.open_store(url, trusted=trusted, options=options, make=False)
    return reopened
