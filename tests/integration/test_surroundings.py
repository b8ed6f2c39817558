"""What a cell changes in its environment and folder after the embedded cluster began is there for the next run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tensorlake_nb import Graph, configure, tensorlake_function


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> str:
    url = str(tmp_path / "store")
    configure(store=url, cluster="embedded", workers=2)
    return url


@tensorlake_function(cacheable=False)
def seen(name: str) -> tuple[str | None, str, int]:
    return os.environ.get(name), os.getcwd(), os.getpid()


@tensorlake_function(secrets=["LATER_NOTE"])
def knows(x: int) -> int:
    return len(os.environ["LATER_NOTE"])


@tensorlake_function(cacheable=False)
def every(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function(cacheable=False)
def ends(x: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


watched = Graph("watched", seen)


def test_what_is_set_moved_and_removed_after_the_first_run_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_in = os.getcwd()
    before = watched.run(name="LATER_NOTE").result()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("LATER_NOTE", "first")
    monkeypatch.chdir(tmp_path / "elsewhere")
    set_ = watched.run(name="LATER_NOTE").result()
    monkeypatch.delenv("LATER_NOTE")
    removed = watched.run(name="LATER_NOTE").result()

    assert before[:2] == (None, began_in)
    assert set_[:2] == ("first", str(tmp_path / "elsewhere"))
    assert removed[:2] == (None, str(tmp_path / "elsewhere"))
    assert os.getpid() not in {before[2], set_[2], removed[2]}


@tensorlake_function(cacheable=False)
def leaves(x: int) -> str:
    os.chdir("/")
    return os.getcwd()


def test_where_a_call_has_gone_the_next_run_does_not_begin() -> None:
    gone = Graph("gone", every).add_edge(every, leaves).run(n=8)

    assert set(gone.output(leaves)) == {"/"}
    assert {watched.run(name="LATER_NOTE").result()[1] for _ in range(6)} == {os.getcwd()}


def test_a_worker_that_replaces_a_dead_one_has_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    watched.run(name="LATER_NOTE")
    monkeypatch.setenv("LATER_NOTE", "kept")
    Graph("deadly", every, on_error="continue").add_edge(every, ends).run(n=4)

    assert {watched.run(name="LATER_NOTE").result()[0] for _ in range(6)} == {"kept"}


def test_a_secret_that_is_set_later_is_there_for_who_asked_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    watched.run(name="LATER_NOTE")
    monkeypatch.setenv("LATER_NOTE", "four")

    assert Graph("asking", knows).run(x=1).result() == 4
    monkeypatch.setenv("LATER_NOTE", "sixsix")
    assert watched.run(name="LATER_NOTE").result()[0] is None
