"""Values come back as they were: same value, same types, same digest, fresh memory."""

from __future__ import annotations

import datetime as dt
import pathlib
import pickle
import threading
import uuid
import zoneinfo
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    OptionError,
    SerializationError,
    UntrustedCheckpointError,
)
from tensorlake_nb.store.codecs.codec import Encoded, decode, encode, through_json
from tests.support.stores import Colour, Odd, Page, Pair, Plain, Point, Right, Size, encoded


class Unreadable(dict[str, str]):
    """Says that it is made again of its text alone."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text=text)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return (Unreadable, (self["text"],))


def page() -> Page:
    made = Page(url="u", best=Point(1, 2.0))
    made._seen = 3
    return made


PLAIN: list[Any] = [
    None,
    True,
    0,
    -(2**63),
    2**64,
    -(2**200),
    1.5,
    -0.0,
    float("inf"),
    "text",
    "lone \ud800 surrogate",
    b"bytes",
    bytearray(b"array"),
    [1, [2, "3"]],
    (1, (2, [3])),
    {"a": 1, 2: "b", (3, 4): None, None: ()},
    {3, 1, 2},
    frozenset({(1, 2), (3, 4)}),
    1 + 2j,
    range(1, 9, 3),
    slice(1, None, 2),
    ...,
    dt.datetime(2026, 1, 2, 3, 4, 5, 6),
    dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2), "here")),
    dt.date(2026, 1, 2),
    dt.time(1, 2, 3, fold=1),
    dt.timedelta(-1, 2, 3),
    Decimal("-1.200"),
    Decimal("NaN"),
    Fraction(-2, 3),
    uuid.UUID(int=7),
    pathlib.PurePosixPath("/a/b"),
    pathlib.PureWindowsPath("c:/a"),
    pathlib.Path("a"),
    Colour.RED,
    Right.READ | Right.WRITE,
    Size(1, 2),
    Plain(1, [2]),
    Point(1, 2.5),
    Pair([1], Pair(2, Point(3))),
    Page(url="http://x", words=["a"]),
    page(),
    np.float32(1.5),
    np.int8(-3),
    np.bool_(True),
    np.datetime64("2026-01-02T03", "h"),
    np.str_("text\0"),
    np.bytes_(b"ab"),
    OrderedDict([("b", 1), ("a", 2)]),
    Counter("hello"),
    deque([1, 2], maxlen=3),
    [np.arange(3), {"x": np.eye(2)}],
]

ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(10)[::3],
    np.array(1.5),
    np.zeros((0, 3)),
    np.array([True, False]),
    np.array([1 + 2j], dtype="c8"),
    np.arange(3, dtype=">i4"),
    np.array(["2026-01-01", "NaT"], dtype="M8[D]"),
    np.array([1, 2], dtype="m8[25s]"),
    np.array(["ab", "c"]),
    np.array([b"ab", b"c"]),
    np.array([[1, "a"], [None, (2,)]], dtype=object),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
]

TABLES = [
    pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}),
    pd.DataFrame({"a": [1.5]}, index=pd.Index([7], name="i")),
    pd.DataFrame({"t": pd.to_datetime(["2026-01-01"]).tz_localize("UTC")}),
    pd.DataFrame({0: [1], "mixed": [object]}).drop(columns="mixed"),
    pl.DataFrame({"a": [1, 2], "b": [["x"], None]}),
    pl.Series("s", [1, 2, None]),
    pa.table({"a": [1, 2]}),
    pa.record_batch({"a": [1, 2]}),
]


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and digest(left) == digest(right)


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:40])
def test_plain_data_comes_back_exactly_without_a_pickle(value: Any) -> None:
    stored = encoded(value)

    back = decode(stored.codec, stored.data, trusted=False)

    assert stored.codec == "msgpack"
    assert same(back, value)
    assert isinstance(value, set | frozenset) or repr(back) == repr(value)


@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: f"{value.dtype}{value.shape}")
def test_arrays_come_back_with_dtype_and_shape(value: np.ndarray[Any, Any]) -> None:
    stored = encoded(value)

    back = decode(stored.codec, stored.data)

    assert same(back, value)
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert back.flags.writeable
    assert not np.shares_memory(back, value)


@pytest.mark.parametrize("value", TABLES, ids=lambda value: f"{type(value).__module__[:6]}.{type(value).__name__}")
def test_frames_and_tables_are_arrow(value: Any) -> None:
    stored = encoded(value)

    assert stored.codec.endswith(type(value).__name__)
    assert same(decode(stored.codec, stored.data, trusted=False), value)


def test_a_frame_inside_plain_data_is_arrow_too() -> None:
    value = {"table": TABLES[0], "n": 1}

    stored = encoded(value)

    assert stored.codec == "msgpack"
    assert same(decode(stored.codec, stored.data, trusted=False), value)


def test_a_frame_that_arrow_changes_is_pickled() -> None:
    value = pd.DataFrame({"a": [1, "two", 3.0]})

    stored = encoded(value)

    assert stored.codec == "pickle"
    assert same(decode(stored.codec, stored.data), value)


def test_a_frame_with_names_of_mixed_types_is_pickled_without_a_warning() -> None:
    value = pd.DataFrame([[1, 2]], columns=["a", 1])

    stored = encoded(value)

    assert stored.codec == "pickle"
    assert same(decode(stored.codec, stored.data), value)


def test_a_frame_that_came_back_can_be_changed() -> None:
    stored = encoded(pd.DataFrame({"a": [1.0, 2.0]}))

    back = decode(stored.codec, stored.data)
    back.iloc[0, 0] = 9.0

    assert decode(stored.codec, stored.data).iloc[0, 0] == 1.0


def test_aliased_time_zones_and_models_are_whole_after_decoding() -> None:
    stored = encoded(page())

    back = decode(stored.codec, stored.data)

    assert back == page()
    assert back._seen == 3
    assert back.model_fields_set == {"url", "best"}


def test_anything_else_is_a_pickle_and_refused_where_it_is_not_trusted() -> None:
    stored = encoded(Odd([1]))

    assert stored.codec == "pickle"
    assert decode(stored.codec, stored.data) == Odd([1])
    with pytest.raises(UntrustedCheckpointError, match="TENSORLAKE_NB_TRUST_STORE"):
        decode(stored.codec, stored.data, trusted=False)


def test_subclasses_of_builtins_are_not_taken_for_them() -> None:
    class Mine(dict[str, int]):
        pass

    stored = encode(Mine(a=1), digest=digest(1))  # the digest of a local class is somebody else's matter

    assert stored.codec == "pickle"
    assert type(decode(stored.codec, stored.data)).__name__ == "Mine"


def test_an_instance_with_more_than_its_fields_is_pickled() -> None:
    point = Point(1)
    point.__dict__["more"] = 2

    stored = encode(point, digest=digest(1))

    assert stored.codec == "pickle"
    assert decode(stored.codec, stored.data).more == 2


class Notebook:
    """Resolves one class of a notebook, whatever it is now."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def name_of(self, cls: type) -> tuple[str, str] | None:
        return ("__main__", "Mine") if cls is self.cls else None

    def find(self, module: str, qualname: str) -> type:
        if (module, qualname) != ("__main__", "Mine"):
            raise LookupError(qualname)
        return self.cls


