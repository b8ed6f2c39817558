"""Outputs out of a segment's objects, each object checked before anything of it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.filesystems.protocol import Filesystem
from tensorlake_nb.store.filesystems.retrying import expected, listed
from tensorlake_nb.store.format.compression import decompress, is_believable
from tensorlake_nb.store.format.outcomes import StoredObject
from tensorlake_nb.store.format.paths import segment_path
from tensorlake_nb.store.format.segment import LARGE_BYTES, PAYLOAD, Segment
from tensorlake_nb.store.format.zarr_arrays import CHUNK_BYTES, Layout, chunks_of
from tensorlake_nb.store.reading.recent import Recent

#: From this size on equal objects share one place on a local disk.
SHARED_BYTES = 2**16
_MOST_LYING = 20_000

Data = TypeVar("Data", bytes, bytearray)


class Reader:
    """Reads outputs, and keeps the small chunks that it has checked for the outputs beside them."""

    def __init__(self, filesystem: Filesystem, most_bytes: int) -> None:
        self._filesystem = filesystem
        self.recent: Recent[bytes] = Recent(most_bytes)
        #: By digest: the paths of large objects that this process has written, or read and checked.
        self.lying: Recent[str] = Recent(_MOST_LYING)

    def stored(self, segment: Segment, output: int) -> bytes | np.ndarray[Any, Any]:
        """Return an output's encoded bytes, or its array, as memory of its own.

        Raises
        ------
        CorruptCheckpointError
            An object is missing or isn't what the record says.
        """
        layout, is_row, start, stop = segment.place(output)
        _refuse_bomb(segment, layout, layout.row_bytes if is_row else stop - start)
        if not is_row:
            return self._bytes(segment, layout, start, stop)
        if layout.chunks == (1, *layout.shape[1:]) and not layout.compressed and layout.row_bytes >= LARGE_BYTES:
            return self._whole(segment, layout, (start, *(0,) * (len(layout.shape) - 1)))
        array = np.empty(layout.shape[1:], dtype=layout.dtype)
        if array.ndim == 0:
            array = array.reshape(1)
        flat = array.reshape(-1).view(np.uint8)
        first_row = start - start % layout.chunks[0]
        skipped = (start - first_row) * layout.row_bytes
        pieces = chunks_of(layout, first_row, first_row + 1 if layout.chunks[0] == 1 else _end(layout, first_row))
        for index, begin, end in pieces:
            low, high = max(begin, skipped), min(end, skipped + layout.row_bytes)
            if low < high:
                chunk = self._chunk(segment, layout, index)
                flat[low - skipped : high - skipped] = np.frombuffer(chunk, np.uint8, high - low, low - begin)
        return array.reshape(layout.shape[1:])

    def payload(self, segment: Segment, start: int, stop: int) -> bytes:
        """Return some bytes of a segment's payload."""
        _refuse_bomb(segment, segment.layouts[PAYLOAD], stop - start)
        return self._bytes(segment, segment.layouts[PAYLOAD], start, stop)

    def keep(self, segment: str, path: str, chunk: bytes) -> None:
        """Remember a chunk of a segment's payload that was just written: what follows will ask for it."""
        self.recent.put((segment, path), chunk, len(chunk))

    def prefetch(self, segment: Segment, outputs: Sequence[int]) -> None:
        """Bring the objects of many outputs at once, where each by itself would be a request of its own."""
        wanted: dict[str, Layout] = {}
        size = 0
        for output in outputs:
            layout, is_row, start, stop = segment.place(output)
            if layout.chunk_bytes > CHUNK_BYTES or (is_row and layout.row_bytes > CHUNK_BYTES):
                continue
            unit = layout.chunks[0]
            tail = (0,) * (len(layout.shape) - 1)
            for number in range(start // unit, -(-stop // unit)):
                path = layout.object_name((number, *tail))
                if path not in wanted and self.recent.get((segment.name, path)) is None:
                    wanted[path] = layout
                    size += layout.chunk_bytes
            if size > self.recent.most_bytes // 2:
                break
        if len(wanted) < 2:
            return
        base = segment_path(segment.name)
        found = listed(self._filesystem.get_many, [f"{base}/{path}" for path in wanted])
        for (path, layout), raw in zip(wanted.items(), found, strict=True):
            self._keep(segment, path, layout, self._checked(segment, path, raw, layout))

    def note(self, path: str, item: StoredObject) -> None:
        """Remember where a large object lies: one that is equal needs no place of its own."""
        if item.size_bytes >= SHARED_BYTES:
            self.lying.put(item.digest, path, 1)

    def _checked(self, segment: Segment, path: str, raw: Data | None, layout: Layout) -> Data | bytes:
        """Read and verify an object, remembering where it lies."""
        data = verified(segment, path, raw, layout)
        self.note(f"{segment_path(segment.name)}/{path}", segment.objects[path])
        return data

    def object(self, segment: Segment, path: str) -> bytes:
        """One object as it is stored, checked; for readers other than ours."""
        return verified(segment, path, self._raw(segment, path, self._filesystem.get), None)

    def _whole(self, segment: Segment, layout: Layout, index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Return a large array that is one chunk, without a copy."""
        path = layout.object_name(index)
        data = self._checked(segment, path, self._raw(segment, path, self._filesystem.get_writable), layout)
        return np.frombuffer(data, dtype=layout.dtype).reshape(layout.shape[1:])

    def _raw(self, segment: Segment, path: str, get: Callable[[str], Data]) -> Data | None:
        try:
            return expected(lambda: get(f"{segment_path(segment.name)}/{path}"))
        except FileNotFoundError:
            return None

    def _bytes(self, segment: Segment, layout: Layout, start: int, stop: int) -> bytes:
        unit = layout.chunks[0]
        parts = []
        for number in range(start // unit, -(-stop // unit)):
            chunk = self._chunk(segment, layout, (number,))
            parts.append(chunk[max(0, start - number * unit) : stop - number * unit])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _chunk(self, segment: Segment, layout: Layout, index: tuple[int, ...]) -> bytes:
        path = layout.object_name(index)
        chunk = self.recent.get((segment.name, path))
        if chunk is None:
            chunk = self._checked(segment, path, self._raw(segment, path, self._filesystem.get), layout)
            self._keep(segment, path, layout, chunk)
        return chunk

    def _keep(self, segment: Segment, path: str, layout: Layout, chunk: bytes) -> None:
        if layout.chunk_bytes <= CHUNK_BYTES:  # larger ones hold a single value: nothing else will ask for them
            self.recent.put((segment.name, path), chunk, len(chunk))


def _refuse_bomb(segment: Segment, layout: Layout, size_bytes: int) -> None:
    """Refuse a value out of all proportion to what is stored, before memory is taken for it."""
    if segment.vouched or is_believable(size_bytes, 0):
        return
    listed = sum(item.size_bytes for path, item in segment.objects.items() if path.startswith(f"{layout.name}/"))
    if not is_believable(size_bytes, listed):
        raise CorruptCheckpointError(
            f"{segment.path} says that {layout.name} holds a value of {size_bytes} bytes in objects of {listed}, and "
            "nobody vouches for it"
        )


def verified(segment: Segment, path: str, raw: Data | None, layout: Layout | None) -> Data | bytes:
    """Return an object's bytes (decompressed, given its layout), once length and digest are right.

    Raises
    ------
    CorruptCheckpointError
        They aren't. Zarr itself would take a missing chunk for zeros, and notice few flipped bits.
    """
    where = f"{segment.path.rpartition('/')[0]}/{path}"
    listed = segment.objects.get(path)
    if listed is None:
        raise CorruptCheckpointError(f"{where} isn't among the objects that its record lists")
    if raw is None:
        raise CorruptCheckpointError(f"{where} is missing")
    if len(raw) != listed.size_bytes:
        raise CorruptCheckpointError(f"{where} has {len(raw)} bytes instead of {listed.size_bytes}")
    if not listed.is_in(raw):
        raise CorruptCheckpointError(f"{where} is damaged: its digest isn't the one in its record")
    if layout is None:
        return raw
    if layout.compressed:
        try:
            return decompress(raw, layout.chunk_bytes)
        except ValueError as error:
            raise CorruptCheckpointError(f"{where} is damaged: {error}") from error
    if len(raw) != layout.chunk_bytes:
        raise CorruptCheckpointError(f"{where} has {len(raw)} bytes instead of {layout.chunk_bytes}")
    return raw


def _end(layout: Layout, first_row: int) -> int:
    return min(first_row + layout.chunks[0], layout.shape[0])
