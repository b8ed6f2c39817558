"""Spools that other writers left → segments."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.codecs.codec import NDARRAY, PICKLE, Encoded
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.retrying import expected
from tensorlake_nb.store.format.compression import decompress
from tensorlake_nb.store.format.outcomes import Entry, Placed, StoredObject
from tensorlake_nb.store.format.paths import (
    SPOOL_SUFFIX,
    SPOOLS,
    checked_fingerprint,
    segment_path,
    spools_path,
    writer_of,
)
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.spool_frames import SpoolContents, read_spool
from tensorlake_nb.store.format.zarr_arrays import Layout, chunks_of
from tensorlake_nb.store.writing.abandoned_spools import take_over
from tensorlake_nb.store.writing.segment_store import SegmentStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of `Store.recover`.

    Attributes
    ----------
    tasks
        Finished tasks of dead writers that are in segments now.
    interrupted
        Keys of tasks that they were at when they died.
    spools
        How many spools were turned into segments.
    alive
        How many spools were left to their writers, who live.
    """

    tasks: int = 0
    interrupted: tuple[bytes, ...] = ()
    spools: int = 0
    alive: int = 0


def recover(store: SegmentStore) -> Recovery:
    """Turn every spool of a dead writer into a segment, and leave the others alone."""
    if not isinstance(store.filesystem, LocalFilesystem):
        return Recovery()
    tasks = spools = alive = 0
    interrupted: list[bytes] = []
    for fingerprint in store.filesystem.list(SPOOLS):
        for name in spool_names(store, fingerprint):
            recovered = recover_spool(store, fingerprint, name)
            if recovered is None:
                alive += 1
                continue
            contents, segments = recovered
            spools += 1
            tasks += sum(map(len, segments))
            interrupted += contents.interrupted
    return Recovery(tasks, tuple(interrupted), spools, alive)


def spool_names(store: SegmentStore, fingerprint: str, writer: str | None = None) -> list[str]:
    """File names of a function's spools, of one writer or of all."""
    try:
        names = store.filesystem.list(spools_path(checked_fingerprint(fingerprint)))
    except ValueError:  # not a fingerprint: a foreign directory
        return []
    names = sorted(name for name in names if name.endswith(SPOOL_SUFFIX))
    return [name for name in names if writer is None or writer_of(name) == writer]


def recover_spool(store: SegmentStore, fingerprint: str, name: str) -> tuple[SpoolContents, list[Segment]] | None:
    """Turn one spool into a segment, if its writer is dead, and remove it.

    A second kernel that does the same at the same time finds it held and leaves it alone; were it to write the same
    tasks into another segment, that would do no harm either.
    """
    relative = f"{spools_path(fingerprint)}/{name}"
    assert isinstance(store.filesystem, LocalFilesystem)
    abandoned = take_over(store.filesystem.path(relative), store.keys)
    if abandoned is None:
        return None
    with abandoned:
        contents = abandoned.contents
        if contents.damage is not None:
            store.report(f"{relative}: {contents.damage}")
        segments: list[Segment] = []
        if contents.fingerprint == fingerprint:
            segments = save(store, contents, keep_interrupted=True)
        if os.name != "nt":  # Windows can't remove an open file; it is recovered again, into nothing new
            store.filesystem.remove(relative)
    if os.name == "nt":
        store.filesystem.remove(relative)
    if contents.entries:
        logger.info("recovered finished tasks from %s: %d", relative, len(contents.entries))
    return contents, segments


def live_spools(
    store: SegmentStore, fingerprint: str, writer: str | None = None, own: str | None = None
) -> list[SpoolContents]:
    """Return the present contents of spools, all but the one named ``own``."""
    found = []
    for name in spool_names(store, fingerprint, writer):
        if name == own:
            continue
        try:
            raw = store.filesystem.get(f"{spools_path(fingerprint)}/{name}")
        except FileNotFoundError:
            continue
        contents = read_spool(raw, store.keys)
        if contents.fingerprint == fingerprint:
            found.append(contents if store.trusted else _readable(contents))
    return found


def _readable(contents: SpoolContents) -> SpoolContents:
    """Return a spool without the pickles that no signature covers."""
    entries = {
        key: entry
        for key, entry in contents.entries.items()
        if key in contents.vouched or all(value.codec != PICKLE for value in entry.values)
    }
    return replace(contents, entries=entries)


def save(store: SegmentStore, contents: SpoolContents, *, keep_interrupted: bool = False) -> list[Segment]:
    """Write what a spool holds and no segment of its writer does as a new segment, if that is anything.

    Entries not known to be the user's own go into a segment by themselves, which isn't signed.
    """
    committed: set[bytes] = set()
    if contents.entries:
        for segment in store.segments_of(contents.fingerprint, contents.writer):
            committed.update(segment.all_keys())
    entries = [entry for key, entry in contents.entries.items() if key not in committed]
    interrupted = contents.interrupted if keep_interrupted else ()
    own = [entry for entry in entries if store.trusted or entry.key in contents.vouched]
    others = [entry for entry in entries if not (store.trusted or entry.key in contents.vouched)]
    written = [
        store.write_segment(contents.fingerprint, contents.writer, _unplaced(store, some), begun, vouched=vouched)
        for some, begun, vouched in ((own, interrupted, True), (others, (), False))
    ]
    return [segment for segment in written if segment is not None]


def _unplaced(store: SegmentStore, entries: Iterable[Entry]) -> Iterable[Entry]:
    """Entries with their large values read back from where the dead writer had put them, as far as they are there."""
    for entry in entries:
        try:
            values = tuple(_fetched(store, value) if isinstance(value, Placed) else value for value in entry.values)
        except (CorruptCheckpointError, ValueError) as error:
            store.report(str(error))
            continue
        yield replace(entry, values=values, supersedes=None)


def _fetched(store: SegmentStore, placed: Placed) -> Encoded:
    base, layout = segment_path(placed.segment), placed.layout
    listed = {item.path: item for item in placed.objects}
    rows = (placed.row, placed.row + 1) if placed.codec == NDARRAY else (0, placed.size_bytes)
    parts = []
    for index, start, stop in chunks_of(layout, *rows):
        item = listed.get(layout.object_name(index))
        if item is None:
            raise CorruptCheckpointError(f"{base}/{layout.name} has a part that its writer's spool doesn't know")
        parts.append(_object(store, f"{base}/{item.path}", item, layout)[: stop - start])
    data = b"".join(parts)
    if placed.codec != NDARRAY:
        return Encoded(placed.codec, data, placed.digest)
    return Encoded(NDARRAY, np.frombuffer(data, dtype=layout.dtype).reshape(layout.shape[1:]), placed.digest)


def _object(store: SegmentStore, path: str, listed: StoredObject, layout: Layout) -> bytes:
    try:
        raw = expected(lambda: store.filesystem.get(path))
    except FileNotFoundError:
        raise CorruptCheckpointError(f"{path} is missing") from None
    if not listed.is_in(raw):
        raise CorruptCheckpointError(f"{path} is damaged: its digest isn't the one in its writer's spool")
    try:
        return decompress(raw, layout.chunk_bytes) if layout.compressed else raw
    except ValueError as error:
        raise CorruptCheckpointError(f"{path} is damaged: {error}") from error
