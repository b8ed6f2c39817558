"""Values that pickle alone can't take apart count by what is sent, or by what can be read of them."""

from __future__ import annotations

import collections
import contextvars
import csv
import functools
import hashlib
import itertools
import json
import pathlib
import re
import struct
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from traitlets import HasTraits, Int
from traitlets.config import Config

from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import UnhashableInputError


def _up(one: int, other: int) -> int:
    return one - other


def _down(one: int, other: int) -> int:
    return other - one


class Slider(HasTraits):
    value = Int()


ORDERED = collections.OrderedDict
#: What makes one from a number that can be seen in it.
SENT: dict[str, Callable[[int], Any]] = {
    "keys": lambda n: {n: 1}.keys(),
    "values": lambda n: {1: n}.values(),
    "items": lambda n: {1: n}.items(),
    "keys in order": lambda n: ORDERED({n: 1}).keys(),
    "values in order": lambda n: ORDERED({1: n}).values(),
    "items in order": lambda n: ORDERED({1: n}).items(),
    "keys of keys": lambda n: collections.ChainMap({n: 1}).keys(),
    "a view in a partial": lambda n: functools.partial(print, {n: 1}.keys()),
    "a cell": types.CellType,
    "a weak set": lambda n: weakref.WeakSet([(_up, _down)[n]]),
    "range": lambda n: iter(range(n)),
    "zip": lambda n: zip([n], [n], strict=False),
    "filter": lambda n: filter(None, [n]),
    "a chain": lambda n: itertools.chain([n]),
    "an alias": lambda n: list[(int, str)[n]],  # type: ignore[misc]
    "a union": lambda n: (int, str)[n] | None,
    "a config": lambda n: Config({"A": {"b": n}}),
    "traits": lambda n: Slider(value=n),
}
READ: dict[str, Callable[[int], Any]] = {
    "a struct": lambda n: struct.Struct("<>"[n] + "i"),
    "a ufunc": lambda n: np.frompyfunc((_up, _down)[n], 2, 1),
    "a key": lambda n: functools.cmp_to_key((_up, _down)[n]),
    "a wrapped key": lambda n: functools.cmp_to_key(_up)(n),
    "a variable": lambda n: contextvars.ContextVar("v", default=n),
    "a match": lambda n: re.match(".", str(n)),
    "a scanner": lambda n: json.JSONDecoder(parse_int=(int, float)[n]),
    "a dialect": lambda n: csv.get_dialect(("excel", "unix")[n]),
    "a hash": lambda n: hashlib.sha256(b"%d" % n),
    "a weak reference": lambda n: weakref.ref((_up, _down)[n]),
    "weak values": lambda n: weakref.WeakValueDictionary(a=(_up, _down)[n]),
}


@pytest.mark.parametrize("name", SENT)
def test_what_is_sent_counts(name: str) -> None:
    make = SENT[name]

    assert digest(make(0)) == digest(make(0)) != digest(make(1))


@pytest.mark.parametrize("name", [*SENT, *READ])
def test_a_function_that_reaches_it_is_another_if_it_is(name: str) -> None:
    def reached(held: Any) -> Any:
        return fingerprint(lambda: held)

    make = {**SENT, **READ}[name]
    one, same, other = reached(make(0)), reached(make(0)), reached(make(1))

    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert not [note for note in one.opaque if "type only" in note]


@pytest.mark.parametrize("name", READ)
def test_what_cannot_be_sent_is_no_input(name: str) -> None:
    with pytest.raises(UnhashableInputError):
        digest(READ[name](0))


def test_a_variable_counts_with_what_it_is_set_to() -> None:
    variable = contextvars.ContextVar[int]("v")
    prints = [fingerprint(lambda: variable).fingerprint]
    for value in (1, 2):
        variable.set(value)
        prints.append(fingerprint(lambda: variable).fingerprint)

    assert len(set(prints)) == 3


def test_an_open_file_counts_by_its_text_and_place_and_is_left_where_it_is(tmp_path: pathlib.Path) -> None:
    seen = set()
    for text, place in (("abc", 0), ("abd", 0), ("abc", 2)):
        (tmp_path / "f").write_text(text)
        with open(tmp_path / "f") as file:
            file.seek(place)
            seen.add(digest(file))
            assert file.tell() == place

    assert len(seen) == 3


def test_a_ufunc_of_a_package_counts_by_its_name() -> None:
    def print_of(held: Any) -> str:
        return fingerprint(lambda: held).fingerprint

    assert print_of(np.add) == print_of(np.add) != print_of(np.subtract)
    assert digest(np.add) != digest(np.subtract)
