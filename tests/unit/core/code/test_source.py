"""Canonical source: found by code, believed only where it compiles to that code."""

# ruff: noqa: E501 - a cell is a line

from __future__ import annotations

import importlib.util
import linecache
import subprocess
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tensorlake_nb.core.code.module_files import read_module
from tensorlake_nb.core.code.names_read import reads_of
from tensorlake_nb.core.code.source import class_source, code_digest, function_source, index_source, remember_cell


def ran(cell: str, filename: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, filename, "exec", dont_inherit=True), namespace)
    return namespace


def code_of(cell: str) -> CodeType:
    code: CodeType = ran(cell, "<nowhere>")["f"].__code__
    return code


def test_a_remembered_cell_gives_the_source_of_its_functions() -> None:
    cell = "@staticmethod\ndef f(x) -> int:  # comment\n    '''doc'''\n    return  (x)\n"
    remember_cell(cell, "<cell 1>")

    assert function_source(ran(cell, "<cell 1>")["f"].__func__.__code__) == "def f(x):\n    return x"


def test_two_cells_of_one_name_are_told_apart_by_their_code() -> None:
    first, second = "def f(x): return 1\n", "def f(x): return 2\n"
    remember_cell(first, "<cell 2>")
    remember_cell(second, "<cell 2>")

    assert function_source(ran(first, "<cell 2>")["f"].__code__) == "def f(x):\n    return 1"
    assert function_source(ran(second, "<cell 2>")["f"].__code__) == "def f(x):\n    return 2"


def test_a_text_that_compiles_to_other_code_is_not_believed() -> None:
    remember_cell("def f(x): return 1\n", "<cell 3>")

    assert function_source(ran("def f(x): return 2\n", "<cell 3>")["f"].__code__) is None


@pytest.mark.parametrize(
    "line",
    [
        "fs = [lambda x: x + 1, lambda x: x + 2]",
        "fs = [lambda: 1, lambda: None, lambda: (1, 2), lambda *a, b=1: (yield)]",
        "fs = [lambda x: lambda y: x, lambda x: lambda y: y]",
        "fs = [(lambda x: (x)), (lambda x: ((x) + 1)), lambda x: f'{x}', lambda x: x if x else 0, lambda x: [i for i in x]]",
        "fs = [lambda x: x and x or 1, lambda x: not x, lambda x: x(lambda: 1), lambda x: {**x}, lambda x: x[1:2]]",
        "fs = [lambda x: await_(x), lambda x: x < 1 < 2, lambda x: -x, lambda x: (x := 1), lambda x: print(x, end='')]",
    ],
)
def test_every_lambda_on_a_line_is_found(line: str) -> None:
    remember_cell(line, f"<{line}>")
    functions = ran(line, f"<{line}>")["fs"]

    sources = [function_source(function.__code__) for function in functions]

    assert None not in sources
    assert len(set(sources)) == len(functions)
    for source, function in zip(sources, functions, strict=True):
        again = ran(f"fs = {source}", "<again>")["fs"]
        assert code_digest(again.__code__) == code_digest(function.__code__)


