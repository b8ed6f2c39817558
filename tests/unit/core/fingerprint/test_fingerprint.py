"""Fingerprints as people meet them: parts by name, and what changed between two."""

# ruff: noqa: E501 - a cell is a line

from __future__ import annotations

import linecache
import pickle
import threading
from typing import Any

import numpy as np
import pytest

from tensorlake_nb.core.fingerprint.fingerprint import Change, FunctionPrint, explain, fingerprint
from tensorlake_nb.core.values.digest import digest


def print_of(cell: str) -> FunctionPrint:
    filename = f"<ipython-input-{abs(hash(cell))}>"
    linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "__main__", "np": np, "lock": threading.Lock()}
    exec(compile(cell, filename, "exec", dont_inherit=True), namespace)
    return fingerprint(namespace["f"])


def changes(before: str, after: str) -> list[Change]:
    old, new = print_of(before), print_of(after)
    return explain(old.parts, old.sources, new.parts, new.sources)


CELL = """
LIMIT = 3
BIG = np.zeros(1000)
class Total:
    count = 0
    def add(self, n): return self.count + n
def clean(x):
    a = x
    return a + LIMIT
def f(x, n=2):
    b = clean(x)
    return Total().add(b) * n + BIG.sum()
"""


def test_parts_are_named_as_people_name_them() -> None:
    found = print_of(CELL)

    assert set(found.parts) == {
        "code", "helper clean", "global LIMIT", "global BIG", "class Total", "method Total.add", "attribute Total.count",
        "default n", "package numpy",
    }  # fmt: skip
    assert found.sources["helper clean"] == "def clean(x):\n    a = x\n    return a + LIMIT"
    assert found.sources["global LIMIT"] == "3"
    assert found.sources["global BIG"] == "array float64 (1000,)"
    assert found.sources["class Total"] == "class Total:\n    count = 0"
    assert list(found.classes) == [("__main__", "Total")]
    assert found.opaque == ()
    assert len(found.fingerprint) == 64


@pytest.mark.parametrize(
    ("old", "new", "part", "sentence", "diff"),
    [
        (
            "a + LIMIT",
            "a - LIMIT",
            "helper clean",
            "helper `clean` changed",
            "-    return a + LIMIT\n+    return a - LIMIT",
        ),
        ("b = clean(x)", "b = clean(-x)", "code", "its code changed", "-    b = clean(x)\n+    b = clean(-x)"),
        ("LIMIT = 3", "LIMIT = 4", "global LIMIT", "global `LIMIT` changed", "3 -> 4"),
        ("n=2", "n=5", "default n", "default `n` changed", "2 -> 5"),
        ("count = 0", "count = 1", "attribute Total.count", "attribute `Total.count` changed", "0 -> 1"),
        (
            "self.count + n",
            "n",
            "method Total.add",
            "method `Total.add` changed",
            "-    return self.count + n\n+    return n",
        ),
        ("np.zeros", "np.ones", "global BIG", "global `BIG` changed", "array float64 (1000,) (other contents)"),
    ],
)
def test_a_change_is_told_by_the_part_that_changed(old: str, new: str, part: str, sentence: str, diff: str) -> None:
    found = {change.part: change for change in changes(CELL, CELL.replace(old, new))}

    assert found[part].what == "changed"
    assert str(found[part]) == sentence
    assert diff in found[part].diff


def test_the_functions_own_code_is_told_first() -> None:
    after = CELL.replace("LIMIT = 3", "LIMIT = 4").replace("b = clean(x)", "b = clean(-x)").replace("a + LIMIT", "a")

    found = [change.part for change in changes(CELL, after)]

    assert found[:2] == ["code", "helper clean"]


def test_what_is_new_or_gone_is_told() -> None:
    found = {
        change.part: change.what
        for change in changes(CELL, CELL.replace("BIG.sum()", "extra()") + "def extra(): return 1\n")
    }

    assert found["helper extra"] == "added"
    assert found["global BIG"] == "removed"


def test_nothing_changed_is_nothing_told() -> None:
    assert changes(CELL, "# comment\n" + CELL) == []


def test_a_caller_is_not_told_for_the_sake_of_what_it_calls() -> None:
    found = changes("def g(): return 1\ndef f(x): return g()\n", "g = 3\ndef f(x): return g()\n")

    assert {change.part for change in found} == {"helper g", "global g"}


def test_values_whose_name_sounds_secret_are_not_shown() -> None:
    found = print_of("API_KEY = 'sk-123'\ndef f(x): return API_KEY\n")

    assert found.sources["global API_KEY"] == "(not shown)"
    assert "sk-123" not in repr(found)


def test_no_address_and_no_path_enters_what_is_shown() -> None:
    found = print_of("F = {'a': print, 'b': lambda: 1, 'c': object()}\ndef f(x): return F, lock\n")

    assert "0x" not in repr(found.sources)


def test_what_could_not_be_seen_is_said_in_sentences() -> None:
    found = print_of("exec('def g(): return 1')\ndef f(x): return lock, g(), later, eval('1')\n")

    assert found.opaque == (
        "`f` calls eval: what it reads that way isn't seen",
        "`later`, which `f` reads, isn't defined",
        "global `lock` (_thread.lock) is known by its type only",
        "`g` has no source: it is known by its bytecode",
    ) or set(found.opaque) == {
        "`f` calls eval: what it reads that way isn't seen",
        "global `lock` (_thread.lock) is known by its type only",
        "`later`, which `f` reads, isn't defined",
        "`g` has no source: it is known by its bytecode",
    }


def test_a_function_inside_a_value_counts_by_its_fingerprint() -> None:
    one, two = ({"a": [_made(n)]} for n in (1, 2))

    assert digest(one) != digest(two)
    assert digest(one) == digest({"a": [_made(1)]})


def _made(n: int) -> Any:
    return lambda: n


def test_extra_options_and_builtins_can_be_fingerprinted() -> None:
    assert fingerprint(len).fingerprint != fingerprint(max).fingerprint
    assert fingerprint(len, options={"a": "1"}).fingerprint != fingerprint(len, options={"a": "2"}).fingerprint


def test_a_print_without_its_classes_can_be_pickled() -> None:
    found = fingerprint(_made(1))

    assert pickle.loads(pickle.dumps(found)) == found