@pytest.mark.parametrize("inside", [lambda value: value, lambda value: [Odd(value)]], ids=["plain", "pickled"])
def test_classes_of_the_notebook_are_the_ones_that_stand_there_now(inside: Any) -> None:
    from dataclasses import make_dataclass

    old, new = make_dataclass("Mine", ["x"]), make_dataclass("Mine", ["x"])
    stored = encode(inside(old(1)), digest=digest(1), resolver=Notebook(old))

    back = decode(stored.codec, stored.data, resolver=Notebook(new))

    found = back if inside.__name__ == "<lambda>" and not isinstance(back, list) else back[0].held
    assert type(found) is new
    assert vars(found) == {"x": 1}


def test_a_class_that_has_gone_or_changed_makes_the_value_unfindable() -> None:
    from dataclasses import make_dataclass

    old = make_dataclass("Mine", ["x"])
    stored = encode(old(1), digest=digest(1), resolver=Notebook(old))

    with pytest.raises(CheckpointNotFoundError, match="Mine"):
        decode(stored.codec, stored.data)
    with pytest.raises(CheckpointNotFoundError, match="doesn't fit"):
        decode(stored.codec, stored.data, resolver=Notebook(make_dataclass("Mine", ["x", "y"])))


def test_an_untrusted_store_does_not_choose_what_is_imported() -> None:
    from tensorlake_nb.store.codecs.msgpack_write import pack

    data = pack(Point(1), Notebook(int), frames=lambda _: None).replace(
        b"tests.support.stores", b"this.is.not.imported"
    )

    with pytest.raises(UntrustedCheckpointError, match=r"this\.is\.not\.imported"):
        decode("msgpack", data, trusted=False)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, threading.Lock()]}, r"value\['a'\]\[1\] is a _thread.lock"),
        (Odd(Odd(threading.Lock())), r"value\.held\.held is a _thread\.lock"),
        ((number for number in range(1)), r"value is a builtins\.generator"),
        ([1, Unreadable("why", code=3)], r"value\[1\] is a .*Unreadable.* missing 1 required keyword-only argument"),
        (Odd([Unreadable("why" * (1 << 20), code=3)]), r"value\.held\[0\] is a .*Unreadable"),
    ],
    ids=["in a list", "in an attribute", "itself", "what can't be read back", "what is large and can't be read back"],
)
def test_what_cannot_be_stored_is_named(value: Any, where: str) -> None:
    with pytest.raises(SerializationError, match=where):
        encode(value, digest=digest(1))


