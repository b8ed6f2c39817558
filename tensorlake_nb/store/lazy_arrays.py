"""Stored arrays, opened lazily through Zarr and Dask with every chunk verified.

Imported on first use, since it is the only part of the store that needs ``zarr`` or ``dask``; see `Store.open_array`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import dask.array
import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype

from tensorlake_nb.core.batch import Span
from tensorlake_nb.errors import UsageError
from tensorlake_nb.store.arrays import Layout
from tensorlake_nb.store.paths import RECORD
from tensorlake_nb.store.segment import Segment

if TYPE_CHECKING:
    from tensorlake_nb.store.checkpoints import Store


class VerifiedSegment(ZarrStore):
    """A segment as Zarr sees it, but a missing or damaged chunk is an error here, where Zarr would read zeros."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(read_only=True)
        self._store, self._name = store, name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifiedSegment) and (self._store.url, self._name) == (other._store.url, other._name)

    def __hash__(self) -> int:
        return hash((self._store.url, self._name))

    def __reduce__(self) -> tuple[Any, ...]:
        return (VerifiedSegment, (self._store, self._name))

    def __str__(self) -> str:
        return f"{self._store.url}/{self._name}"

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        raw = await asyncio.to_thread(self._object, key)
        if raw is None:
            return None
        made = zarr.core.buffer.default_buffer_prototype() if prototype is None else prototype
        return made.buffer.from_bytes(_part(raw, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        segment = self._store.segment(self._name)
        return key == RECORD or key in segment.objects

    async def list(self) -> AsyncIterator[str]:
        for key in (RECORD, *self._store.segment(self._name).objects):
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

    def _object(self, key: str) -> bytes | None:
        segment = self._store.segment(self._name)
        if key == RECORD:
            return segment.record
        if "/c." not in key:  # metadata lies in the record
            return None
        return self._store.stored_object(segment, key)


def open_array(store: Store, spans: Sequence[Span]) -> Any:
    """See `Store.open_array`."""
    parts = _rows(store, spans)
    if not parts:
        raise UsageError("there are no outputs to open as an array")
    first = parts[0][1]
    for _, layout, _, _ in parts:
        if (layout.dtype, layout.shape[1:]) != (first.dtype, first.shape[1:]):
            raise UsageError(
                f"outputs of shape {first.shape[1:]} and dtype {first.dtype} don't stack with others of shape "
                f"{layout.shape[1:]} and dtype {layout.dtype}. Read them one by one instead."
            )
    opened = {(segment.name, layout.name): _opened(store, segment, layout) for segment, layout, _, _ in parts}
    if len(parts) == 1:
        segment, layout, start, stop = parts[0]
        if (start, stop) == (0, layout.shape[0]):
            return opened[segment.name, layout.name]
    lazy = {key: _lazy(key, array) for key, array in opened.items()}
    pieces = [lazy[segment.name, layout.name][start:stop] for segment, layout, start, stop in parts]
    return pieces[0] if len(pieces) == 1 else dask.array.concatenate(pieces)


def _rows(store: Store, spans: Sequence[Span]) -> list[tuple[Segment, Layout, int, int]]:
    """The rows of arrays that the outputs are, neighbours joined."""
    found: list[tuple[Segment, Layout, int, int]] = []
    for span in spans:
        segment = store.segment(span.segment)
        for output in range(span.start, span.stop):
            layout, is_row, start, stop = segment.place(output)
            if not is_row:
                raise UsageError(
                    f"output {output} of {span.segment} isn't stored as a plain numeric array, but as "
                    f"{segment.codec(output)}. Read the values one by one instead."
                )
            last = found[-1] if found else None
            if last and (last[0].name, last[1].name, last[3]) == (segment.name, layout.name, start):
                found[-1] = (segment, layout, last[2], stop)
            else:
                found.append((segment, layout, start, stop))
    return found


def _opened(store: Store, segment: Segment, layout: Layout) -> Any:
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
