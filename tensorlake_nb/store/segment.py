"""Outputs ↔ the objects of one segment and its record; no I/O.

A segment is a Zarr group. Equal-shaped arrays are stacked in arrays of it (``values``, ``values_1``, …), everything
else lies end to end in the byte string ``payload``, and a large value that is no array has a byte string of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batch import BARE, Span
from tensorlake_nb.core.keys import Digest, TaskKey
from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.arrays import CHUNK_BYTES, LARGE_CHUNK_BYTES, Layout, byte_string, cut, large_rows, stacked
from tensorlake_nb.store.codec import NDARRAY, PICKLE, Encoded
from tensorlake_nb.store.compression import Buffer, compress, pays
from tensorlake_nb.store.entry import Entry, Placed, Routes, StoredObject, TaskBlock, TaskOutcome
from tensorlake_nb.store.paths import is_object, is_part
from tensorlake_nb.store.record import base64_of, bytes_of, folded, numbers_of, read_record, unfolded, write_record
from tensorlake_nb.store.signing import Keys

PAYLOAD = "payload"
#: A value of this size is written at once, in chunks of its own.
LARGE_BYTES = 2**20
#: Small arrays of more different shapes than this go to the payload: an object for each would be too many.
_MOST_SHAPES = 4
_UNUSED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """All that is to be put for a segment: its objects by path, then its record.

    Attributes
    ----------
    payload
        The chunks of its payload by path, as they are read.
    """

    name: str
    objects: tuple[tuple[str, Buffer], ...]
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
        self._entries.setdefault(entry.key, entry)

    def seal(self, interrupted: Sequence[bytes] = (), keys: Keys | None = None) -> SealedSegment:
        """The segment as it is to be put.

        Parameters
        ----------
        interrupted
            Keys of tasks that the writer had begun and not ended when it died.
        keys
            What to sign it with.
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
        listed += [StoredObject.of(path, data) for path, data in objects]

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
        routes = {position: entry.routes for position, entry in enumerate(entries) if entry.routes is not None}
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
        return SealedSegment(self.segment, tuple(objects), record, tuple(readable))

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
            outputs = np.full(last.row + 1, _UNUSED, dtype="<u4")
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


def _tabled(routes: Mapping[int, Routes]) -> list[Any]:
    """Routes with each different one written once."""
    table: dict[Routes, int] = {}
    for route in routes.values():
        table.setdefault(route, len(table))
    return [list(table), {position: table[route] for position, route in routes.items()}]


