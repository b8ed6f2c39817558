"""Digests of values: what differs, what doesn't, and what is refused."""

# ruff: noqa: E501 - a table of values

from __future__ import annotations

import argparse
import collections
import configparser
import copy
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import pathlib
import struct
import subprocess
import sys
import threading
import time
import types
import uuid
import zlib
import zoneinfo
from typing import Any, NamedTuple
from xml.dom import minidom

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import requests.cookies
from pydantic import BaseModel, ConfigDict

from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.values import object_rules as digest_objects
from tensorlake_nb.core.values import value_graphs as digest_nodes
from tensorlake_nb.core.values.digest import Encoder, digest, digest_with_notes, inputs_digest, list_digest
from tensorlake_nb.errors import UnhashableInputError
from tests.support.counted_calls import calls_of


class Model(BaseModel):
    a: int = 1
    b: list[int] = []
    _p: int = 3


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Other(BaseModel):
    a: int = 1
    b: list[int] = []


@dataclasses.dataclass
class Data:
    x: int
    y: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    a: int
    b: int


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Custom:
    def __init__(self, n: int, cache: Any = None) -> None:
        self.n, self.cache = n, cache

    def __reduce__(self) -> Any:
        return Custom, (self.n,)


class Words(list[str]):
    pass


PACKED = [("a", "i1"), ("b", "f8")]
ALIGNED = np.dtype(PACKED, align=True)
VALUES: list[Any] = [
    None, True, False, ..., NotImplemented, 0, 1, -1, 127, 128, 255, 256, 2**63, 2**200, -(2**200),
    0.0, -0.0, 1.0, float("inf"), float("nan"), 1j, complex(-0.0, 0), "", "1", "a", "é", "\ud800", b"", b"1", bytearray(b"1"),
    [], [1], [[1]], [1, 2], [2, 1], (), (1,), (1, 2), ((1, 2),), ((1,), 2), {}, {1: 2}, {"a": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1},
    set(), {1}, frozenset(), frozenset({1}), {frozenset({1})}, range(3), range(0, 6, 2), slice(1), slice(None, 1, 1),
    collections.deque([1]), collections.deque([1], 3), collections.OrderedDict(a=1), collections.Counter("aab"),
    collections.defaultdict(list, a=1), collections.defaultdict(dict, a=1), types.MappingProxyType({"a": 1}),
    types.SimpleNamespace(a=1), decimal.Decimal("1.0"), decimal.Decimal("1.00"), decimal.Decimal("NaN"), fractions.Fraction(1, 2),
    datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2020, 1, 1, fold=1),
    datetime.datetime(2020, 1, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")), datetime.date(2020, 1, 1), datetime.time(1),
    datetime.time(1, tzinfo=datetime.UTC), datetime.timedelta(1), datetime.timedelta(seconds=1), datetime.UTC,
    uuid.UUID(int=1), pathlib.Path("a"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), memoryview(b"1"),
    Model(), Model(a=1), Model(a=2), Model(b=[1]), Other(), Open(), Open.model_validate({"a": 1, "extra": 1}), Data(1), Data(2), Data(1, [1]), Slotted(1),
    Color.RED, Color.BLUE, Point(1, 2), Plain(), Plain(a=1), Custom(1), Custom(2), Words(["a"]), ["a"], ValueError("a"), ValueError("b"),
    np.float64(1), np.float32(1), np.int64(1), np.bool_(True), np.str_("1"), np.datetime64("2020"), np.datetime64("2020", "s"),
    np.array(1), np.array([1]), np.array([[1]]), np.array([1.0]), np.array([1], ">i4"), np.array([1], "<i4"), np.array([1], "u8"),
    np.array(["a"]), np.array(["a"], "U2"), np.array([b"a"]), np.array(["a"], object), np.array([[1, 2], [3, 4]]),
    np.array([[1, 2], [3, 4]]).T, np.array([], int), np.array([], float), np.empty((0, 2)), np.empty((2, 0)),
    np.array(["2020"], "M8[D]"), np.array(["2020"], "M8[ns]"), np.array([1], "m8[s]"), np.array([1, None]), np.array([[1], None], object),
    np.ma.masked_array([1, 2], [False, True]), np.ma.masked_array([1, 2], [False, False]), np.array([1, 2]).view(np.recarray),
    np.array([(1, 2.0)], PACKED), np.array([(1, 2.0)], ALIGNED), np.array([(1, 2.0)], [("a", "i1"), ("c", "f8")]),
    np.array(["x"], np.dtypes.StringDType()), np.longdouble(1), np.array([1], np.longdouble), np.dtype("f4"), np.dtype("f8"),
    np.random.default_rng(1), np.random.default_rng(2),
    pd.Series([1]), pd.Series([1.0]), pd.Series([1], name="a"), pd.Series([1], index=["a"]), pd.Series(["a"]),
    pd.Series(["a"], dtype=object), pd.Series(["a"], dtype="string"), pd.Series(["a"], dtype="category"),
    pd.Series(["a"], dtype=pd.CategoricalDtype(["a", "b"])), pd.Series(["a"], dtype=pd.CategoricalDtype(["a"], ordered=True)),
    pd.Series([1, None]), pd.Series([1, None], dtype="Int64"), pd.Series([1, 0], dtype="Int64"), pd.Series([1], dtype="int64[pyarrow]"),
    pd.Series([True, None], dtype="boolean"), pd.Series([["a"], 1, None], dtype=object), pd.Series(pd.to_datetime(["2020"])),
    pd.Series(pd.to_datetime(["2020"]).tz_localize("UTC")), pd.Series(pd.to_datetime(["2020"]).tz_localize("Europe/Paris")),
    pd.Series(pd.to_timedelta([1])), pd.arrays.SparseArray([False, True]), pd.interval_range(0, 2), pd.interval_range(0, 2, closed="left"),
    pd.period_range("2020", periods=2, freq="D"), pd.date_range("2020", periods=2), pd.Index([1]), pd.Index([1], name="a"),
    pd.RangeIndex(1, 2), pd.MultiIndex.from_product([[1], [2]]), pd.MultiIndex.from_product([[1], [2]], names=["a", "b"]),
    pd.DataFrame(), pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1]}), pd.DataFrame({"a": [1], "b": [2]}),
    pd.DataFrame({"b": [2], "a": [1]}), pd.DataFrame({"a": [1]}, index=[5]), pd.DataFrame([[1, 2]], columns=["a", "a"]),
    pd.Timestamp("2020"), pd.Timestamp("2020", tz="UTC"), pd.NaT, pd.NA,
    pl.Series([1]), pl.Series("a", [1]), pl.Series([1], dtype=pl.Int8), pl.Series([1.0]), pl.Series([None, 1]), pl.Series([0, 1]),
    pl.Series(["a", ""]), pl.Series(["", "a"]), pl.Series(["a", None]), pl.Series([[1], [], None]), pl.Series([[1], None, []]),
    pl.Series([[], [1]], dtype=pl.List(pl.Int64)), pl.Series([{"a": 1}]), pl.Series([{"b": 1}]), pl.Series(["a"], dtype=pl.Categorical),
    pl.Series(["a"], dtype=pl.Enum(["a", "b"])), pl.Series(["a"], dtype=pl.Enum(["a"])), pl.Series([b"a"]), pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
    pl.Series([datetime.date(2020, 1, 1)]), pl.Series([datetime.datetime(2020, 1, 1)]), pl.Series([decimal.Decimal("1.1")]),
    pl.Series([True, None]), pl.Series([None]), pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]}), pl.DataFrame({"a": ["x"], "b": [1]}),
    pa.array([1]), pa.array([1], pa.int8()), pa.array([1, None]), pa.array([1, 0]), pa.array(["a", ""]), pa.array(["a", None]), pa.array([b"a"]),
    pa.array([[1], None, []]), pa.array([[1], [], None]), pa.array([{"a": 1}]), pa.array([{"a": 1}, None]), pa.array(["a"]).dictionary_encode(), pa.array([True]),
    pa.array([datetime.date(2020, 1, 1), None]), pa.array([decimal.Decimal("1")]), pa.array([1.5]), pa.array([None]), pa.scalar(1),
    pa.chunked_array([[1], [2]]), pa.table({"a": [1]}), pa.table({"a": [1.0]}), pa.table({"b": [1]}), pa.table({"a": [1]}).replace_schema_metadata({"k": "v"}),
    pa.array([{"a": 1}, {"a": None}]), pa.record_batch({"a": [1]}), pa.schema([("a", pa.int64())]), pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    ("as", "b"), ("a", "sb"), 1.5, int.from_bytes(struct.pack("<d", 1.5), "little"), [b"1", b"2"], [b"12"],
    len, print, int, dict[str, int], list[int], "[1]", "None",
]  # fmt: skip


