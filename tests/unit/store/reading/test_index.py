"""What an index says of the segments that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb.store.format.outcomes import Entry
from tests.support.stores import FINGERPRINT, add, committed, key, local_store


def test_segments_beside_the_outputs_are_those_that_hold_a_task_and_none_of_its_outputs(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    (item,) = committed(store, ["an item"], name="items")
    for name, numbers in {"bare": (1,), "nothing": (2,), "whole": (3,), "both": (4, 5)}.items():
        writer = store.writer(FINGERPRINT, name)
        for number in numbers:
            if number in (1, 4):
                add(writer, number, number)
            elif number == 3:
                writer.add(Entry(key(number), 1, (), refers=(item,)))
            else:
                writer.add(Entry(key(number), 0, ()))
        writer.close()
    index = store.index(FINGERPRINT, refresh=True)

    def beside(*numbers: int) -> set[str]:
        found = index.beside(index.find(b"".join(map(key, numbers))))
        return {name.partition("/")[2].partition("~")[0] for name in found}

    assert beside(1, 4) == set()
    assert beside(1, 2, 3) == {"nothing", "whole"}
    assert beside(4, 5) == {"both"}


def test_an_index_that_is_made_while_a_segment_is_being_marked_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local_store(tmp_path / "store")
    (span,) = committed(store, ["value"])
    put_atomic, meanwhile = store.filesystem.put_atomic, []

    def put_while_another_looks(path: str, data: Any) -> None:
        meanwhile.append(len(store.index(FINGERPRINT)))
        put_atomic(path, data)

    monkeypatch.setattr(store.filesystem, "put_atomic", put_while_another_looks)
    store.quarantine(span.segment, "a test says so")

    assert meanwhile == [1], "it wasn't marked yet"
    assert store.index(FINGERPRINT).empty