class Segment:
    """A committed segment, as its record tells.

    Attributes
    ----------
    keys, counts, digests
        Per task: 32-byte keys (as ``S32``) and counts (int32, `BARE` for one value); per output: digests end to end.
    starts
        Position of each task's first output, and one more at the end.
    objects
        Every object of the segment by path, with its length and digest.
    refers
        By position of a task whose outputs lie in other segments: where.
    interrupted
        Keys of tasks that its writer had begun and not ended when it died.
    vouched
        The user wrote it: its pickles may be loaded.
    record
        The record as it is stored.
    """

    def __init__(self, name: str, path: str, raw: bytes, *, vouched: bool = False) -> None:
        """Raises CorruptCheckpointError or StoreVersionError if the record isn't right."""
        about, arrays = read_record(path, raw)
        self.vouched = vouched
        try:
            self._read(name, about, arrays)
        except Exception as error:  # whatever a well-signed but senseless record makes of this
            raise CorruptCheckpointError(f"{path} isn't the record of {name}: {error!r}") from error
        self.name, self.path, self.record = name, path, raw

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return 3 * len(self.record)

    @property
    def outputs(self) -> int:
        """How many outputs it holds."""
        return len(self.digests) // 32

    @property
    def written(self) -> str:
        """When it was made, as ISO text; also what tells the newer of two."""
        return str(self._about["written"])

    def outcome(self, task: int) -> TaskOutcome:
        """The task at a position. Of one that refers to other segments, the digests are there: `Store.completed`."""
        start, stop = int(self.starts[task]), int(self.starts[task + 1])
        return TaskOutcome(
            TaskKey(self._keys[32 * task : 32 * task + 32]),
            int(self.counts[task]),
            self.spans(task),
            self.digests[32 * start : 32 * stop],
            self._routes().get(task),
            self._effects().get(task),
            float(self._durations[task]),
        )

    def spans(self, task: int) -> tuple[Span, ...]:
        """Where the outputs of the task at a position lie."""
        start, stop = int(self.starts[task]), int(self.starts[task + 1])
        return (Span(self.name, start, stop),) if stop > start else self.refers.get(task, ())

    def outcomes(self) -> dict[TaskKey, TaskOutcome]:
        """All tasks by key."""
        return {outcome.key: outcome for outcome in map(self.outcome, range(len(self)))}

    def all_keys(self) -> Iterable[TaskKey]:
        """Keys of its tasks, in order."""
        return map(TaskKey, _split(self._keys))

    def digest(self, output: int) -> Digest:
        return Digest(self.digests[32 * output : 32 * output + 32])

    def codec(self, output: int) -> str:
        return self._codecs[int(self._codec_of[output])] if len(self._codec_of) else self._codecs[0]

    def block(self, keys: Sequence[bytes]) -> TaskBlock | None:
        """Tasks that stand here one after the other, if those keys do, and nothing but values is known of them."""
        if not keys:
            return None
        at = self._keys.find(keys[0])
        wanted = b"".join(keys)
        if at < 0 or at % 32 or self._keys[at : at + len(wanted)] != wanted:
            return None
        return self.block_at(at // 32, at // 32 + len(keys))

    def block_at(self, first: int, stop: int) -> TaskBlock | None:
        """Tasks ``first`` to ``stop - 1``, if nothing but values is known of any task here."""
        if self.refers or "routes" in self._about or "effects" in self._about:
            return None
        start, end = int(self.starts[first]), int(self.starts[stop])
        spans = (Span(self.name, start, end),) if end > start else ()
        return TaskBlock(self.counts[first:stop].tobytes(), spans, self.digests[32 * start : 32 * end])

    def is_readable(self, start: int, stop: int) -> bool:
        """Whether none of those outputs is a pickle that nobody vouches for."""
        return self.vouched or PICKLE not in self._codecs or PICKLE not in self.codecs(start, stop)

    def in_payload(self, start: int, stop: int) -> list[int] | None:
        """Where each output begins in the payload, and the last one ends; ``None`` if some lie elsewhere."""
        if (self._home[start:stop] >= 0).any():
            return None
        found: list[int] = self._ends[start : stop + 1].tolist()
        return found

    def codecs(self, start: int, stop: int) -> list[str]:
        """The codecs of consecutive outputs."""
        if not len(self._codec_of):
            return [self._codecs[0]] * (stop - start)
        return [self._codecs[number] for number in self._codec_of[start:stop].tolist()]

    def place(self, output: int) -> tuple[Layout, bool, int, int]:
        """Where an output lies: the array, whether it is a row of it, and from where to where.

        Rows for an array's row, bytes for anything else.
        """
        home = int(self._home[output])
        if home < 0:
            return self.layouts[PAYLOAD], False, int(self._ends[output]), int(self._ends[output + 1])
        name, is_row = self._arrays[home]
        layout, row = self.layouts[name], int(self._row[output])
        return (layout, True, row, row + 1) if is_row else (layout, False, 0, layout.shape[0])

    def _read(self, name: str, about: dict[str, Any], arrays: dict[str, Any]) -> None:
        if about["kind"] != "segment" or f"{about['fingerprint']}/{about['name']}" != name:
            raise ValueError("it belongs to something else")
        self._about = about
        tasks, outputs = int(about["tasks"]), int(about["outputs"])
        self._keys = bytes_of(about["keys"])
        self.keys: NDArray[np.bytes_] = np.frombuffer(self._keys, dtype="S32")
        self.counts: NDArray[np.int32] = numbers_of(about["counts"], "<i4")
        self._durations = numbers_of(about["durations_s"], "<f4")
        self.digests = bytes_of(about["digests"])
        self._ends = np.concatenate((np.zeros(1, np.int64), numbers_of(about["ends"], "<u8").astype(np.int64)))
        lengths = (len(self.keys), len(self.counts), len(self._durations))
        # First of all, since what follows takes memory as these numbers say.
        if lengths != (tasks, tasks, tasks) or len(self.digests) != 32 * outputs or len(self._ends) != outputs + 1:
            raise ValueError("its parts don't fit each other")
        sizes = np.where(self.counts == BARE, 1, self.counts).astype(np.int64)
        self.refers = _refers(about, vouched=self.vouched)
        for position, spans in self.refers.items():
            if sum(map(len, spans)) != sizes[position]:
                raise ValueError("a task of it refers to fewer outputs than it has")
            sizes[position] = 0
        self.starts: NDArray[np.int64] = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        self._codecs = [str(codec) for codec in about["codecs"]]
        self._codec_of = numbers_of(about["codec_of"], "u1") if "codec_of" in about else np.empty(0, "u1")
        self.objects = {
            str(path): StoredObject(str(path), int(size), bytes.fromhex(digest))
            for path, (size, digest) in about["objects"].items()
        }
        if not all(map(is_object, self.objects)):
            raise ValueError("an object of it lies elsewhere")
        self.interrupted = tuple(_split(bytes_of(about.get("interrupted", ""))))
        self.layouts = {str(key): Layout.of(str(key), value) for key, value in arrays.items()}
        self._arrays = [(str(item["name"]), item["holds"] == "rows") for item in about["arrays"]]
        self._home = np.full(outputs, -1, dtype=np.int16)
        self._row = np.zeros(outputs, dtype=np.int64)
        for number, item in enumerate(about["arrays"]):
            held = numbers_of(item["outputs"], "<u4")
            rows = np.flatnonzero(held != _UNUSED)
            self._home[held[rows]] = number
            self._row[held[rows]] = rows
            layout = self.layouts[str(item["name"])]
            if len(held) != (layout.shape[0] if item["holds"] == "rows" else 1):
                raise ValueError("an array of it doesn't have the rows it should")
            if (layout.row_chunks if item["holds"] == "rows" else layout.byte_chunks) > len(self.objects):
                raise ValueError("an array of it has more chunks than there are objects")
        if self.starts[-1] != outputs or (tasks and sizes.min() < 0) or (outputs and not self._codecs):
            raise ValueError("its counts don't fit its outputs")
        payload_bytes = self.layouts[PAYLOAD].shape[0] if PAYLOAD in self.layouts else 0
        if payload_bytes and self.layouts[PAYLOAD].byte_chunks > len(self.objects):
            raise ValueError("its payload has more chunks than there are objects")
        if self._ends[-1] != payload_bytes or np.diff(self._ends).min(initial=0) < 0:
            raise ValueError("its outputs don't fit its payload")
        if np.any((self._home < 0) & (np.diff(self._ends) == 0)):
            raise ValueError("an output of it has no place")
        if len(self._codec_of) and (len(self._codec_of) != outputs or self._codec_of.max() >= len(self._codecs)):
            raise ValueError("its codecs don't fit its outputs")

    def _routes(self) -> Mapping[int, Routes]:
        if "routes" not in self._about:
            return {}
        return self._unfolded("routes")

    def _effects(self) -> Mapping[int, bytes]:
        if "effects" not in self._about:
            return {}
        return self._unfolded("effects")

    def _unfolded(self, part: str) -> Mapping[int, Any]:
        found: Mapping[int, Any] | None = getattr(self, f"_{part}_read", None)
        if found is None:
            try:
                stored = unfolded(self._about[part], vouched=self.vouched)
                if part == "routes":
                    table = [tuple(tuple(map(str, names)) for names in route) for route in stored[0]]
                    stored = {position: table[number] for position, number in stored[1].items()}
                found = dict(stored)
            except Exception as error:
                raise CorruptCheckpointError(f"{self.path} has senseless {part}: {error!r}") from error
            setattr(self, f"_{part}_read", found)
        return found


def _refers(about: Mapping[str, Any], *, vouched: bool) -> dict[int, tuple[Span, ...]]:
    if "refers" not in about:
        return {}
    found = {
        int(position): tuple(Span(str(segment), int(start), int(stop)) for segment, start, stop in spans)
        for position, spans in unfolded(about["refers"], vouched=vouched).items()
    }
    for span in (span for spans in found.values() for span in spans):
        of, _, name = span.segment.partition("/")
        if of != about["fingerprint"] or not is_part(name) or not 0 <= span.start <= span.stop:
            raise ValueError("a task of it refers to no segment of its function")
    return found


def _split(keys: bytes) -> Iterable[bytes]:
    return (keys[i : i + 32] for i in range(0, len(keys), 32))
