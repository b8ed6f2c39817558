"""Globals that code names in a text only are where it runs, and count."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

from tensorlake_nb import Graph, tensorlake_function

LIMIT = 2
MODULE = """
KNOWN = {known}
def go(x):
    return globals()["KNOWN"] * x + eval("KNOWN")
"""


def test_what_a_module_reads_of_its_own_globals_by_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    results = []
    for known in (2, 3):
        (tmp_path / "by_text.py").write_text(MODULE.format(known=known))
        importlib.invalidate_caches()
        for path in tmp_path.rglob("*.pyc"):
            path.unlink()
        sys.modules.pop("by_text", None)
        go = importlib.import_module("by_text").go

        @tensorlake_function()
        def calling(x: int) -> int:
            return int(go(x))  # noqa: B023 - the run is over before it changes

        results.append(Graph("calling", calling).run(x=4).result())
    del sys.modules["by_text"]

    assert results == [10, 15]


def test_what_a_query_names(monkeypatch: pytest.MonkeyPatch) -> None:
    @tensorlake_function()
    def above(x: int) -> int:
        return len(pd.DataFrame({"a": range(x)}).query("a > @LIMIT"))

    first = Graph("above", above).run(x=5).result()
    monkeypatch.setitem(globals(), "LIMIT", 3)

    assert (first, Graph("above", above).run(x=5).result()) == (2, 1)