def test_an_array_that_is_read_from_a_file_is_an_array(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")

    stored = encode(mapped[1:], digest=digest(mapped[1:]))

    assert stored.codec == "ndarray"
    assert same(decode(stored.codec, stored.data, trusted=False), np.array([[3.0, 4.0, 5.0]]))
    assert digest(mapped) == digest(np.arange(6.0).reshape(2, 3))


def test_json_is_what_json_makes_of_a_value() -> None:
    value = {"point": Point(1), "page": Page(url="u"), "pair": (1, 2)}

    crossed = through_json(value)
    stored = encode(value, digest=digest(crossed), encoder="json")

    assert crossed["pair"] == [1, 2]
    assert crossed["point"] == {"x": 1, "y": 0.0}
    assert same(decode(stored.codec, stored.data, trusted=False), crossed)
    assert same(through_json(crossed), crossed)


def test_what_is_not_json_says_so() -> None:
    with pytest.raises(SerializationError, match="output_encoder"):
        encode({1, 2}, digest=digest(1), encoder="json")


def test_an_unknown_encoder_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="'yaml'"):
        encode(1, digest=digest(1), encoder="yaml")


@pytest.mark.parametrize(
    "codec", ["msgpack", "json", "pandas.DataFrame", "polars.DataFrame", "no such codec", "os.system"]
)
@pytest.mark.parametrize("data", [b"", b"junk", b"\xc7\x05\x15abcde", b"\xd4\x63\x00"])
def test_junk_raises_our_own_errors(codec: str, data: bytes) -> None:
    with pytest.raises((CorruptCheckpointError, CheckpointNotFoundError)):
        decode(codec, data)


def test_a_pickle_that_needs_what_is_gone_is_not_found() -> None:
    data = pickle.dumps(Odd(1)).replace(b"Odd", b"Gon")

    with pytest.raises(CheckpointNotFoundError, match="pickled value"):
        decode("pickle", data)


def test_detached_values_do_not_follow_changes() -> None:
    array = np.zeros(3)
    held = Encoded("ndarray", array, digest(array)).detached()
    array[:] = 1

    assert not np.asarray(held.data).any()


@pytest.mark.parametrize("make", [lambda part: [part, part], lambda part: (part, part)], ids=["lists", "tuples"])
def test_a_value_that_shares_its_parts_stays_small(make: Any) -> None:
    value: Any = [1]
    for _ in range(40):
        value = make(value)

    assert encode(value, digest=digest(1)).size_bytes < 10_000
