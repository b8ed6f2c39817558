"""A function that holds something without a digest: no later run replays it, and everywhere says why."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb import Graph, tensorlake_function
from tensorlake_nb.notebook.drawing.faces import html_of
from tests.support.notes import Notes

PACKAGE = """
import itertools
TURNS = itertools.count()
class Client:
    def __init__(self, answer, turn=0):
        self.answer = answer
    def __reduce__(self):
        return Client, (self.answer, next(TURNS))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "vendored.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield importlib.import_module("vendored")
    del sys.modules["vendored"]


def asking(package: Any, notes: Notes, answer: int) -> Graph:
    client = package.Client(answer)

    @tensorlake_function()
    def spread(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def ask(x: int) -> int:
        notes.add(x)
        return int(client.answer) * x

    @tensorlake_function()
    def after(x: int) -> int:
        notes.add("after")
        return x

    return Graph("asking", spread).add_edge(spread, ask).add_edge(ask, after)


def test_later_runs_compute_it_again_and_what_follows_is_replayed(package: Any, notes: Notes) -> None:
    with pytest.warns(UserWarning, match="function 'ask': closure `ask.client`|function 'ask': closure `client`"):
        first = asking(package, notes, 2).run(n=3)
    notes.take()

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has been said
        same, edited = asking(package, notes, 2).run(n=3), asking(package, notes, 3).run(n=3)

    assert first.output("ask") == same.output("ask") == [0, 2, 4]
    assert edited.output("ask") == [0, 3, 6]
    assert (same.counts("ask")["computed"], same.counts("after")["computed"]) == (3, 0)


def test_state_plan_picture_and_why_name_the_culprit(package: Any, notes: Notes) -> None:
    graph = asking(package, notes, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph.run(n=2)
        run, plan = graph.run(n=2), graph.plan(n=2)

    said = "closure `client` (vendored.Client) has no content that can be compared"
    (note,) = run.standings()["ask"].notes
    assert note.startswith(said)
    assert "kept for one run only" in note
    assert run.standings()["after"].notes == ()
    assert f"ask: {said}" in str(plan)
    assert said in html_of(run)
    assert said in run.why("ask").summary
    assert said in run.why("ask").opaque


def test_the_run_itself_resumes_without_computing_again(package: Any, notes: Notes) -> None:
    graph = asking(package, notes, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = graph.run(n=2)
    notes.take()

    assert run.resume().output("ask") == [0, 2]
    assert notes.all() == []