def test_lambdas_that_cannot_be_told_apart_have_no_source(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(
        "from tensorlake_nb.core.code.source import function_source\n"
        "a, b = lambda x: x + 1, lambda x: x * 2\n"
        "c = lambda x: x - 3\n"
        "print(function_source(a.__code__), function_source(b.__code__), function_source(c.__code__))\n"
    )
    command = [sys.executable, "-X", "no_debug_ranges", str(script)]
    environment = {"PYTHONPATH": ":".join([".", *sys.path])}

    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    assert done.stdout == "None None lambda x: x - 3\n"


def test_code_differs_by_what_it_does_and_not_by_where_it_stands() -> None:
    plain = code_digest(code_of("def f(x): return x + 1"))

    assert code_digest(code_of("\n\n\ndef f(x):\n\n  return x + 1")) == plain
    assert code_digest(code_of("def f(x):\n 'doc'\n return x + 1")) == code_digest(
        code_of("def f(x):\n 'd'\n return x + 1")
    )
    others = ["x + 1.0", "x + True", "x - 1", "y + 1", "lambda: x + 1", "x + 1 or 0"]
    assert len({plain, *(code_digest(code_of(f"def f(x): return {other}")) for other in others)}) == 7


def test_equal_constants_of_other_types_are_other_code() -> None:
    digests = {
        code_digest(code_of(f"def f(x): return {value}"))
        for value in ("0.0", "-0.0", "0", "False", "(1,)", "(1.0,)", "(True,)")
    }

    assert len(digests) == 7


def test_what_is_not_python_has_no_index() -> None:
    assert index_source("def f(:") is None
    assert index_source("a\0b") is None


def test_a_class_of_a_module_is_shown_without_methods(tmp_path: Path) -> None:
    file = tmp_path / "shown.py"
    file.write_text("class A:\n    'doc'\n    x: int = 1\n    def m(self): return 1\n")
    spec = importlib.util.spec_from_file_location("shown", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert class_source(module.A, [module.A.m.__code__]) == "class A:\n    x: int = 1"


def test_the_newest_cell_that_defines_a_class_is_shown() -> None:
    for n in (1, 2):
        filename, cell = f"<ipython-input-9{n}>", f"class OnlyHere:\n    x = {n}\n"
        linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)

    assert class_source(type("OnlyHere", (), {"__module__": "__main__"}), []) == "class OnlyHere:\n    x = 2"


def test_functions_of_a_timed_cell_have_their_source() -> None:
    cell, filename = "get_ipython().run_cell_magic('time', '', 'def f(x): return 77\\n')\n", "<ipython-input-timed>"
    linecache.cache[filename] = (len(cell), None, [cell], filename)

    assert function_source(ran("def f(x): return 77\n", "<timed exec>")["f"].__code__) == "def f(x):\n    return 77"


def test_names_are_read_with_the_attributes_taken_of_them() -> None:
    reads = reads_of(
        code_of("def f(x):\n y = a.b.c(x)\n global g\n g = a.d\n return [z for z in x if h(z)], (lambda: k)")
    )

    assert reads.globals == {"a": {("b", "c"), ("d",)}, "h": {()}, "k": {()}}
    assert reads.writes == {"g"}


def test_closures_are_read_in_nested_classes_too() -> None:
    cell = "def make(t):\n def f(x):\n  class C:\n   y = t.other\n  return t.clean(C)\n return f\nf = make(1)"

    assert reads_of(code_of(cell)).closures["t"] == {("other",), ("clean",)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("import a", [("a", 0, None, {()})]),
        ("import a\n return a.b.c", [("a", 0, None, {("b", "c")})]),
        ("import a.b\n return a.b.c", [("a.b", 0, None, {("c",)})]),
        ("import a.b as k\n return k.c", [("a.b", 0, None, {("c",)})]),
        ("import a as k\n return k.c", [("a", 0, None, {("c",)})]),
        ("import a\n def g(): return a.c\n return g", [("a", 0, None, {("c",)})]),
        ("global a\n import a\n return a.c", [("a", 0, None, {("c",)})]),
        ("import a; y = a.c\n return a.d", [("a", 0, None, {("c",), ("d",)})]),
        ("import a\n return [a, x.c]", [("a", 0, None, {()})]),
        ("import a\n return [x, a.c]", [("a", 0, None, {("c",)})]),
        ("from a import b", [("a", 0, "b", set())]),
        ("from a import b as k\n return k.c", [("a", 0, "b", {("c",)})]),
        ("from . import b\n return b.c", [("", 1, "b", {("c",)})]),
        ("from ..a import b\n return b", [("a", 2, "b", {()})]),
        ("from a import b, c as d\n return b, d", [("a", 0, "b", {()}), ("a", 0, "c", {()})]),
    ],
)
def test_imports_are_read_with_what_is_taken_of_them(body: str, expected: list[Any]) -> None:
    found = []
    for item in reads_of(code_of(f"def f(x):\n {body}\n")).imports:
        names = item.names if item.names is not None else [(None, item.chains)]
        found += [(item.module, item.level, name, set(chains)) for name, chains in names]

    assert found == expected


MODULE = '''
"""doc"""
import json, os.path as p
from .consts import N, M as K
A = 1
B = A + 1
def used(x):
    "doc"
    return B, json
def unused(x): return K
def local(x):
    from tools import deep
    return deep
registry = {}
registry["a"] = A
if __name__ == "__main__":
    print(unused)
'''


def test_a_module_is_read_whole_without_comments_and_docstrings() -> None:
    found = read_module(MODULE)

    assert [line for line in found.text.splitlines() if line] == [
        "import json, os.path as p", "from .consts import N, M as K", "A = 1", "B = A + 1", "def used(x):",
        "    return (B, json)", "def unused(x):", "    return K", "def local(x):", "    from tools import deep",
        "    return deep", "registry = {}", "registry['a'] = A", "if __name__ == '__main__':", "    print(unused)",
    ]  # fmt: skip
    assert {"used", "K", "__main__"} <= found.words
    assert found.strings == ("__main__", "a")


def test_a_module_imports_wherever_an_import_stands() -> None:
    assert set(read_module(MODULE).imports) == {
        ("json", 0, None), ("os.path", 0, None), ("consts", 1, "N"), ("consts", 1, "M"), ("tools", 0, "deep"),
    }  # fmt: skip


def test_what_is_not_python_is_read_as_it_stands() -> None:
    assert read_module("A = (1").text == "A = (1"
