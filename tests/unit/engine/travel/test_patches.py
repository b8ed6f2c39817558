"""What a cell puts on a package's class or module is there on a worker, and goes when it goes in the kernel."""

from __future__ import annotations

import functools
import json
import math
import operator
import string
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.code.patches import find_patches
from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.engine.travel import patches as patching
from tensorlake_nb.engine.travel import pickler as travel
from tensorlake_nb.engine.travel import unpickler
from tensorlake_nb.engine.travel.packing import Unpacked, pack, unpack
from tensorlake_nb.errors import SerializationError


@tensorlake_function()
def using(x: int) -> str:
    return json.dumps(pd.Series([x]).twice().tolist())


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_ever", "_now"):
        monkeypatch.setattr(patching, name, set())
    monkeypatch.setattr(patching, "_originals", {})
    dumps = json.dumps
    yield
    json.dumps = dumps
    if "twice" in vars(pd.Series):
        del pd.Series.twice


def packed() -> bytes:
    found = [patch for patch in find_patches() if patch.path in ("json.dumps", "pandas.Series.twice")]
    patching.notice(found)
    return pack(fingerprint(using, patches=found), using)


def arrived(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Unpacked:
    """Bring it to life as a process does that isn't the kernel."""
    monkeypatch.setattr(unpickler, "PROCESS", "another")
    unpacked = unpack(data)
    unpacked.install()
    monkeypatch.undo()
    return unpacked


def test_a_method_and_a_function_that_calls_what_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = json.dumps

    @functools.wraps(plain)
    def dumps(value: Any) -> str:
        return "<" + plain(value) + ">"

    with pytest.MonkeyPatch.context() as kernel:
        kernel.setattr(pd.Series, "twice", lambda self: self * 2, raising=False)
        kernel.setattr(json, "dumps", dumps)
        data = packed()
    assert json.dumps is plain

    unpacked = arrived(data, monkeypatch)

    assert unpacked.function.call(4) == "<[8]>"
    unpacked.install()  # for each batch again
    assert unpacked.function.call(4) == "<[8]>"


@pytest.mark.parametrize(("owner", "name"), [(np, "fix"), (np, "exp"), (math, "sqrt")], ids=["numpy", "ufunc", "c"])
def test_functions_of_numpy_and_of_c_are_there_below_what_replaces_them(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    plain = getattr(owner, name)
    with pytest.MonkeyPatch.context() as kernel:
        kernel.setattr(owner, name, lambda value: plain(value) + 1)
        found = tuple(patch for patch in find_patches() if patch.path == f"{owner.__name__}.{name}")
        data = travel.dumps(found[0].value)[0]
    replacing = unpickler.loads(data)

    assert replacing(4) == plain(4) + 1


def test_what_is_assigned_to_a_function_or_a_class_goes_with_it() -> None:
    defaults = string.capwords.__defaults__
    places = [("string", "capwords", "__defaults__"), ("string", "Formatter", "probe"), ("string", "", "digits")]
    patching.place([(places[0], ("-",)), (places[1], functools.partial(operator.add, 1)), (places[2], "01")], ())
    try:
        assert string.capwords("a-b") == "A-B"
        formatter: Any = string.Formatter
        assert (formatter.probe(2), string.digits) == (3, "01")
    finally:
        patching.place((), places)

    assert (string.capwords.__defaults__, string.digits) == (defaults, "0123456789")
    assert not hasattr(string.Formatter, "probe")


def test_what_is_taken_away_in_the_kernel_is_taken_away_on_the_worker() -> None:
    where = ("pandas", "Series", "twice")
    patching.place([(where, lambda self: self * 2)], ())
    patching.place([(("json", "", "dumps"), lambda value: "")], ())
    assert json.dumps(1) == ""

    patching.place((), [where, ("json", "", "dumps")])

    assert "twice" not in vars(pd.Series)
    assert json.dumps(1) == "1"


def test_the_kernel_says_what_is_gone() -> None:
    with pytest.MonkeyPatch.context() as kernel:
        kernel.setattr(pd.Series, "twice", lambda self: self * 2, raising=False)
        packed()
    packed()

    assert patching.gone() == (("pandas", "Series", "twice"),)


def test_one_that_cant_be_sent_is_refused_by_name() -> None:
    lock = threading.Lock()
    with pytest.MonkeyPatch.context() as kernel:
        kernel.setattr(pd.Series, "twice", lambda self: (lock, self), raising=False)
        with pytest.raises(SerializationError, match="'lock'"):
            packed()


def test_a_package_that_isnt_there_is_named() -> None:
    with pytest.raises(SerializationError, match=r"not_installed\.Thing, which a worker doesn't have"):
        patching.place([(("not_installed", "Thing", "f"), 1)], ())
