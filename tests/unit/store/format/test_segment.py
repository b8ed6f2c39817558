"""How outputs are laid out in a segment, and that Zarr agrees with the metadata we write."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import MemoryStore

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.store.codecs.codec import ZARR_DTYPES
from tensorlake_nb.store.format.compression import LEVEL
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.segment_builder import SegmentBuilder
from tensorlake_nb.store.format.zarr_arrays import (
    CHUNK_BYTES,
    LARGE_CHUNK_BYTES,
    Layout,
    byte_string,
    large_rows,
    stacked,
)
from tests.support.stores import FINGERPRINT, encoded, key

NAME = f"{FINGERPRINT}/writer~1"


def sealed(values: list[Any]) -> dict[str, bytes]:
    builder = SegmentBuilder(NAME, "2026-01-01")
    for number, value in enumerate(values):
        builder.add(Entry(key(number), BARE, (encoded(value),)))
    done = builder.seal()
    return {path: bytes(data) for path, data, _ in done.objects} | {"zarr.json": done.record}


@pytest.mark.parametrize("dtype", sorted(ZARR_DTYPES))
@pytest.mark.parametrize("compressed", [False, True])
def test_our_metadata_is_what_zarr_itself_would_write(dtype: str, compressed: bool) -> None:
    array = zarr.create_array(
        store=MemoryStore(),
        shape=(5, 2, 3),
        chunks=(2, 2, 3),
        dtype=dtype,
        compressors=[ZstdCodec(level=LEVEL)] if compressed else None,
        chunk_key_encoding={"name": "default", "separator": "."},
    )

    ours = Layout("values", np.dtype(dtype), (5, 2, 3), (2, 2, 3), compressed).metadata()

    prototype = default_buffer_prototype()
    theirs = json.loads(array.metadata.to_buffer_dict(prototype)["zarr.json"].to_bytes())
    assert ours == theirs
    assert ArrayV3Metadata.from_dict(ours) == array.metadata


def test_a_small_outcome_is_one_object_and_the_record() -> None:
    assert set(sealed([{"a": 1}])) == {"payload/c.0", "zarr.json"}
    assert set(sealed([np.arange(3)])) == {"values/c.0.0", "zarr.json"}
    assert set(sealed([])) == {"zarr.json"}


def test_arrays_of_equal_shape_are_stacked_in_order() -> None:
    objects = sealed([np.full((2, 2), number) for number in range(5)])

    assert set(objects) == {"values/c.0.0.0", "zarr.json"}
    assert np.frombuffer(objects["values/c.0.0.0"], "i8").reshape(5, 2, 2)[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_ragged_arrays_do_not_become_an_object_each() -> None:
    objects = sealed([np.arange(number) for number in range(1, 300)])

    assert len(objects) <= 6


def test_compressible_payload_is_compressed_and_noise_is_not() -> None:
    noise = np.random.default_rng(1).bytes(10_000)

    assert len(sealed(["x" * 10_000])["payload/c.0"]) < 1000
    assert len(sealed([noise])["payload/c.0"]) > 10_000


@pytest.mark.parametrize(
    ("shape", "rows", "chunks"),
    [((1000,), 1000, (500, 1000)), ((10,), 7, (7, 10)), ((), 3, (3,))],
)
def test_small_rows_share_chunks_of_bounded_size(shape: tuple[int, ...], rows: int, chunks: tuple[int, ...]) -> None:
    layout = stacked("values", np.zeros(shape), rows, False)

    assert layout.chunks == chunks
    assert layout.chunk_bytes <= CHUNK_BYTES


@pytest.mark.parametrize("shape", [(2**20,), (3, 2**25), (2**12, 2**12), (1, 1, 2**24 + 1), (2**10, 3, 2**16)])
def test_large_rows_have_chunks_of_their_own_of_bounded_size(shape: tuple[int, ...]) -> None:
    row = np.broadcast_to(np.float64(0), shape)

    layout = large_rows("values", row, 2, False)

    assert layout.chunks[0] == 1
    assert layout.chunk_bytes <= LARGE_CHUNK_BYTES
    chunks = np.prod([-(-size // part) for size, part in zip(shape, layout.chunks[1:], strict=True)])
    assert chunks * layout.chunk_bytes <= 1.2 * row.size * 8 + 64  # little is filled up with zeros


def test_a_byte_string_is_cut_evenly() -> None:
    assert byte_string("payload", 10, False, 4).chunks == (4,)
    assert byte_string("payload", 9, False, 8).chunks == (5,)


def test_a_record_of_ten_thousand_tasks_is_small() -> None:
    builder = SegmentBuilder(NAME, "2026-01-01")
    for number in range(10_000):
        builder.add(Entry(key(number), BARE, (encoded(number),)))

    record = builder.seal().record

    assert len(record) < 10_000 * 130
    assert len(Segment(NAME, "zarr.json", record)) == 10_000


def test_of_equal_keys_added_twice_the_first_stays() -> None:
    builder = SegmentBuilder(NAME, "2026-01-01")
    builder.add(Entry(key(1), BARE, (encoded("first"),)))
    builder.add(Entry(key(1), BARE, (encoded("second"),)))

    segment = Segment(NAME, "zarr.json", builder.seal().record)

    assert segment.digest(0) == encoded("first").digest
    assert len(segment) == 1
