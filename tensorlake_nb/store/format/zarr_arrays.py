"""Arrays and long byte strings ↔ the chunks and metadata of Zarr v3 arrays.

Chunks are C-order blocks of memory, so that cutting and joining them never rearranges anything. The metadata is
written by hand, since making it through ``zarr`` costs a millisecond; a test compares it with what ``zarr`` itself
writes. numpy's dtypes can't be told apart statically here: `Any` stops in this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tensorlake_nb.store.codecs.codec import ZARR_DTYPES
from tensorlake_nb.store.filesystems.protocol import Buffer
from tensorlake_nb.store.format.compression import LEVEL
from tensorlake_nb.store.format.paths import is_part

Array = np.ndarray[Any, Any]

#: Small rows are gathered into chunks of about this size: what is read and checked for a single one of them.
CHUNK_BYTES = 4 * 2**20
#: A single large value is cut into chunks of at most this size.
LARGE_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Layout:
    """Shape, dtype, chunks and compression of one Zarr array.

    Attributes
    ----------
    name
        Its name in the segment's group.
    chunks
        Shape of a chunk: 1 on the leading axes, whole on the trailing ones, anything on the one between.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    compressed: bool

    @property
    def row_bytes(self) -> int:
        """Size of one item along the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def row_chunks(self) -> int:
        """The number of chunks that hold an item along the first axis, if it isn't cut there."""
        return math.prod(-(-size // part) for size, part in zip(self.shape[1:], self.chunks[1:], strict=True))

    @property
    def byte_chunks(self) -> int:
        """The number of chunks that hold a byte string."""
        return -(-self.shape[0] // self.chunks[0])

    def object_name(self, index: tuple[int, ...]) -> str:
        """Return the path of a chunk in the segment."""
        return f"{self.name}/c." + ".".join(map(str, index))

    def metadata(self) -> dict[str, Any]:
        """Return the ``zarr.json`` of the array."""
        codecs: list[dict[str, Any]] = [{"name": "bytes"}]
        if self.dtype.itemsize > 1:
            codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
        if self.compressed:
            codecs.append({"name": "zstd", "configuration": {"level": LEVEL, "checksum": False}})
        return {
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": _FILL[self.dtype.kind],
            "codecs": codecs,
            "attributes": {},
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }

    @classmethod
    def of(cls, name: str, metadata: Mapping[str, Any]) -> Layout:
        """Read back what `metadata` gave; `ValueError` or `KeyError` for anything else."""
        shape = tuple(map(int, metadata["shape"]))
        chunks = tuple(map(int, metadata["chunk_grid"]["configuration"]["chunk_shape"]))
        if (
            metadata["data_type"] not in ZARR_DTYPES
            or len(chunks) != len(shape)
            or not shape
            or min(*chunks, *shape, 1) < 1
        ):
            raise ValueError(f"array {name!r:.80} isn't one that this format knows")
        if not is_part(name):
            raise ValueError(f"array {name!r:.80} can't stand in a path")
        dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
        layout = cls(name, dtype, shape, chunks, len(metadata["codecs"]) > 1)
        if layout.chunk_bytes > LARGE_CHUNK_BYTES:
            raise ValueError(f"array {name!r:.80} has chunks of {layout.chunk_bytes} bytes")
        return layout


_FILL: dict[str, Any] = {"b": False, "i": 0, "u": 0, "f": 0.0, "c": [0.0, 0.0]}


def stacked(name: str, row: Array, rows: int, compressed: bool) -> Layout:
    """Return the layout of ``rows`` arrays like ``row``, stacked along a new first axis; chunks hold several."""
    chunk_rows = _balanced(rows, max(1, CHUNK_BYTES // max(1, row.nbytes)))
    return Layout(name, row.dtype, (rows, *row.shape), (chunk_rows, *row.shape), compressed)


def large_rows(name: str, row: Array, rows: int, compressed: bool) -> Layout:
    """Return the same layout for large arrays, each in chunks of its own, so that one can be written at a time."""
    return Layout(name, row.dtype, (rows, *row.shape), (1, *_chunk_shape(row.shape, row.dtype.itemsize)), compressed)


def byte_string(name: str, size_bytes: int, compressed: bool, chunk_bytes: int) -> Layout:
    """Return the layout of a byte string, in chunks of at most ``chunk_bytes``."""
    return Layout(name, np.dtype("u1"), (size_bytes,), (_balanced(size_bytes, chunk_bytes),), compressed)


def _chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :]) * itemsize
        if inner <= LARGE_CHUNK_BYTES:
            part = _balanced(shape[axis], max(1, LARGE_CHUNK_BYTES // inner))
            return (*(1,) * axis, part, *shape[axis + 1 :])
    return ()


def _balanced(size: int, limit: int) -> int:
    """Return the length of equal parts of at most ``limit``, so that the last one needs little padding."""
    return math.ceil(size / math.ceil(size / limit))


def cut(layout: Layout, block: Array, first: int = 0) -> Iterator[tuple[tuple[int, ...], Buffer]]:
    """Yield the chunks of consecutive rows, each with its index in the grid.

    Parameters
    ----------
    block
        C-contiguous rows of the array.
    first
        Which row the block begins with: a multiple of the rows in a chunk.
    """
    flat: Any = block.reshape(-1).view(np.uint8)
    data = memoryview(flat)
    size = layout.chunk_bytes
    for index, start, stop in _pieces(layout, first, len(block)):
        piece: Buffer = data[start:stop]
        if stop - start < size:  # Zarr's chunks are all of one shape: the last one is filled up with zeros
            piece = bytes(piece) + bytes(size - (stop - start))
        yield index, piece


def chunks_of(layout: Layout, start_row: int, stop_row: int) -> list[tuple[tuple[int, ...], int, int]]:
    """Return the chunks that hold some rows, from a row that begins a chunk.

    Each with the bytes it covers, counted from that first row: ``(index in the grid, start, stop)``.
    """
    return list(_pieces(layout, start_row, stop_row - start_row))


def _pieces(layout: Layout, first: int, rows: int) -> Iterator[tuple[tuple[int, ...], int, int]]:
    shape = (rows, *layout.shape[1:])
    axis = next((i for i, part in enumerate(layout.chunks) if part != 1), len(shape) - 1)
    inner = math.prod(shape[axis + 1 :]) * layout.dtype.itemsize
    parts = range(0, shape[axis], layout.chunks[axis])
    position = 0
    trailing = (0,) * (len(shape) - axis - 1)
    for leading in product(*(range(length) for length in shape[:axis])):
        for number, part in enumerate(parts):
            length = min(layout.chunks[axis], shape[axis] - part) * inner
            index = (*leading, number, *trailing)
            yield (index[0] + first // layout.chunks[0], *index[1:]), position, position + length
            position += length