def test_values_that_differ_have_different_digests() -> None:
    seen: dict[bytes, Any] = {}
    for value in VALUES:
        found = digest(value)
        assert found not in seen, f"{value!r} and {seen[found]!r}"
        seen[found] = value

    assert len(seen) == len(VALUES)


def test_every_value_inside_a_container_has_the_digest_it_has_alone() -> None:
    for value in VALUES:
        assert digest([value]) == list_digest(digest(value))


@pytest.mark.parametrize("watching", [False, True])
def test_an_encoder_that_watches_gives_the_same(watching: bool) -> None:
    for value in VALUES:
        assert Encoder(watching).encode([value, value]) == Encoder(not watching).encode([value, value])


def test_arrays_of_one_content_are_equal_however_they_lie() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    big = np.arange(1_500_000.0).reshape(1500, 1000)

    assert digest(np.asfortranarray(x)) == digest(x)
    assert digest(np.concatenate([x, x])[:2]) == digest(x)
    assert digest(np.repeat(x, 2, axis=2)[:, :, ::2]) == digest(x)
    assert digest(x[::-1][::-1]) == digest(x)
    assert digest(np.asfortranarray(big)) == digest(big)
    assert digest(big.T) != digest(big)
    assert digest(x.T) != digest(x)


def test_a_large_array_hashed_in_blocks_is_the_one_hashed_at_once() -> None:
    square = np.arange(3000 * 1000, dtype="f8").reshape(3000, 1000)

    assert digest(square.T) == digest(np.ascontiguousarray(square.T))
    assert digest(square[:, ::2]) == digest(square[:, ::2].copy())


