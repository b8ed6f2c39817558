"""Whole runs on stores that fail now and then: right results, nothing called twice, nothing left behind."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tensorlake_nb import configure
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.filesystems import retrying as patience
from tensorlake_nb.testing import Faults, faulty_url
from tests.support.notes import Notes
from tests.support.shapes import SHAPES, Shape

SIZE = 40
#: How many seeds each shape meets; more by hand.
SEEDS = int(os.environ.get("TENSORLAKE_NB_SEEDS", "2"))
KINDS = ["disk", "objects"]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(patience, "WAITS_S", (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.05, 0.05))
    monkeypatch.setattr(patience, "LOOKS_S", (0.001, 0.002, 0.005))
    yield
    configure(cluster="threads", workers=2)


def faulty(folder: Path, kind: str, faults: Faults) -> str:
    return faulty_url(folder / "store", faults, as_objects=kind == "objects")


def dice_of(url: str) -> Any:
    filesystem: Any = open_store(url, trusted=True).filesystem
    return filesystem.dice if kind_of(url) == "disk" else filesystem._filesystem.dice


def kind_of(url: str) -> str:
    return "objects" if "+objects" in url else "disk"


def left_files(folder: Path) -> list[str]:
    """Files that a store needn't have once nobody writes to it: spools, and what was to become an object."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [
        str(path) for path in found if path.suffix == ".spool" or (path.name.startswith(".") and "git" not in path.name)
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_run_on_a_faulty_store_is_as_one_without_faults(tmp_path: Path, shape: Shape, kind: str, seed: int) -> None:
    url = faulty(tmp_path, kind, Faults.all_sorts(0.2, seed=seed))
    notes = Notes(str(tmp_path / "notes"))
    configure(store=url, cluster="threads", workers=2, trust_store=True)
    graph = shape.make(notes.path)
    graph.run(n=3)  # the threads of a cluster stay from run to run
    threads, files = threading.active_count(), open_files()

    results = [graph.run(n=SIZE).result(), graph.run(n=SIZE).result()]

    assert results == [shape.result(SIZE)] * 2
    calls = Counter(notes.all())
    assert {call: times for call, times in calls.items() if times > 1} == twice_by_nature(shape)
    counts = dice_of(url).counts
    assert sum(counts.values()) - counts["well"] > 0, "there were faults"
    assert left_files(tmp_path / "store") == []
    assert threading.active_count() <= threads
    assert open_files() <= files


def twice_by_nature(shape: Shape) -> dict[str, int]:
    """What another input makes be called again."""
    return {"emitted 0": 2, "emitted 1": 2, "emitted 2": 2} if shape.name == "generator" else {"numbers": 2}


def open_files() -> set[str]:
    return {file.path for file in psutil.Process().open_files()}
