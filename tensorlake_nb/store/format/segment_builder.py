"""Outputs → the objects of one segment and its record; no I/O. How a segment is laid out is told in `segment`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tensorlake_nb.core.batches.output_columns import Targets
from tensorlake_nb.core.keys import TaskKey, picture_key
from tensorlake_nb.store.codecs.codec import NDARRAY, PICKLE, Encoded
from tensorlake_nb.store.filesystems.protocol import Buffer
from tensorlake_nb.store.format.compression import compress, pays
from tensorlake_nb.store.format.outcomes import Entry, Placed, StoredObject
from tensorlake_nb.store.format.record import base64_of, folded, write_record
from tensorlake_nb.store.format.segment import PAYLOAD, UNUSED
from tensorlake_nb.store.format.trust import Keys
from tensorlake_nb.store.format.zarr_arrays import (
    CHUNK_BYTES,
    LARGE_CHUNK_BYTES,
    Layout,
    byte_string,
    cut,
    large_rows,
    stacked,
)

#: Small arrays of more different shapes than this go to the payload: an object for each would be too many.
_MOST_SHAPES = 4


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """All that is to be put for a segment: its objects by path, then its record.

    Attributes
    ----------
    payload
        The chunks of its payload by path, as they are read.
    """

    name: str
    objects: tuple[tuple[str, Buffer, StoredObject], ...]
    record: bytes
    payload: tuple[tuple[str, bytes], ...] = ()


class SegmentBuilder:
    """Gathers the entries of one segment to be.

    Large values are placed as they come: the caller puts their objects at once, so that they are held in memory no
    longer than needed.
    """

    def __init__(self, segment: str, written: str) -> None:
        self.segment = segment
        self._written = written
        self._entries: dict[TaskKey, Entry] = {}
        self._large: dict[str, Placed] = {}  # by array: its last row
        self._shapes: dict[tuple[str, tuple[int, ...]], str] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> Sequence[Entry]:
        return tuple(self._entries.values())

    def place(self, value: Encoded) -> tuple[Placed, list[tuple[str, Buffer]]]:
        """Give a large value its place, and say which objects to put there, and to list in it, before it is added."""
        array = np.frombuffer(value.data, dtype=np.uint8) if isinstance(value.data, bytes) else value.data
        if value.codec == NDARRAY:
            shape = (array.dtype.str, array.shape)
            name = self._shapes.get(shape) or self._new_name("values")
            last = self._large.get(name)
            compressed = last.layout.compressed if last else pays(_bytes_of(array))
            row = last.row + 1 if last else 0
            layout, block, first = large_rows(name, array, row + 1, compressed), array[np.newaxis], row
            self._shapes[shape] = name
        else:
            name, row, first = self._new_name("large"), 0, 0
            layout, block = byte_string(name, len(array), pays(_bytes_of(array)), LARGE_CHUNK_BYTES), array
        objects = _objects(layout, block, first)
        placed = Placed(value.codec, value.digest, self.segment, layout, row, ())
        self._large[name] = placed
        return placed, objects

    def add(self, entry: Entry) -> None:
        """Take in an entry, in place of the one that it supersedes."""
        if entry.supersedes is not None:
            earlier = self._entries.get(entry.supersedes)
            if earlier is not None and earlier.is_droppable:
                del self._entries[entry.supersedes]
                shown = {value.digest for value in entry.values}
                for value in earlier.values:
                    if value.codec == PICKLE and value.digest not in shown:
                        self._entries.pop(picture_key(value.digest), None)
        self._entries.setdefault(entry.key, entry)

    def seal(self, interrupted: Sequence[bytes] = (), keys: Keys | None = None) -> SealedSegment:
        """Return the segment in its stored form.

        Parameters
        ----------
        interrupted
            Keys of tasks that the writer had begun and not ended when it died.
        keys
            The keys to sign it with.
        """
        entries = list(self._entries.values())
        values = [value for entry in entries for value in entry.values]
        arrays: list[dict[str, Any]] = []
        layouts: list[Layout] = []
        objects: list[tuple[str, Buffer]] = []
        listed = [item for value in values if isinstance(value, Placed) for item in value.objects]
        in_payload = self._arrange(values, arrays, layouts, objects)

        ends = np.zeros(len(values), dtype="<u8")
        parts: list[bytes] = []
        codecs: list[str] = []
        for position, value in enumerate(values):
            codecs.append(value.codec)
            if position in in_payload and isinstance(value, Encoded):
                packed = value.packed()
                assert isinstance(packed.data, bytes)
                codecs[-1] = packed.codec
                parts.append(packed.data)
                ends[position] = len(packed.data)
        payload = b"".join(parts)
        readable: list[tuple[str, bytes]] = []
        if payload:
            layout = byte_string(PAYLOAD, len(payload), pays(payload), CHUNK_BYTES)
            layouts.append(layout)
            chunks = list(cut(layout, np.frombuffer(payload, dtype=np.uint8), 0))
            readable = [(layout.object_name(index), bytes(data)) for index, data in chunks]
            objects.extend((path, compress(data) if layout.compressed else data) for path, data in readable)
        sealed = [(path, data, StoredObject.of(path, data)) for path, data in objects]
        listed += [item for _, _, item in sealed]

        fingerprint, _, name = self.segment.partition("/")
        about: dict[str, Any] = {
            "kind": "segment",
            "fingerprint": fingerprint,
            "name": name,
            "written": self._written,
            "tasks": len(entries),
            "outputs": len(values),
            "keys": base64_of(b"".join(entry.key for entry in entries)),
            "counts": base64_of(np.array([entry.count for entry in entries], dtype="<i4")),
            "durations_s": base64_of(np.array([entry.duration_s for entry in entries], dtype="<f4")),
            "digests": base64_of(b"".join(value.digest for value in values)),
            **_codecs_of(codecs),
            "ends": base64_of(np.cumsum(ends).astype("<u8")),
            "arrays": arrays,
            "objects": {item.path: [item.size_bytes, item.digest.hex()] for item in listed},
        }
        told = ((position, entry.told_routes) for position, entry in enumerate(entries))
        routes = {position: each for position, each in told if each is not None}
        effects = {position: entry.effects for position, entry in enumerate(entries) if entry.effects is not None}
        if routes:
            about["routes"] = folded(_tabled(routes))
        if effects:
            about["effects"] = folded(effects)
        refers = {
            position: [[span.segment, span.start, span.stop] for span in entry.refers]
            for position, entry in enumerate(entries)
            if entry.refers
        }
        if refers:
            about["refers"] = folded(refers)
        if interrupted:
            about["interrupted"] = base64_of(b"".join(interrupted))
        record = write_record(about, {layout.name: layout.metadata() for layout in layouts}, keys)
        return SealedSegment(self.segment, tuple(sealed), record, tuple(readable))

    def _arrange(
        self,
        values: Sequence[Encoded | Placed],
        arrays: list[dict[str, Any]],
        layouts: list[Layout],
        objects: list[tuple[str, Buffer]],
    ) -> set[int]:
        """Give every array its place, and say which values are left for the payload."""
        used: dict[str, dict[int, int]] = {}  # array → row → output
        groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        rest: set[int] = set()
        for position, value in enumerate(values):
            if isinstance(value, Placed):
                used.setdefault(value.layout.name, {})[value.row] = position
            elif isinstance(value.data, bytes):
                rest.add(position)
            else:
                groups.setdefault((value.data.dtype.str, value.data.shape), []).append(position)
        for name, rows in used.items():
            last = self._large[name]
            outputs = np.full(last.row + 1, UNUSED, dtype="<u4")
            outputs[list(rows)] = list(rows.values())
            is_array = last.codec == NDARRAY
            shape = (last.row + 1, *last.layout.shape[1:]) if is_array else last.layout.shape
            layouts.append(replace(last.layout, shape=shape))
            arrays.append({"name": name, "holds": "rows" if is_array else "bytes", "outputs": base64_of(outputs)})
        kept = sorted(groups.values(), key=len, reverse=True)[:_MOST_SHAPES]
        for positions in groups.values():
            if positions not in kept:
                rest.update(positions)
                continue
            block = np.stack([np.asarray(values[position].data) for position in positions])  # type: ignore[union-attr]
            name = self._new_name("values", used)
            used[name] = {}
            layout = stacked(name, block[0], len(block), pays(_bytes_of(block)))
            layouts.append(layout)
            arrays.append({"name": name, "holds": "rows", "outputs": base64_of(np.array(positions, dtype="<u4"))})
            objects.extend(_objects(layout, block, 0))
        return rest

    def _new_name(self, stem: str, others: Mapping[str, Any] | None = None) -> str:
        taken = {*self._large, *(others or ())}
        number = 0
        while (name := stem if not number else f"{stem}_{number}") in taken:
            number += 1
        return name


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    view: Any = array.reshape(-1).view(np.uint8)
    return memoryview(view)


def _objects(layout: Layout, block: np.ndarray[Any, Any], first: int) -> list[tuple[str, Buffer]]:
    chunks = cut(layout, block, first)
    return [(layout.object_name(index), compress(data) if layout.compressed else data) for index, data in chunks]


def _codecs_of(codecs: Sequence[str]) -> dict[str, Any]:
    table = list(dict.fromkeys(codecs))
    if len(table) < 2:
        return {"codecs": table}
    return {"codecs": table, "codec_of": base64_of(np.array([table.index(codec) for codec in codecs], dtype="u1"))}


def _tabled(routes: Mapping[int, tuple[Targets | None, ...]]) -> list[Any]:
    """Routes with each different one written once."""
    table: dict[tuple[Targets | None, ...], int] = {}
    numbers = {position: table.setdefault(each, len(table)) for position, each in routes.items()}
    return [list(table), numbers]