def test_padding_does_not_count() -> None:
    # Copying an array of records may leave anything in the padding, so both are made of bytes.
    zeros, ones = (np.full(2 * ALIGNED.itemsize, byte, np.uint8).view(ALIGNED) for byte in (0, 255))
    for array in (zeros, ones):
        array["a"], array["b"] = 1, 2.0

    assert zeros.tobytes() != ones.tobytes()
    assert digest(zeros) == digest(ones)


def test_what_lies_below_a_mask_does_not_count() -> None:
    assert digest(np.ma.masked_array([1, 2], [False, True])) == digest(np.ma.masked_array([1, 99], [False, True]))
    one, two = (pd.arrays.IntegerArray(np.array([1, below]), np.array([False, True])) for below in (0, 7))
    assert digest(pd.Series(one)) == digest(pd.Series(two))


def test_whether_there_is_a_mask_and_whether_it_is_hard_counts() -> None:
    made = [
        np.ma.masked_array([1, 2]),
        np.ma.masked_array([1, 2], [False, False]),
        np.ma.masked_array([1, 2], hard_mask=True),
        np.ma.masked_array([1, 2], [False, False], hard_mask=True),
        np.ma.masked_array([1, 2], fill_value=3),
    ]

    assert len(set(map(digest, made))) == len(made)
    assert list(map(digest, made)) == [digest(copy.deepcopy(each)) for each in made]


def test_titles_of_fields_count() -> None:
    kinds = [np.dtype([(name, "i4")]) for name in ("a", ("one", "a"), ("two", "a"))]

    assert len({digest(np.zeros(2, kind)) for kind in kinds}) == 3


def test_what_is_noted_beside_a_dtype_counts() -> None:
    kinds = [np.dtype("i4"), *(np.dtype("i4", metadata={"unit": unit}) for unit in ("m", "s"))]

    assert len({digest(np.zeros(2, kind)) for kind in kinds}) == 3
    assert len({digest(kind) for kind in kinds}) == 3
    assert len({digest(np.zeros(2, [("x", kind)])) for kind in kinds}) == 3


class Looked:
    def __init__(self, prices: list[int]) -> None:
        self.prices = prices

    @functools.cached_property
    def total(self) -> int:
        return sum(self.prices)


@dataclasses.dataclass
class LookedData:
    prices: list[int]

    @functools.cached_property
    def total(self) -> int:
        return sum(self.prices)


