"""Laws of the codec, for any value: what comes back is what went in, and nothing but our own errors comes out."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import StoreError
from tensorlake_nb.store.codecs.classes import ModuleResolver
from tensorlake_nb.store.codecs.codec import decode, encode
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.record import read_record, write_record
from tensorlake_nb.store.format.sealing import seal, unseal
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.segment_builder import SegmentBuilder
from tensorlake_nb.store.format.spool_frames import MAGIC, read_spool
from tensorlake_nb.store.format.zarr_arrays import Layout, chunks_of, cut, large_rows, stacked
from tests.support.stores import FINGERPRINT, Colour, Page, Pair, Point, Size, count_of, encoded

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.binary().map(bytearray)
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.timezones())
    | st.dates()
    | st.timedeltas()
    | st.sampled_from(Colour)
    | st.builds(Point, st.integers(), st.floats())
    | st.builds(Size, st.integers(), st.integers())
    | st.builds(Page, url=st.text(), words=st.lists(st.text()))
    | hnp.from_dtype(np.dtype("i2"))
    | hnp.from_dtype(np.dtype("f4"))
)
hashable = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
arrays = hnp.arrays(
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="?", sizes=(64, 128))
    | hnp.datetime64_dtypes(endianness="?")
    | hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=4)
    | hnp.byte_string_dtypes(min_len=1, max_len=4),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
values = st.recursive(
    leaves | arrays,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(hashable, inner, max_size=5)
        | st.sets(hashable, max_size=5)
        | st.frozensets(hashable, max_size=5)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


@given(values)
def test_what_comes_back_equals_what_went_in(value: Any) -> None:
    given_digest = digest(value)

    stored = encode(value, digest=given_digest)
    back = decode(stored.codec, stored.data, trusted=False)

    assert type(back) is type(value)
    assert digest(back) == given_digest


@given(st.lists(st.lists(values, max_size=3) | values.map(lambda value: (value,)), max_size=6))
@settings(max_examples=50)
def test_a_segment_holds_what_it_was_given(tasks: list[Any]) -> None:
    builder = SegmentBuilder(f"{FINGERPRINT}/w~1", "2026-01-01")
    for number, outputs in enumerate(tasks):
        count = BARE if isinstance(outputs, tuple) else len(outputs)
        builder.add(Entry(TaskKey(digest(number)), count, tuple(map(encoded, outputs)), duration_s=number))

    sealed = builder.seal()
    segment = Segment(sealed.name, "zarr.json", sealed.record)

    assert list(segment.all_keys()) == [TaskKey(digest(number)) for number in range(len(tasks))]
    assert segment.digests == b"".join(digest(value) for outputs in tasks for value in outputs)
    assert {path for path, _, _ in sealed.objects} == set(segment.objects)
    for number, outputs in enumerate(tasks):
        outcome = segment.outcome(number)
        assert count_of(outcome) == (BARE if isinstance(outputs, tuple) else len(outputs))
        assert outcome.duration_s == number


@given(hnp.arrays("i4", hnp.array_shapes(min_dims=1, max_dims=4)), st.integers(1, 9), st.booleans())
def test_cut_chunks_join_to_the_array(array: np.ndarray[Any, Any], chunk_rows: int, by_row: bool) -> None:
    chunks = (1, *array.shape[1:]) if by_row else (chunk_rows, *array.shape[1:])
    layout = Layout("values", array.dtype, array.shape, chunks, False)

    cut_ = dict(cut(layout, array))
    places = chunks_of(layout, 0, len(array))

    assert set(cut_) == {index for index, _, _ in places}
    assert all(len(data) == layout.chunk_bytes for data in cut_.values())
    assert b"".join(bytes(cut_[index])[: stop - start] for index, start, stop in places) == array.tobytes()


@given(
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=3000).filter(lambda shape: np.prod(shape) < 2**22),
    st.integers(1, 50),
)
@settings(max_examples=50)
def test_layouts_survive_their_metadata(shape: tuple[int, ...], rows: int) -> None:
    row = np.broadcast_to(np.float64(0), shape)

    for layout in (stacked("values", row, rows, True), large_rows("values", row, rows, False)):
        assert Layout.of("values", layout.metadata()) == layout


@given(st.binary(), st.text(max_size=20))
def test_frames_keep_bytes(data: bytes, name: str) -> None:
    assert unseal(name, seal(name, data)) == data


@given(st.binary() | st.builds(lambda data: seal("path", b"data")[:9] + data, st.binary()))
def test_reading_junk_as_a_frame_raises_our_errors(data: bytes) -> None:
    _only_our_errors(lambda: unseal("path", data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(
    st.dictionaries(st.sampled_from(["kind", "keys", "counts", "outputs", "objects", "arrays", "ends"]), json_values)
)
def test_a_senseless_record_with_a_right_checksum_raises_our_errors(changes: dict[str, Any]) -> None:
    builder = SegmentBuilder(f"{FINGERPRINT}/w~1", "2026-01-01")
    builder.add(Entry(TaskKey(digest(1)), BARE, (encoded("value"),)))
    about, listed = read_record("zarr.json", builder.seal().record)

    _only_our_errors(lambda: Segment(f"{FINGERPRINT}/w~1", "zarr.json", write_record({**about, **changes}, listed)))


@given(st.binary())
def test_reading_junk_as_a_record_raises_our_errors(data: bytes) -> None:
    _only_our_errors(lambda: Segment(f"{FINGERPRINT}/w~1", "zarr.json", data))


@given(st.binary())
def test_reading_junk_as_a_spool_raises_nothing(data: bytes) -> None:
    read_spool(data)
    assert read_spool(MAGIC + data).entries == {}


@given(st.sampled_from(["msgpack", "json", "ndarray", "polars.DataFrame"]), st.binary())
def test_decoding_junk_raises_our_errors(codec: str, data: bytes) -> None:
    _only_our_errors(lambda: decode(codec, data, resolver=ModuleResolver(), trusted=False))


def _only_our_errors(read: Any) -> None:
    with contextlib.suppress(StoreError):
        read()
