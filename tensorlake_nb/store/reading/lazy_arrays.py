"""Stored arrays, opened lazily through Zarr and Dask with every chunk verified.

Imported on first use, since it is the only part of the store that needs ``zarr`` or ``dask``; see `Store.open_array`.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import dask.array
import numpy as np
import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.spans import cut, total
from tensorlake_nb.errors import UsageError
from tensorlake_nb.store.codecs.codec import MSGPACK, ZARR_DTYPES
from tensorlake_nb.store.format.paths import RECORD
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.zarr_arrays import CHUNK_BYTES, Layout
from tensorlake_nb.store.reading.stored_outputs import StoredOutputs

#: Rows of a chunk that is put together: each is read by itself.
_MOST_ROWS = 4096


class _ReadOnly(ZarrStore):
    """The store that Zarr reads from, by two methods: the object under a key, and the list of keys."""

    def __init__(self) -> None:
        super().__init__(read_only=True)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        raw = await asyncio.to_thread(self.object, key)
        if raw is None:
            return None
        made = zarr.core.buffer.default_buffer_prototype() if prototype is None else prototype
        return made.buffer.from_bytes(_part(raw, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return key in self.keys()

    async def list(self) -> AsyncIterator[str]:
        for key in self.keys():
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        base = prefix.rstrip("/") + "/" if prefix else ""
        names = [key.removeprefix(base).partition("/")[0] async for key in self.list_prefix(base)]
        for name in dict.fromkeys(names):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        raise NotImplementedError("segments are never changed")

    async def delete(self, key: str) -> None:
        raise NotImplementedError("segments are never changed")

    @property
    def supports_writes(self) -> bool:
        return False

    @property
    def supports_deletes(self) -> bool:
        return False

    @property
    def supports_listing(self) -> bool:
        return True

    def object(self, key: str) -> bytes | None:
        """Return the object under a key; ``None`` if there is none."""
        raise NotImplementedError

    def keys(self) -> Iterable[str]:
        """All keys."""
        raise NotImplementedError


class VerifiedSegment(_ReadOnly):
    """A segment as Zarr sees it, but a missing or damaged chunk is an error here, where Zarr would read zeros."""

    def __init__(self, store: StoredOutputs, name: str) -> None:
        super().__init__()
        self._store, self._name = store, name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifiedSegment) and (self._store.url, self._name) == (other._store.url, other._name)

    def __hash__(self) -> int:
        return hash((self._store.url, self._name))

    def __reduce__(self) -> tuple[Any, ...]:
        return (VerifiedSegment, (self._store, self._name))

    def __str__(self) -> str:
        return f"{self._store.url}/{self._name}"

    def keys(self) -> Iterable[str]:
        return (RECORD, *self._store.segment(self._name).objects)

    def object(self, key: str) -> bytes | None:
        segment = self._store.segment(self._name)
        if key == RECORD:
            return segment.record
        if "/c." not in key:  # metadata lies in the record
            return None
        return self._store.stored_object(segment, key)


class StackedOutputs(_ReadOnly):
    """Outputs of any segments as the one array of a Zarr store; each is read and verified when its chunk is.

    Parameters
    ----------
    layout
        Of the whole, one output after the other.
    """

    def __init__(self, store: StoredOutputs, spans: tuple[Span, ...], layout: Layout) -> None:
        super().__init__()
        self._store, self._spans, self._layout = store, spans, layout
        whole_axes = (0,) * (len(layout.shape) - 1)
        chunks = range(-(-layout.shape[0] // layout.chunks[0]))
        self._names = {layout.object_name((n, *whole_axes)).removeprefix(f"{layout.name}/"): n for n in chunks}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StackedOutputs) and self._about == other._about

    def __hash__(self) -> int:
        return hash(self._about)

    def __reduce__(self) -> tuple[Any, ...]:
        return (StackedOutputs, (self._store, self._spans, self._layout))

    def __str__(self) -> str:
        return f"{self._store.url}/{self._layout.shape[0]} outputs"

    @property
    def _about(self) -> tuple[Any, ...]:
        return (self._store.url, self._spans, self._layout)

    def keys(self) -> Iterable[str]:
        return (RECORD, *self._names)

    def object(self, key: str) -> bytes | None:
        if key == RECORD:
            return json.dumps(self._layout.metadata()).encode()
        number = self._names.get(key)
        if number is None:
            return None
        rows = self._layout.chunks[0]
        start = number * rows
        chunk = np.zeros(self._layout.chunks, dtype=self._layout.dtype)
        for row, value in enumerate(self._store.read(cut(self._spans, start, start + rows))):
            chunk[row] = value
        return chunk.tobytes()


def open_array(store: StoredOutputs, spans: Sequence[Span]) -> Any:
    """See `Store.open_array`."""
    parts = _rows(store, spans)
    if parts is None:
        return open_zarr(store, spans)
    whole = _whole(store, parts)
    if whole is not None:
        return whole
    opened = {(segment.name, layout.name): _opened(store, segment, layout) for segment, layout, _, _ in parts}
    lazy = {key: _lazy(key, array) for key, array in opened.items()}
    pieces = [lazy[segment.name, layout.name][start:stop] for segment, layout, start, stop in parts]
    return pieces[0] if len(pieces) == 1 else dask.array.concatenate(pieces)


def open_zarr(store: StoredOutputs, spans: Sequence[Span]) -> Any:
    """Return outputs as one ``zarr.Array``, wherever they lie: see `Store.open_zarr`."""
    parts = _rows(store, spans)
    whole = None if parts is None else _whole(store, parts)
    if whole is not None:
        return whole
    dtype, shape = _shape(store, spans)
    rows = min(total(spans), _MOST_ROWS, max(1, CHUNK_BYTES // max(1, math.prod(shape) * dtype.itemsize)))
    chunks = (rows, *(max(1, size) for size in shape))
    layout = Layout("outputs", dtype, (total(spans), *shape), chunks, compressed=False)
    return zarr.open_array(StackedOutputs(store, tuple(spans), layout), mode="r")


_Part = tuple[Segment, Layout, int, int]


def _whole(store: StoredOutputs, parts: Sequence[_Part]) -> Any:
    """Return the stored array if the outputs are all its rows."""
    segment, layout, start, stop = parts[0]
    if len(parts) > 1 or (start, stop) != (0, layout.shape[0]):
        return None
    return _opened(store, segment, layout)


def _rows(store: StoredOutputs, spans: Sequence[Span]) -> list[_Part] | None:
    """Return the array rows that make up the outputs, neighbours joined; ``None`` if some are kept otherwise."""
    found: list[_Part] = []
    _shape(store, spans)
    for span in spans:
        segment = store.segment(span.segment)
        for output in range(span.start, span.stop):
            layout, is_row, start, stop = segment.place(output)
            if not is_row:
                return None
            last = found[-1] if found else None
            if last and (last[0].name, last[1].name, last[3]) == (segment.name, layout.name, start):
                found[-1] = (segment, layout, last[2], stop)
            else:
                found.append((segment, layout, start, stop))
    return found


def _shape(store: StoredOutputs, spans: Sequence[Span]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and shape of all the outputs.

    Raises
    ------
    UsageError
        They have none in common, or there are none.
    """
    first: tuple[np.dtype[Any], tuple[int, ...]] | None = None
    for span in spans:
        segment = store.segment(span.segment)
        for output in range(span.start, span.stop):
            layout, is_row, _, _ = segment.place(output)
            about = (layout.dtype, layout.shape[1:]) if is_row else _shape_of_value(store, segment, output)
            if first is None:
                first = about
            if about != first:
                raise UsageError(
                    f"outputs of shape {first[1]} and dtype {first[0]} don't stack with others of shape "
                    f"{about[1]} and dtype {about[0]}. Read them one by one instead."
                )
    if first is None:
        raise UsageError("there are no outputs to open as an array")
    return first


