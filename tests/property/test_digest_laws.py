"""What holds for the digest of any value: it says what the value is, no less and no more."""

from __future__ import annotations

import copy
import dataclasses
import decimal
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra import pandas as hpd
from pydantic import BaseModel

from tensorlake_nb.core.values.digest import Encoder, digest, inputs_digest, list_digest


@dataclasses.dataclass
class Record:
    first: Any
    second: Any


class Form(BaseModel):
    first: Any
    second: Any = None


def _is_hashable(value: Any) -> bool:
    return not (isinstance(value, decimal.Decimal) and value.is_snan())


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers(),
    st.decimals(), st.fractions(), st.dates(), st.datetimes(), st.timedeltas(), st.uuids(),
)  # fmt: skip
hashable = st.recursive(
    scalars.filter(_is_hashable), lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.builds(Record, inner, inner),
        st.builds(Form, first=inner, second=inner),
        # numpy's pickles lose the byte order of some dtypes
        hnp.arrays(hnp.scalar_dtypes().map(lambda d: d.newbyteorder("=")), hnp.array_shapes(max_dims=2, max_side=3)),
    ),
    max_leaves=12,
)
arrays = hnp.arrays(
    st.one_of(hnp.scalar_dtypes(), hnp.array_dtypes()), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
)


def exact(value: Any) -> Any:
    """A value as nested tuples in which equality means sameness: types, bits of floats, order of dicts."""
    match value:
        case bool() | None | int() | str() | bytes():
            return type(value), value
        case float() | complex():
            return type(value), np.array(value).tobytes()
        case list() | tuple():
            return type(value), tuple(map(exact, value))
        case set() | frozenset():
            return type(value), frozenset(map(exact, value))
        case dict():
            return dict, tuple((exact(key), exact(item)) for key, item in value.items())
        case Record():
            return Record, exact(value.first), exact(value.second)
        case Form():
            return Form, exact(value.first), exact(value.second), frozenset(value.model_fields_set)
        case np.ndarray():
            return np.ndarray, value.dtype.str, value.shape, value.tobytes()
        case _:
            return type(value), repr(value)


@given(values)
def test_a_copy_has_the_same_digest(value: Any) -> None:
    assert digest(copy.deepcopy(value)) == digest(value)


@given(values)
def test_what_comes_back_from_pickle_has_the_same_digest(value: Any) -> None:
    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


@given(values, values)
def test_digests_are_equal_exactly_where_values_are(one: Any, two: Any) -> None:
    assert (digest(one) == digest(two)) == (exact(one) == exact(two))


near = st.sampled_from([0, 0.0, -0.0, False, "", b"", (), 1, 1.0, True, "1", b"1", 1 + 0j, None, "None"])
near_values = st.recursive(near, lambda inner: st.lists(inner, max_size=2) | st.tuples(inner) | st.tuples(inner, inner))


@given(near_values, near_values)
@settings(max_examples=500)
def test_values_that_python_calls_equal_are_told_apart(one: Any, two: Any) -> None:
    assert (digest(one) == digest(two)) == (exact(one) == exact(two))


@given(st.lists(values, max_size=5))
def test_the_digest_of_a_list_is_that_of_its_items_digests(items: list[Any]) -> None:
    assert list_digest(b"".join(map(digest, items))) == digest(items)


@given(values)
def test_no_container_is_taken_for_its_content(value: Any) -> None:
    wrapped = [[value], (value,), {"a": value}, [value, value], [[value]], Record(value, None), Form(first=value)]

    assert len({digest(item) for item in [value, *wrapped]}) == len(wrapped) + 1


@given(values)
def test_watching_changes_nothing(value: Any) -> None:
    assert Encoder(watching=True).encode(value) == Encoder().encode(value)


@given(st.dictionaries(st.text(), scalars), st.randoms())
def test_inputs_by_name_have_no_order(inputs: dict[str, Any], random: Any) -> None:
    names = list(inputs)
    random.shuffle(names)

    assert inputs_digest({name: inputs[name] for name in names}) == inputs_digest(inputs)


@given(st.sets(hashable, min_size=2))
def test_sets_have_no_order(items: set[Any]) -> None:
    backwards = set[Any]()
    for item in sorted(items, key=hash, reverse=True):
        backwards.add(item)

    assert digest(backwards) == digest(items)


@given(arrays)
def test_how_an_array_lies_in_memory_does_not_count(array: np.ndarray[Any, Any]) -> None:
    spread = np.zeros((*array.shape, 2), array.dtype)[..., 0]
    spread[...] = array

    assert digest(np.asfortranarray(array) if array.ndim else array) == digest(array)
    assert digest(spread) == digest(array)


@given(arrays, arrays)
def test_arrays_are_equal_exactly_where_dtype_shape_and_elements_are(
    one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]
) -> None:
    same = one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()

    assert (digest(one) == digest(two)) == same


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=2), unique=True))
def test_another_dtype_or_shape_is_another_value(array: np.ndarray[Any, Any]) -> None:
    assert digest(array.reshape(1, *array.shape)) != digest(array)
    assert digest(array.astype(object)) != digest(array)
    if array.ndim == 2 and array.T.tobytes() != array.tobytes():
        assert digest(array.T) != digest(array)


frames = hpd.data_frames(
    [
        hpd.column("a", dtype=int),
        hpd.column("b", dtype=float),
        hpd.column("c", elements=st.text(max_size=3), dtype=object),
    ]
)


@given(frames)
def test_a_frame_keeps_its_digest_through_copy_and_concat(frame: pd.DataFrame) -> None:
    half = len(frame) // 2
    halves = [part for part in (frame.iloc[:half], frame.iloc[half:]) if len(part)] or [frame]

    assert digest(frame.copy()) == digest(frame)
    assert digest(pd.concat(halves)) == digest(pd.concat([frame]))


@given(frames)
def test_names_order_index_and_dtypes_of_a_frame_count(frame: pd.DataFrame) -> None:
    others = [
        frame.rename(columns={"a": "z"}),
        frame[["b", "a", "c"]],
        frame.set_index(np.arange(len(frame)) + 0.5),
        frame.astype({"a": float}),
        frame.rename_axis("named"),
    ]

    assert len({digest(other) for other in [frame, *others]}) == len(others) + 1


@pytest.mark.parametrize("count", [0, 1, 2, 65, 30_000])
def test_long_lists_follow_the_same_law(count: int) -> None:
    items = [{"i": i} for i in range(count)]

    assert list_digest(b"".join(map(digest, items))) == digest(items)
