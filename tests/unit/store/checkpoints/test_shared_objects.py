"""On a local disk equal large outputs share one place, whatever function gives them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.checkpoints.opening import aside, open_store
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.collecting.needs import names_of
from tensorlake_nb.store.collecting.removal import Collection
from tensorlake_nb.store.collecting.retention import Retention
from tests.support.stores import committed

OTHER = "0dd1" * 16
ARRAYS = [np.random.default_rng(number).random(125_000) for number in range(4)]


def used(root: Path) -> int:
    """Bytes of the store, each file once whatever its names."""
    files = {(about := path.stat()).st_ino: about.st_size for path in root.rglob("*") if path.is_file()}
    return sum(files.values())


def passed_on(store: Store, spans: list[Span]) -> list[Span]:
    """The same values as outputs of another function, as one that reads them and returns them."""
    return committed(store, store.read(spans), fingerprint=OTHER)


def file_of(root: Path, span: Span) -> Path:
    of, _, name = span.segment.partition("/")
    (path,) = (root / "segments" / of[:2] / of / name).glob(f"values/c.{span.start}.*")
    return path


def test_what_a_function_passes_on_takes_no_room(tmp_path: Path) -> None:
    spans = committed(open_store(str(tmp_path)), ARRAYS)
    before = used(tmp_path)
    other = Store(open_store(str(tmp_path)).filesystem, trusted=True)  # as another process has it

    again = passed_on(other, spans)

    assert used(tmp_path) < before + 50_000
    for value, array in zip(Store(other.filesystem, trusted=True).read(again), ARRAYS, strict=True):
        assert np.array_equal(value, array)


def test_it_stays_when_the_other_is_removed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    spans = committed(store, ARRAYS)
    again = passed_on(store, spans)
    for span in spans:
        file_of(tmp_path, span).unlink()

    assert np.array_equal(Store(store.filesystem, trusted=True).read(again)[1], ARRAYS[1])


def test_damage_of_one_is_seen_in_both_and_never_a_value(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    spans = committed(store, ARRAYS[:1])
    again = passed_on(store, spans)
    path = file_of(tmp_path, spans[0])
    with open(path, "r+b") as file:
        file.seek(1000)
        file.write(b"damage")

    for wanted in (spans, again):
        with pytest.raises(CorruptCheckpointError):
            Store(store.filesystem, trusted=True).read(wanted)


@pytest.mark.parametrize("fate", ["removed", "cut", "flipped"])
def test_what_has_gone_or_changed_is_written_anew(tmp_path: Path, fate: str) -> None:
    store = open_store(str(tmp_path))
    spans = committed(store, ARRAYS[:1])
    values = store.read(spans)
    path = file_of(tmp_path, spans[0])
    if fate == "removed":
        path.unlink()
    elif fate == "cut":
        os.truncate(path, 100)
    else:
        with open(path, "r+b") as file:
            file.seek(1000)
            file.write(b"damage")

    again = committed(store, values, fingerprint=OTHER)

    assert np.array_equal(Store(store.filesystem, trusted=True).read(again)[0], ARRAYS[0])


def test_no_links_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path))
    spans = committed(store, ARRAYS[:1])

    def refuse(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)

    assert np.array_equal(store.read(passed_on(store, spans))[0], ARRAYS[0])


def test_an_object_that_is_put_twice_cuts_no_other(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    spans = committed(store, ARRAYS[:1])
    again = passed_on(store, spans)
    first, second = file_of(tmp_path, spans[0]), file_of(tmp_path, again[0])
    assert os.path.samefile(first, second)
    item = store.segment(again[0].segment).objects[f"values/{second.name}"]
    store._reader.lying.clear()

    store.put_object(second.relative_to(tmp_path).as_posix(), second.read_bytes(), item)

    assert not os.path.samefile(first, second)
    assert first.read_bytes() == second.read_bytes()


def test_two_stores_share_nothing(tmp_path: Path) -> None:
    spans = committed(store := open_store(str(tmp_path / "one")), ARRAYS[:1])
    values = store.read(spans)
    again = committed(other := open_store(str(tmp_path / "two")), values)

    assert file_of(tmp_path / "two", again[0]).stat().st_nlink == 1
    assert np.array_equal(other.read(again)[0], ARRAYS[0])


def test_what_is_written_aside_is_no_second_name(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    spans = committed(store, ARRAYS[:1])
    apart = aside(store, tmp_path / "aside")

    again = passed_on(apart, spans)

    assert file_of(tmp_path / "store", spans[0]).stat().st_nlink == 1
    assert np.array_equal(apart.read(again)[0], ARRAYS[0])


def test_damage_that_is_put_aside_is_computed_into_a_place_of_its_own(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    spans = committed(store, ARRAYS[:1])
    again = passed_on(store, spans)
    with open(file_of(tmp_path, spans[0]), "r+b") as file:
        file.write(b"damage")
    with pytest.raises(CorruptCheckpointError):
        Store(store.filesystem, trusted=True).read(spans)

    renewed = committed(store, ARRAYS[:1], name="later")  # by a process that doesn't know of the damage

    assert np.array_equal(Store(store.filesystem, trusted=True).read(renewed)[0], ARRAYS[0])
    with pytest.raises(CorruptCheckpointError):
        Store(store.filesystem, trusted=True).read(again)


def test_a_collection_that_removes_one_leaves_the_other_whole(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    spans = committed(store, ARRAYS[:1])
    again = passed_on(store, spans)
    store.quarantine(spans[0].segment, "as if it were damaged")

    later = Collection(store, Retention(grace_s=0.0), lambda run: False, now=time.time() + 10)
    kept = file_of(tmp_path, again[0])
    later._needs.add_names([(0, names_of([again[0].segment.encode()]))])
    later._stay = 1
    later.remove()

    assert list(tmp_path.rglob("c.0.*")) == [kept]
    assert np.array_equal(Store(store.filesystem, trusted=True).read(again)[0], ARRAYS[0])