@pytest.mark.parametrize("make", [Looked, LookedData, type("Below", (Looked,), {})])
def test_that_a_cached_property_was_looked_at_does_not_count(make: Any) -> None:
    value = make([1, 2])
    before, reached = digest(value), fingerprint(lambda: value).fingerprint

    assert value.total == 3
    assert (digest(value), fingerprint(lambda: value).fingerprint) == (before, reached)
    assert digest(make([2, 1])) != before


def test_frames_are_equal_however_they_were_made() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": ["x", None]})
    joined = pd.concat([frame[["a"]], frame[["b"]], frame[["c"]]], axis=1)
    sliced = pd.concat([frame, frame]).iloc[:2]

    assert digest(joined) == digest(frame)
    assert digest(sliced.reset_index(drop=True)) == digest(frame)
    assert digest(frame.copy()) == digest(frame)


def test_attributes_of_frames_count() -> None:
    frame = pd.DataFrame({"a": [1]})
    noted = frame.copy()
    noted.attrs["unit"] = "m"

    assert digest(noted) != digest(frame)


def test_chunks_and_offsets_of_tables_do_not_count() -> None:
    table = pa.table(
        {"a": [1, None, 3], "b": ["x", None, "zz"], "c": [[1], None, [2, 3]], "d": [{"k": 1}, None, {"k": None}]}
    )
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    cut = pa.concat_tables([table.slice(2), table, table]).combine_chunks().slice(1, 3)

    assert digest(chunked) == digest(table)
    assert digest(cut) == digest(table)
    frame = pl.DataFrame(table.to_pydict())
    assert digest(pl.concat([frame[:1], frame[1:]], rechunk=False)) == digest(frame)
    assert digest(pl.concat([frame, frame])[3:]) == digest(frame)


def test_polars_categories_count_by_what_they_say() -> None:
    one = pl.Series(["b", "a"], dtype=pl.Categorical)
    two = pl.Series(["a", "b", "a"], dtype=pl.Categorical)[1:]

    assert digest(one) == digest(two)


def test_sets_and_attributes_have_no_order() -> None:
    assert digest({8, 16, "a", None}) == digest({None, "a", 16, 8})
    assert digest(Plain(a=1, b=2)) == digest(Plain(b=2, a=1))


def test_inputs_by_name_have_no_order_but_dicts_have_one() -> None:
    assert inputs_digest({"a": 1, "b": [2]}) == inputs_digest({"b": [2], "a": 1})
    assert inputs_digest({"a": 1}) == digest({"a": 1})
    assert digest({"a": 1, "b": 2}) != digest({"b": 2, "a": 1})


def test_state_that_pickle_leaves_out_does_not_count() -> None:
    assert digest(Custom(1, cache=[1])) == digest(Custom(1))


def test_which_fields_of_a_model_were_set_counts() -> None:
    assert digest(Model(a=1)) != digest(Model())
    assert digest(Model(a=1)) == digest(Model(a=1))
    private = Model(a=1)
    private._p = 4
    assert digest(private) != digest(Model(a=1))


def test_names_may_hold_half_a_letter() -> None:
    named = [types.SimpleNamespace(**{name: 1}) for name in ("cut \ud83d", "cut \ud83c")]
    columns = [np.zeros(2, dtype=[(name, int)]) for name in ("cut \ud83d", "cut \ud83c")]

    assert len({digest(value) for value in [*named, *columns]}) == 4


def test_nan_equals_itself_bit_by_bit() -> None:
    negative = np.copysign(np.nan, -1)

    assert digest(float("nan")) == digest(float("nan"))
    assert digest(np.array([np.nan])) == digest(np.array([np.nan]))
    assert digest(float(negative)) != digest(float("nan"))


def test_deep_nesting_is_no_limit() -> None:
    deep: Any = 1
    for _ in range(3_000):
        deep = [(Data(1, {"k": deep}),)]
    other: Any = 2
    for _ in range(3_000):
        other = [(Data(1, {"k": other}),)]
    limit = sys.getrecursionlimit()

    assert digest(deep) != digest(other)
    assert sys.getrecursionlimit() == limit


def test_shared_references_cost_no_more_than_their_distinct_parts() -> None:
    shared: Any = [1]
    for _ in range(200):
        shared = [shared, {"a": shared}]

    assert digest(shared) == digest(shared)


