"""What a notebook puts on others' classes and modules counts for the functions that may come upon it."""

from __future__ import annotations

import functools
import html
import json
import string
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr

from tensorlake_nb.core.code import source
from tensorlake_nb.core.code.patches import Patch, find_patches
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint, fingerprint


def twice(self: Any) -> Any:
    return self * 2


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Patch]]:
    before = {patch.path for patch in find_patches()}
    return lambda: {patch.path: patch for patch in find_patches() if patch.path not in before}


def test_methods_functions_constants_made_of_code_and_accessors_are_found(
    found: Callable[[], dict[str, Patch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pd.Series, "twice", twice, raising=False)
    monkeypatch.setattr(pd.DataFrame, "head", property(twice))
    monkeypatch.setattr(pd.Series, "probed_static", staticmethod(twice), raising=False)
    monkeypatch.setattr(json, "dumps", functools.lru_cache(twice))
    monkeypatch.setattr(json.JSONEncoder, "default", twice)
    monkeypatch.setattr(textwrap, "indent", functools.partial(twice))

    class Accessor:
        def __init__(self, held: Any) -> None:
            self.held = held

    pd.api.extensions.register_series_accessor("probe")(Accessor)
    data_array: Any = xr.DataArray
    register: Any = xr.register_dataarray_accessor
    register("probe")(Accessor)
    try:
        patches = found()
    finally:
        del pd.Series.probe, data_array.probe
        pd.Series._accessors.discard("probe")

    assert {path: patch.is_new for path, patch in patches.items()} == {
        "json.dumps": False,
        "json.encoder.JSONEncoder.default": False,
        "pandas.DataFrame.head": False,
        "pandas.Series.probed_static": True,
        "pandas.Series.probe": True,
        "pandas.Series.twice": True,
        "textwrap.indent": False,
        "xarray.core.dataarray.DataArray.probe": True,
    }


def test_hooks_that_show_errors_and_warnings_are_none(
    found: Callable[[], dict[str, Patch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", twice)
    monkeypatch.setattr("warnings.showwarning", twice)

    assert found() == {}


def test_each_change_is_seen_by_the_next_look(
    found: Callable[[], dict[str, Patch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def values() -> dict[str, Any]:
        return {path: patch.value for path, patch in found().items()}

    class Holder:
        pass

    holder = Holder()
    Holder.__module__ = "pandas"
    other = types.FunctionType(twice.__code__, globals(), "twice")
    assert values() == {}
    monkeypatch.setattr(json, "first", twice, raising=False)
    assert values() == {"json.first": twice}
    monkeypatch.delattr(json, "first")
    monkeypatch.setattr(json, "second", twice, raising=False)
    assert values() == {"json.second": twice}, "the same value in the same place under another name"
    monkeypatch.setattr(json, "second", other)
    assert values() == {"json.second": other}
    monkeypatch.setattr(json, "second", repr)
    monkeypatch.setattr(pd.Series, "held", holder, raising=False)
    assert values() == {}
    monkeypatch.setattr(holder, "f", twice, raising=False)
    assert values() == {"pandas.Series.held": holder}, "what it holds counts, though it is the same object"
    module = types.ModuleType("json.later")
    vars(module)["shout"] = twice
    monkeypatch.setitem(sys.modules, "json.later", module)
    assert values() == {"pandas.Series.held": holder, "json.later.shout": twice}


@pytest.fixture
def cell() -> Iterator[Callable[[str], None]]:
    """Runs a cell whose text is known, in ``__main__``."""
    import __main__

    before, cells = dict(vars(__main__)), dict(source._cells)

    def run(text: str) -> None:
        text = textwrap.dedent(text)
        source.remember_cell(text, "<cell of a test>")
        exec(compile(text, "<cell of a test>", "exec"), vars(__main__))

    yield run
    source._cells.clear()
    source._cells.update(cells)
    for name in set(vars(__main__)) - set(before):
        delattr(__main__, name)
    vars(__main__).update(before)


def test_what_shows_no_code_of_the_project_is_found_where_a_text_assigns_it(
    found: Callable[[], dict[str, Patch]], cell: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((pd.Series, "tax"), (pd.Series, "shift_by"), (pd.DataFrame, "size_of"), (textwrap, "LIMIT")):
        monkeypatch.setattr(owner, name, None, raising=False)  # to be removed after the test
        monkeypatch.delattr(owner, name)
    monkeypatch.setattr(textwrap.TextWrapper, "probed_a", None, raising=False)
    monkeypatch.setattr(string, "digits", string.digits)
    monkeypatch.setattr(string.capwords, "__defaults__", string.capwords.__defaults__)
    monkeypatch.setattr(html, "escape", html.escape)
    cell("""
        import functools, html, operator, string, sys
        import pandas as pd
        from pandas import Series as Column

        pd.Series.tax = 0.19
        Column.shift_by = functools.partialmethod(operator.add, 1)
        pd.DataFrame.size_of = property(operator.attrgetter("shape"))
        string.digits = "01"
        string.capwords.__defaults__ = ("-",)
        html.escape, kept = html.unescape, html.escape

        def set_up():
            import textwrap

            textwrap.LIMIT: int = 3
            for letter in "ab":
                setattr(textwrap.TextWrapper, "probed_" + letter, letter)

        class Own:
            def __init__(self):
                self.name = 1

        Own.name = pd.nowhere = 5
        del pd.nowhere
        set_up()
        sys.argv_of_a_test = []
    """)
    try:
        patches = found()
        cell("html.escape = kept")
        later = found()
    finally:
        del textwrap.TextWrapper.probed_b, sys.argv_of_a_test  # type: ignore[attr-defined]

    assert {path: patch.is_new for path, patch in patches.items()} == {
        "html.escape": False,
        "pandas.DataFrame.size_of": True,
        "pandas.Series.shift_by": True,
        "pandas.Series.tax": True,
        "string.capwords.__defaults__": False,
        "string.digits": False,
        "textwrap.LIMIT": True,
        "textwrap.TextWrapper.probed_a": True,
        "textwrap.TextWrapper.probed_b": True,
    }
    assert patches["pandas.Series.tax"].value == 0.19
    assert patches["string.capwords.__defaults__"].value == ("-",)
    assert patches.keys() - later.keys() == {"html.escape"}


@pytest.mark.parametrize("value", ["functools.partial(operator.add, 1)", "property(operator.attrgetter('name'))", "2"])
def test_a_function_that_uses_what_was_assigned_has_it_in_its_key(
    cell: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    def using(x: Any) -> Any:
        return pd.Series([x]).tax

    def other(x: Any) -> Any:
        return pd.Series([x])

    def prints() -> list[str]:
        return [fingerprint(each, patches=find_patches()).fingerprint for each in (using, other)]

    monkeypatch.setattr(pd.Series, "tax", None, raising=False)
    cell(f"import functools, operator, pandas as pd\npd.Series.tax = {value}")
    first = prints()
    cell(f"pd.Series.tax = {value}")
    again = prints()
    cell(f"pd.Series.tax = {value.replace('add, 1', 'add, 2').replace('name', 'shape').replace('2', '3')}")
    edited = prints()

    assert first == again
    assert [a == b for a, b in zip(first, edited, strict=True)] == [False, True]


def test_a_value_that_sounds_like_a_secret_counts_and_is_shown_nowhere(
    cell: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textwrap, "api_key", None, raising=False)
    prints = []
    for key in ("sk-first", "sk-second"):
        cell(f"import textwrap\ntextwrap.api_key = {key!r}\ndef using(x): return textwrap.api_key")
        prints.append(fingerprint(vars(sys.modules["__main__"])["using"], patches=find_patches()))

    assert prints[0].fingerprint != prints[1].fingerprint
    assert prints[0].sources["patch textwrap.api_key"] == "(not shown)"
    assert not any("sk-first" in text for text in prints[0].sources.values())


@pytest.mark.parametrize("text", ["x = '\ud800'", "x = 'a\0b'", "x = (", "-" * 100_000 + "1"])
def test_a_text_that_cannot_be_read_assigns_nothing(
    found: Callable[[], dict[str, Patch]], cell: Callable[[str], None], text: str
) -> None:
    source.remember_cell(text, "<another cell of a test>")

    assert found() == {}


def test_what_python_runs_when_it_starts_sets_the_machine_up_and_is_none(
    found: Callable[[], dict[str, Patch]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Workers have run it, too: put there again, a clock that it set would be wrong twice."""
    set_up = types.ModuleType("sitecustomize")
    set_up.__file__ = str(tmp_path / "sitecustomize.py")
    exec(compile("def loads(value): return repr(value)", set_up.__file__, "exec"), vars(set_up))
    monkeypatch.setitem(sys.modules, "sitecustomize", set_up)
    monkeypatch.setattr(json, "loads", vars(set_up)["loads"])

    assert found() == {}


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], FunctionPrint]]:
    held_twice = pd.Series.__dict__.get("twice")
    dumps = json.dumps

    def run(cell: str) -> FunctionPrint:
        module = types.ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec(compile(f"import json, textwrap\nimport pandas as pd\n{cell}", "<ipython-input-1>", "exec"), vars(module))
        return fingerprint(vars(module)["f"], patches=find_patches())

    yield run
    json.dumps = dumps
    if held_twice is None and "twice" in vars(pd.Series):
        del pd.Series.twice


@pytest.mark.parametrize(
    ("patch", "function", "counts"),
    [
        ("def g(self): return self * {}\npd.Series.twice = g", "def f(x): return x.twice()", True),
        ("def g(self): return self * {}\npd.Series.twice = g", "def f(x): return getattr(x, 'twice')()", True),
        (
            "def g(self): return self * {}\npd.Series.twice = g",
            "def h(x): return x.twice()\ndef f(x): return h(x)",
            True,
        ),
        ("def g(self): return self * {}\npd.Series.twice = g", "def f(x): return pd.Series(x).sum()", False),
        (
            "def k(x): return x * {}\ndef g(self): return k(self)\npd.Series.twice = g",
            "def f(x): return x.twice()",
            True,
        ),
        ("json.dumps = lambda x: {}", "def f(x): return json.dumps(x)", True),
        ("json.dumps = lambda x: {}", "def f(x): return pd.Series(x).sum()", True),
        ("json.dumps = lambda x: {}", "def f(x): return textwrap.dedent(x)", False),
        ("json.dumps = lambda x: {}", "def f(x): return x", False),
    ],
)
def test_an_edit_of_it_counts_where_code_names_it_or_a_package_may_call_it(
    notebook: Callable[[str], FunctionPrint], patch: str, function: str, counts: bool
) -> None:
    prints = [notebook(f"{patch.format(n)}\n{function}") for n in (2, 2, 3)]

    assert prints[0].fingerprint == prints[1].fingerprint
    assert (prints[0].fingerprint != prints[2].fingerprint) is counts
    assert bool(prints[0].patches) is counts
