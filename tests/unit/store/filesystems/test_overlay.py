"""A store beside another one: all that is there is found through it, and nothing that is written gets there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError
from tensorlake_nb.store.checkpoints.opening import aside
from tests.support.stores import FINGERPRINT, add, committed, key, local_store, outcome_of, segment_directory


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_there_is_read_and_what_is_written_stays_apart(tmp_path: Path) -> None:
    behind = local_store(tmp_path / "store")
    (old,) = committed(behind, ["old"])
    behind.put_bytes("runs/a", b"kept")
    before = files_in(tmp_path / "store")

    store = aside(behind, tmp_path / "apart")
    writer = store.writer(FINGERPRINT, "other")
    add(writer, 7, "new")
    writer.close()
    (new,) = writer.locate(key(7)).outputs.spans
    store.put_state("20260102-030405-abcdef", "word", b"said")

    assert store.url == behind.url
    assert store.read([old, new]) == ["old", "new"]
    assert {segment.name for segment in store.segments_of(FINGERPRINT)} == {old.segment, new.segment}
    assert store.get_state("20260102-030405-abcdef", "word") == b"said"
    assert (store.put_bytes("runs/a", b"other"), store.get_bytes("runs/a")) == (False, b"kept")
    assert store.get_all_bytes(["runs/a", "runs/b"]) == [b"kept", None]
    assert files_in(tmp_path / "store") == before
    assert outcome_of(local_store(tmp_path / "store"), 7) is None
    with pytest.raises(CheckpointNotFoundError):
        behind.read([new])


def test_damage_is_put_aside_for_those_who_read_here_alone(tmp_path: Path) -> None:
    behind = local_store(tmp_path / "store")
    (span,) = committed(behind, ["value"])
    (segment_directory(tmp_path / "store", span.segment) / "zarr.json").write_bytes(b"{}")
    before = files_in(tmp_path / "store")
    store = aside(local_store(tmp_path / "store"), tmp_path / "apart")

    with pytest.raises(CorruptCheckpointError):
        store.read([span])

    assert store.index(FINGERPRINT).empty
    assert files_in(tmp_path / "store") == before