def test_sharing_does_not_count() -> None:
    one = [1]

    assert digest([one, one]) == digest([[1], [1]])


class Node:
    """One of a list that can be followed both ways."""

    def __init__(self, leaf: Any = None) -> None:
        self.leaf, self.next, self.before = leaf, None, None


def _chain(n: int, *, ring: bool = False, ways: int = 2) -> list[Node]:
    made = [Node(i % 3) for i in range(n)]
    for one, other in zip(made, [*made[1:], made[0]] if ring else made[1:], strict=False):
        one.next = other  # type: ignore[assignment]
        if ways == 2:
            other.before = one  # type: ignore[assignment]
    return made


def test_how_many_there_are_in_a_cycle_counts() -> None:
    def ring(n: int) -> list[Any]:
        made: list[Any] = [[] for _ in range(n)]
        for i, each in enumerate(made):
            each.append(made[i - 1])
        return made

    first, second = ring(2)
    assert len({digest(ring(n)[0]) for n in (1, 2, 3)}) == 3
    assert digest(first) == digest(second)
    assert digest([first]) == list_digest(digest(first)) != digest(first)


def test_where_a_cycle_is_entered_counts() -> None:
    chain, ring = _chain(6), _chain(6, ring=True)

    assert len(set(map(digest, chain))) == 6
    assert len(set(map(digest, ring))) == 3


@pytest.mark.parametrize(("ring", "ways"), [(False, 1), (False, 2), (True, 1), (True, 2)])
def test_long_chains_are_no_limit(ring: bool, ways: int) -> None:
    chain = functools.partial(_chain, ring=ring, ways=ways)
    long = chain(6_000)
    limit = sys.getrecursionlimit()
    before = digest(long[0])
    long[-1].leaf = "other"
    assert digest(long[0]) != before
    assert sys.getrecursionlimit() == limit

    few, many = (
        calls_of(lambda held=held: digest([held, held[0], {"by": held}]))  # type: ignore[misc]
        for held in (chain(100), chain(1_000))
    )
    assert many < 10 * 1.5 * few


def test_the_way_to_a_value_without_a_digest_leads_through_cycles() -> None:
    parent, child = Plain(), Plain(lock=threading.Lock())
    parent.children, child.parent = [1, child], parent  # type: ignore[attr-defined]

    with pytest.raises(UnhashableInputError, match=r"value\.children\[1\]\.lock: _thread.lock has no digest"):
        digest(parent)
    with pytest.raises(UnhashableInputError, match=r"value\.leaf\.leaf.*\.\.\. .*\.leaf: _thread.lock has no digest"):
        digest(functools.reduce(lambda held, _: Node(held), range(200), Node(threading.Lock())))


def _family() -> Plain:
    """Children in a set that lead back."""
    parent = Plain(name="parent")
    parent.children = {Plain(name=name, parent=parent) for name in "abcaa"}  # type: ignore[attr-defined]
    return parent


class Endless:
    """Makes another one of itself each time that it is taken apart."""

    def __reduce__(self) -> Any:
        return Endless, (Endless(),)


def test_what_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_nodes, "_DEEPEST", 1_000)

    with pytest.raises(UnhashableInputError, match="nested too deeply"):
        digest([Endless()])


class Hooked:
    """Holds its own methods, bound and in whatever else takes a callable."""

    def __init__(self, size: int = 1) -> None:
        self.size, self.hooks = size, [self.on_step, functools.partial(self.on_step, 1)]
        self.by_name = {"on": self.on_step, "add": self.hooks.append}

    def on_step(self, *given: int) -> int:
        return self.size


def _two(size: int) -> Hooked:
    one, other = Hooked(size), Hooked()
    one.other, other.other = other.on_step, one.on_step  # type: ignore[attr-defined]
    return one


@pytest.mark.parametrize("make", [Hooked, _two, lambda size: Hooked(size).on_step, lambda size: [size].append])
def test_what_holds_its_own_methods_counts_where_it_is_reached(make: Any) -> None:
    def print_of(held: Any) -> str:
        return fingerprint(lambda: held).fingerprint

    prints = [print_of(make(size)) for size in (1, 2, 1)]

    assert prints[0] == prints[2] != prints[1]


@pytest.mark.parametrize("make", [Hooked, _two])
def test_what_holds_its_own_methods_has_a_digest(make: Any) -> None:
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


