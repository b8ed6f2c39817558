"""What is sent with a function although no digest tells it from another: later runs don't replay such a function."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint, fingerprint
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.travel import pickler
from tensorlake_nb.errors import UnhashableInputError

PACKAGE = """
    import itertools
    TURNS = itertools.count()
    class Client:
        def __reduce__(self):
            return Client._made, (next(TURNS),)
        @staticmethod
        def _made(turn):
            return Client()
"""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An instance of an installed package's class, which pickle takes apart into something else each time."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "vendored.py").write_text("\n".join(line[4:] for line in PACKAGE.splitlines()))
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    made = importlib.import_module("vendored").Client()
    yield made
    del sys.modules["vendored"]


def closing_over(held: Any) -> Callable[[int], Any]:
    def f(x: int) -> Any:
        return held, x

    return f


def test_wherever_it_is_held_it_is_named_with_its_type_and_what_to_do(client: Any) -> None:
    class Holder:
        kept = client

    def with_default(x: int, c: Any = client) -> Any:
        return c, x

    def with_attribute(x: int) -> Any:
        return x

    with_attribute.client = client  # type: ignore[attr-defined]

    assert fingerprint(closing_over(client)).unkeyed == (
        "closure `held` (vendored.Client) has no content that can be compared",
    )
    assert fingerprint(closing_over([1, {"a": client}])).unkeyed == (
        "closure `held` holds a vendored.Client that has no content that can be compared",
    )
    for function in (closing_over(Holder), with_default, with_attribute, functools.partial(pow, client)):
        found = fingerprint(function)
        assert len(found.unkeyed) == 1
        assert "vendored.Client" in found.unkeyed[0]
        assert set(found.unkeyed) <= set(found.opaque)


@pytest.mark.parametrize("held", [threading.Lock(), threading.RLock(), [threading.Lock()], os.environ, print, os])
def test_what_holds_nothing_or_is_never_sent_counts_by_its_type(held: Any) -> None:
    assert fingerprint(closing_over(held)).unkeyed == ()


def test_the_authors_word_stands_for_it(client: Any) -> None:
    assert fingerprint(tensorlake_function(version="1")(closing_over(client))).unkeyed == ()


def test_a_function_that_is_itself_a_value_has_no_digest_then(client: Any) -> None:
    with pytest.raises(UnhashableInputError, match=r"closure `held` \(vendored.Client\)"):
        digest({"key": closing_over(client)})


MODULE = """
import threading
class Connection:
    def __init__(self, url):
        self.url, self._lock = url, threading.Lock()
    def __reduce__(self):
        raise TypeError("cannot be pickled")
URL = "{url}"
CONNECTION = Connection(URL)
OTHER = {other}
def ask(x):
    return CONNECTION.url, x
"""


def print_of_module(folder: Path, url: str, other: int) -> FunctionPrint:
    (folder / "asking.py").write_text(MODULE.format(url=url, other=other))
    for path in folder.rglob("*.pyc"):
        path.unlink()
    sys.modules.pop("asking", None)
    importlib.invalidate_caches()
    try:
        return fingerprint(importlib.import_module("asking").ask)
    finally:
        del sys.modules["asking"]


def test_a_modules_global_that_cant_be_sent_counts_by_the_text_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker gets it by importing the module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    assert callable(pickler.dumps)  # the rule of what can be sent is there

    first, same, edited = (print_of_module(tmp_path, *given) for given in (("one", 1), ("one", 1), ("two", 1)))

    assert first.unkeyed == edited.unkeyed == ()
    assert first.fingerprint == same.fingerprint
    assert first.fingerprint != edited.fingerprint
    assert "module asking" in first.parts


def test_a_module_that_is_also_used_as_a_whole_has_a_part_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    prints = []
    for turn in itertools.islice(itertools.count(), 2):
        (tmp_path / "whole.py").write_text(f"import threading, weakref\nC = iter(threading.enumerate())\nN = {turn}\n")
        sys.modules.pop("whole", None)
        importlib.invalidate_caches()
        for path in tmp_path.rglob("*.pyc"):
            path.unlink()
        whole = importlib.import_module("whole")
        prints.append(fingerprint(closing_over(whole)))
        del sys.modules["whole"]

    assert prints[0].fingerprint != prints[1].fingerprint
