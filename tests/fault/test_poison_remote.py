"""The same on an object store, where no call is noted before it ends: what ends its worker is found by trying."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec import config as fsspec_config

from tensorlake_nb import Graph, Run, configure, tensorlake_function
from tests.support.notes import Notes

POISON = 7


@pytest.fixture
def notes(s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Notes]:
    reached = {name: s3[name] for name in ("endpoint_url", "key", "secret")}
    monkeypatch.setitem(fsspec_config.conf, "s3", reached)
    for name, value in reached.items():  # for the workers
        monkeypatch.setenv(f"FSSPEC_S3_{name.upper()}", value)
    configure(cluster="threads")  # the workers of a cluster that is there began without all that
    configure(store=f"s3://bucket/{tmp_path.name}", cluster="embedded", workers=2)
    yield Notes(str(tmp_path / "calls"))
    configure(store=tmp_path / "store", cluster="threads", workers=2)


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


def ends(how: str) -> None:
    time.sleep(0.3)  # the kernel has heard by now that the batch has begun
    if how == "exits":
        os._exit(3)
    if how == "hangs":
        time.sleep(60)
    if how == "locks":
        ctypes.PyDLL(None).sleep(60)


def ran(graph: Graph) -> Run:
    run = graph.start(n=20)
    run.wait(60)
    return run


@pytest.mark.parametrize(
    ("how", "calls", "error"), [("exits", 2, "exit code 3"), ("hangs", 1, "timeout"), ("locks", 2, "timeout")]
)
def test_a_poison_element_of_a_map(notes: Notes, how: str, calls: int, error: str) -> None:
    @tensorlake_function(timeout=1)
    def work(x: int) -> int:
        notes.add(x)
        if x == POISON:
            ends(how)
        return x

    run = ran(Graph("poison", numbers, on_error="continue").add_edge(numbers, work))

    assert run.output(work) == [x for x in range(20) if x != POISON]
    (failure,) = run.failures
    assert failure.index == POISON
    assert error in failure.error + str(failure.kind)
    called = Counter(map(int, notes.all()))
    assert 1 <= called[POISON] <= calls, "in a batch of several, and by itself if nobody has said that it was at it"
    assert max(called[x] for x in range(POISON + 1, 20)) == 1, "its neighbours are called once"
    assert max(called[x] for x in range(POISON)) <= calls, "but for what wasn't uploaded yet when the worker died"


@pytest.mark.parametrize(
    ("how", "calls", "said"), [("exits", 1, r"exit code 3\), here or a few"), ("hangs", 1, "Timeout")]
)
def test_a_poison_element_of_a_fold(notes: Notes, how: str, calls: int, said: str) -> None:
    @tensorlake_function(accumulate=int, timeout=1)
    def total(so_far: int, x: int) -> int:
        notes.add(x)
        if x == POISON:
            ends(how)
        return so_far + x

    run = ran(Graph("poison-fold", numbers, on_error="continue").add_edge(numbers, total))

    (failure,) = run.failures
    assert failure.index <= POISON
    assert re.search(said, failure.error)
    assert Counter(map(int, notes.all()))[POISON] == calls
