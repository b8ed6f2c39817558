"""Stored objects damaged in every way, under a whole run: a right result or an error of ours, never a wrong value."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb import Graph, Run, configure, tensorlake_function
from tensorlake_nb.errors import TensorlakeError


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function()
def square(x: int) -> Any:
    return np.full((20, 20), x * x)


@tensorlake_function()
def label(x: int) -> dict[str, int]:
    return {"x": x}


@tensorlake_function(accumulate=list)
def collect(found: list[Any], value: Any) -> list[Any]:
    return [*found, int(value.sum())]


def graph() -> Graph:
    made = Graph(name="damaged", start_node=numbers)
    return made.add_edge(numbers, square).add_edge(numbers, label).add_edge(square, collect)


RIGHT = ([[400 * x * x for x in range(12)]], [{"x": x} for x in range(12)])


def results(run: Run) -> tuple[Any, Any]:
    arrays = [int(array[3, 4]) for array in run.output(square)]
    assert arrays == [x * x for x in range(12)]
    return run.output(collect), run.output(label)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the run has ended."""
    folder = tmp_path_factory.mktemp("kept")
    configure(store=folder / "store", cluster="threads", workers=2)
    assert results(graph().run(n=12)) == RIGHT
    return folder / "store"


def kind_of(path: Path, store: Path) -> str:
    """What sort of stored object a file is."""
    parts = path.relative_to(store).parts
    if parts[0] == "segments":
        return "segment record" if parts[-1] == "zarr.json" else f"segment {parts[4]}"
    if parts[0] == "runs":
        return f"run {parts[2]}"
    return parts[0] if len(parts) > 1 else f"root {parts[0]}"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def junk(path: Path) -> None:
    path.write_bytes(b'{"zarr_format": 3, "junk": ' + b"x" * 50)


KINDS = ["segment record", "segment payload", "segment values", "streams", "run header", "run events", "run code"]
DAMAGES = [flip, cut, empty, junk, Path.unlink]


def damaged(kept: Path, store: Path, kind: str, damage: Callable[[Path], None]) -> None:
    """Copy the store, and damage every object of a kind in the copy."""
    shutil.copytree(kept, store)
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    hit = [path for path in files if kind_of(path, store) == kind]
    assert hit, sorted({kind_of(path, store) for path in files})
    for path in hit:
        damage(path)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_recomputed_and_never_returned(
    kept: Path, tmp_path: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    damaged(kept, tmp_path / "store", kind, damage)
    configure(store=tmp_path / "store", cluster="threads", workers=2)

    assert results(graph().run(n=12)) == RIGHT
    assert results(graph().run(n=12)) == RIGHT, "and once more"


@pytest.mark.parametrize("damage", [flip, cut, empty, junk], ids=lambda damage: damage.__name__)
def test_a_store_whose_own_record_is_damaged_says_which_file_to_remove(
    kept: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damaged(kept, tmp_path / "store", "root zarr.json", damage)

    with pytest.raises(TensorlakeError, match=r"zarr\.json"):
        configure(store=tmp_path / "store", cluster="threads", workers=2)


def test_a_store_whose_own_record_is_gone_gets_a_new_one(kept: Path, tmp_path: Path) -> None:
    damaged(kept, tmp_path / "store", "root zarr.json", Path.unlink)
    configure(store=tmp_path / "store", cluster="threads", workers=2)

    assert results(graph().run(n=12)) == RIGHT


@pytest.mark.parametrize("kind", ["run header", "run events", "run code"])
def test_a_damaged_record_of_a_run_does_not_hide_the_others(kept: Path, tmp_path: Path, kind: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(kept, store)
    configure(store=store, cluster="threads", workers=2)
    newer = graph().run(n=3)
    for path in store.rglob("*"):
        if path.is_file() and kind_of(path, store) == kind and newer.id not in path.parts:
            flip(path)

    listed = Run.list()

    assert newer.id in [run.id for run in listed]
    assert [run.status for run in listed if run.id == newer.id] == ["succeeded"]