@pytest.mark.parametrize("text", ["<a><b c='1'/><b/></a>", "<a><b c='1'/><d/></a>"])
def test_what_the_standard_library_makes_with_ways_back_has_a_digest(text: str) -> None:
    def made(text: str) -> list[Any]:
        parser = argparse.ArgumentParser("program")
        parser.add_argument("--" + hex(zlib.crc32(text.encode())), type=int)
        config = configparser.ConfigParser()
        config.read_string(f"[a]\nb={len(text)}{text[-7]}")
        return [minidom.parseString(text), parser, config]

    for one, again, other in zip(made(text), made(text), made("<a/>      "), strict=True):
        assert digest(one) == digest(again) == digest(copy.deepcopy(one)) != digest(other)


def test_a_method_counts_with_what_it_is_bound_to() -> None:
    assert digest([1].append) == digest([1].append) != digest([2].append)
    assert digest(decimal.Context(prec=3).sqrt) != digest(decimal.Context(prec=4).sqrt)


@pytest.mark.parametrize(
    ("value", "way"),
    [
        (threading.Lock(), r"value: _thread.lock has no digest"),
        ({"a": [1, Data(1, [threading.Lock()])]}, r"value\['a'\]\[1\]\.y\[0\]: _thread.lock"),
        (Plain(model=threading.Lock()), r"value\.model: _thread.lock"),
        ({(1, threading.Lock())}, r"value\{...\}\[1\]: _thread.lock"),
        (np.array([[1, threading.Lock()]], object), r"value\[0, 1\]: _thread.lock"),
        (pd.DataFrame({"a": [threading.Lock()]}), r"value\['a'\]\[0\]: _thread.lock"),
        ((x for x in [1]), r"value: generator has no digest \(cannot pickle 'generator' object\)"),
    ],
)
def test_a_value_without_a_digest_is_refused_with_the_way_there(value: Any, way: str) -> None:
    with pytest.raises(UnhashableInputError, match=way):
        digest(value)


class Fickle:
    numbers = itertools.count()

    def __reduce__(self) -> Any:
        return Fickle, (), {"n": next(Fickle.numbers)}


def test_what_only_its_own_package_can_take_apart_leaves_a_note() -> None:
    jar = requests.cookies.RequestsCookieJar()  # has a __getstate__ of its own

    assert digest_with_notes([jar])[1] == (
        "requests.cookies.RequestsCookieJar has no canonical form: it is known by its pickled state",
    )
    assert digest_with_notes([1, Model(), Custom(1), pd.DataFrame()])[1] == ()


def test_an_object_that_pickles_differently_each_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_objects, "_is_known", lambda cls: cls is not Fickle)

    with pytest.raises(UnhashableInputError, match="Fickle is pickled differently each time"):
        digest([Fickle()])


def test_an_exception_counts_the_same_whether_its_traceback_could_travel_or_not() -> None:
    before = digest(ValueError("a", 1))
    copyreg.pickle(ValueError, lambda error: (ValueError, (*error.args, "with its traceback")))
    try:
        after = digest(ValueError("a", 1))
    finally:
        del copyreg.dispatch_table[ValueError]

    assert after == before


SCRIPT = """
import sys, enum
from tests.unit.core.values.test_digest import VALUES, _chain, _family, digest
others = [{"a", "b", "c", None, 1, ("x",)}, _chain(9)[4], _chain(9, ring=True), _family(), max(_family().children, key=lambda child: child.name)]
print(*(digest(value).hex() for value in VALUES), digest(others).hex(), sep="\\n")
"""


def test_digests_are_the_same_in_other_processes() -> None:
    outputs = set()
    for seed in ("0", "1"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join([".", *sys.path])}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)

    assert len(outputs) == 1
    assert outputs.pop().split()[:-1] == [digest(value).hex() for value in VALUES]


def test_small_values_take_microseconds() -> None:
    values: list[Any] = [1, "abc", 1.5, {"a": 1, "b": "x"}, (1, 2)]

    best = min(_seconds_of(values) for _ in range(5))

    assert best / (200 * len(values)) < 50e-6


def _seconds_of(values: list[Any]) -> float:
    start = time.perf_counter()
    for _ in range(200):
        for value in values:
            digest(value)
    return time.perf_counter() - start