def _shape_of_value(store: StoredOutputs, segment: Segment, output: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read an array that is stored with other values; it is small."""
    if segment.codec(output) == MSGPACK:
        (value,) = store.read([Span(segment.name, output, output + 1)])
        if type(value) is np.ndarray and value.dtype.name in ZARR_DTYPES:
            return value.dtype.newbyteorder("<"), value.shape
    raise UsageError(
        f"output {output} of {segment.name} isn't stored as a plain numeric array, but as "
        f"{segment.codec(output)}. Read the values one by one instead."
    )


def _opened(store: StoredOutputs, segment: Segment, layout: Layout) -> Any:
    return zarr.open_group(VerifiedSegment(store, segment.name), mode="r")[layout.name]


def _lazy(key: tuple[str, str], array: Any) -> Any:
    name = "checkpoint-" + "-".join(key).replace("/", "-")
    return dask.array.from_array(array, chunks=array.chunks, name=name, inline_array=False)


def _part(raw: bytes, byte_range: ByteRequest | None) -> bytes:
    match byte_range:
        case None:
            return raw
        case RangeByteRequest(start=start, end=end):
            return raw[start:end]
        case OffsetByteRequest(offset=offset):
            return raw[offset:]
        case SuffixByteRequest(suffix=suffix):
            return raw[-suffix:]
