"""Writes that fail, before or after they are done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.segment import LARGE_BYTES
from tests.support.stores import FINGERPRINT, add, committed, digests_of, key, local_store

VALUES: list[Any] = [
    {"text": "x" * 300},
    "more " * 2000,
    np.arange(6.0).reshape(2, 3),
    np.random.default_rng(1).random(LARGE_BYTES // 8),
    b"large" * LARGE_BYTES,
]


class Failing:
    """A filesystem whose n-th write fails, before or after it is done."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> None:
        self.left, self.after = number, after
        for name in ("put", "put_atomic"):
            real = getattr(store.filesystem, name)
            monkeypatch.setattr(store.filesystem, name, lambda path, data, real=real: self.write(real, path, data))

    def write(self, real: Callable[[str, Any], None], path: str, data: Any) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise StoreUnavailableError("no space is left")
        real(path, data)
        if self.left == 0:
            raise StoreUnavailableError("it timed out, though it was done")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_write_that_fails_loses_nothing_and_flushing_again_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    store = local_store(tmp_path / "store")
    writer = store.writer(FINGERPRINT, "batch")
    Failing(store, monkeypatch, number, after=after)
    left = list(enumerate(VALUES))
    while left:
        try:
            add(writer, *left[0])
        except StoreUnavailableError:
            continue
        left.pop(0)
        if len(left) == 2:
            try:
                writer.flush()
            except StoreUnavailableError:
                add(writer, 100, "added meanwhile")
    try:
        writer.flush()
    except StoreUnavailableError:
        writer.flush()
    writer.close()

    reader = local_store(tmp_path / "store")
    for position, value in enumerate(VALUES):
        assert digests_of(reader.read(writer.locate(key(position)).outputs.spans)) == digests_of([value])
    assert reader.damage == []
    assert list((tmp_path / "store" / "spool" / FINGERPRINT).iterdir()) == []


def test_an_unwritable_directory_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreUnavailableError, match="file"):
        open_store(str(tmp_path / "file" / "store"))


def test_objects_are_put_before_their_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = local_store(tmp_path / "store")
    order: list[str] = []

    def note(real: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
        def noted(path: str, data: Any) -> None:
            order.append(path.rpartition("/")[2])
            real(path, data)

        return noted

    for name in ("put", "put_atomic"):
        monkeypatch.setattr(store.filesystem, name, note(getattr(store.filesystem, name)))

    committed(store, [{"small": 1}])

    assert order == ["c.0", "zarr.json"]
