"""A segment's record → where its outputs lie; no I/O. What writes it is `segment_builder`.

A segment is a Zarr group. Equal-shaped arrays are stacked in arrays of it (``values``, ``values_1``, …), everything
else lies end to end in the byte string ``payload``, and a large value that is no array has a byte string of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.batches.output_columns import NO_OUTPUTS, OutputColumns, Routes, Targets
from tensorlake_nb.core.keys import Digest, TaskKey
from tensorlake_nb.errors import CorruptCheckpointError, InternalError
from tensorlake_nb.store.codecs.codec import PICKLE
from tensorlake_nb.store.format.outcomes import StoredObject, TaskOutcome
from tensorlake_nb.store.format.paths import is_object, is_part
from tensorlake_nb.store.format.record import bytes_of, numbers_of, read_record, unfolded
from tensorlake_nb.store.format.zarr_arrays import Layout

PAYLOAD = "payload"
#: A value of this size is written at once, in chunks of its own.
LARGE_BYTES = 2**20
#: Stands for the output of an array's row that holds none.
UNUSED = 2**32 - 1

_Refers = Mapping[int, tuple[Span, ...]]


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
        """Raise CorruptCheckpointError or StoreVersionError if the record isn't right."""
        about, arrays = read_record(path, raw)
        self.vouched = vouched
        try:
            self._read(name, about, arrays)
        except Exception as error:  # whatever a well-signed but senseless record makes of this
            raise CorruptCheckpointError(f"{path} isn't the record of {name}: {error!r:.300}") from error
        self.name, self.path, self.record = name, path, raw

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return 3 * len(self.record)

    @property
    def outputs(self) -> int:
        """The number of outputs in the segment."""
        return len(self.digests) // 32

    @property
    def written(self) -> str:
        """When it was made, as ISO text; also what tells the newer of two."""
        return str(self._about["written"])

    def outcome(self, task: int) -> TaskOutcome:
        """Return the task at a position. For digests of one that refers to other segments see `Store.completed`."""
        if task in self.refers:
            counts, routes = self.counts[task : task + 1], self._routes.elsewhere.get(task)
            outputs = OutputColumns(counts, self.refers[task], _elsewhere, routes)
        elif self.counts[task] == 0:
            outputs = NO_OUTPUTS
        else:
            outputs = self._outputs(task, task + 1)
        key = TaskKey(self._keys[32 * task : 32 * task + 32])
        duration_s, passes = float(self._durations[task]), self._routes.passes.get(task)
        return TaskOutcome(key, outputs, self._effects.get(task), duration_s, passes)

    def spans(self, task: int) -> tuple[Span, ...]:
        """Return the places of the outputs of the task at a position."""
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

    def task(self, key: TaskKey) -> int | None:
        """Return the position of the task of that key, if it is here."""
        found = np.flatnonzero(self.keys == key)
        return int(found[0]) if len(found) else None

    def block(self, keys: Sequence[bytes]) -> OutputColumns | None:
        """Return the outputs of tasks, if those keys stand here one after the other and have nothing but outputs."""
        if not keys:
            return None
        at = self._keys.find(keys[0])
        wanted = b"".join(keys)
        if at < 0 or at % 32 or self._keys[at : at + len(wanted)] != wanted:
            return None
        return self.block_at(at // 32, at // 32 + len(keys))

    def block_at(self, first: int, stop: int) -> OutputColumns | None:
        """Return the outputs of tasks ``first`` to ``stop - 1``, if no task here has more than its own outputs."""
        if self.refers or "effects" in self._about or self._routes.passes:
            return None
        return self._outputs(first, stop)

    def _outputs(self, first: int, stop: int) -> OutputColumns:
        start, end = int(self.starts[first]), int(self.starts[stop])
        spans = (Span(self.name, start, end),) if end > start else ()
        routes = None if self._routes.own is None else self._routes.own.at(slice(start, end))
        counts = None if stop - first == 1 == end - start and self.counts[first] == BARE else self.counts[first:stop]
        return OutputColumns(counts, spans, self.digests[32 * start : 32 * end], routes)

    def is_readable(self, start: int, stop: int) -> bool:
        """Return True if none of those outputs is an unsigned pickle in an untrusted store."""
        return self.vouched or PICKLE not in self._codecs or PICKLE not in self.codecs(start, stop)

    def in_payload(self, start: int, stop: int) -> list[int] | None:
        """Return where each output begins in the payload, and the last one ends; ``None`` if some lie elsewhere."""
        if (self._home[start:stop] >= 0).any():
            return None
        found: list[int] = self._ends[start : stop + 1].tolist()
        return found

    def array_bytes(self, start: int, stop: int) -> int:
        """Return the size in bytes of consecutive outputs that don't all lie in the payload."""
        size = 0
        for output in range(start, stop):
            layout, is_row, low, high = self.place(output)
            size += layout.row_bytes if is_row else high - low
        return size

    def codecs(self, start: int, stop: int) -> list[str]:
        """Return the codecs of consecutive outputs."""
        if not len(self._codec_of):
            return [self._codecs[0]] * (stop - start)
        return [self._codecs[number] for number in self._codec_of[start:stop].tolist()]

    def place(self, output: int) -> tuple[Layout, bool, int, int]:
        """Return the place of an output: the array, True if it is a row of it, and its range.

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
            rows = np.flatnonzero(held != UNUSED)
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

    @cached_property
    def _routes(self) -> _Routes:
        """The targets of outputs, read on first use."""
        if "routes" not in self._about:
            return _Routes(None, {}, {})
        try:
            return _routes(unfolded(self._about["routes"], vouched=self.vouched), self.counts, self.starts, self.refers)
        except Exception as error:
            raise CorruptCheckpointError(f"{self.path} has senseless routes: {error!r:.300}") from error

    @cached_property
    def _effects(self) -> Mapping[int, bytes]:
        if "effects" not in self._about:
            return {}
        try:
            return dict(unfolded(self._about["effects"], vouched=self.vouched))
        except Exception as error:
            raise CorruptCheckpointError(f"{self.path} has senseless effects: {error!r:.300}") from error


@dataclass(frozen=True, slots=True)
class _Routes:
    """The targets of a segment's outputs.

    Attributes
    ----------
    own
        Of each output of the segment; ``None``: all travel everywhere.
    elsewhere
        Of the outputs of tasks that refer to other segments.
    passes
        By task what a router chose for its input.
    """

    own: Routes | None
    elsewhere: Mapping[int, Routes]
    passes: Mapping[int, Targets]


def _routes(stored: Any, counts: NDArray[np.int32], starts: NDArray[np.int64], refers: _Refers) -> _Routes:
    """Read what `Entry.told_routes` gave for each task: each different one once, and which of these is whose."""
    rows: dict[Targets | None, int] = {}
    told = [[tuple(map(str, targets)) for targets in each] for each in stored[0]]
    coded = [np.array([rows.setdefault(targets, len(rows)) for targets in each], dtype=np.int32) for each in told]
    codes = np.full(int(starts[-1]), -1, dtype=np.int32)
    elsewhere: dict[int, Routes] = {}
    passes: dict[int, Targets] = {}
    for task, number in stored[1].items():
        start, stop = starts[task : task + 2].tolist()
        if counts[task] == 0:
            (passes[task],) = told[number]
        elif len(coded[number]) != (sp.total(refers[task]) if task in refers else stop - start):
            raise ValueError(f"task {task} says where {len(coded[number])} outputs travel, and has others")
        elif task in refers:
            elsewhere[task] = Routes(tuple(rows), coded[number])
        else:
            codes[start:stop] = coded[number]
    if (codes < 0).any():  # of these no task says anything
        codes[codes < 0] = rows.setdefault(None, len(rows))
    return _Routes(Routes(tuple(rows), codes), elsewhere, passes)


def _elsewhere() -> bytes:
    raise InternalError("the digests of these outputs are in the segments that the task refers to: Store.completed")


def _refers(about: Mapping[str, Any], *, vouched: bool) -> _Refers:
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
