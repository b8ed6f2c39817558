"""Every kind of stored object, damaged in every way: never a wrong value, never an error that isn't ours."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.run_log import RunLog, list_runs
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.record import read_record
from tensorlake_nb.store.format.segment import LARGE_BYTES
from tests.support.damage import DAMAGES, Damage, every_damage, harm, removed
from tests.support.stores import (
    FINGERPRINT,
    committed,
    digests_of,
    local_store,
    outcome_of,
    segment_directory,
    some_digest,
    stream_of,
)

RUN = "20260102-030405-abcdef"
VALUES: list[Any] = [
    {"text": "x" * 300},
    "more " * 2000,
    np.arange(6.0).reshape(2, 3),
    np.ones((2, 3)),
    np.random.default_rng(1).random(LARGE_BYTES // 8),
    b"large" * LARGE_BYTES,
]


@dataclass
class Full:
    """A store with one of each kind of object, on disk."""

    root: Path
    store: Store
    spans: list[Span] = field(default_factory=list)

    @property
    def segment(self) -> Path:
        return segment_directory(self.root, self.spans[0].segment)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Full:
    root = tmp_path_factory.mktemp("pristine") / "store"
    store = local_store(root)
    spans = committed(store, VALUES)
    store.put_stream(FINGERPRINT, some_digest(1), stream_of(store, spans, some_digest(9), run_id=RUN))
    log = RunLog(store, RUN)
    log.create({"graph": "g", "padding": "p" * 100})
    for part in range(3):
        log.append([{"part": part, "n": n} for n in range(3)])
    store.put_bytes(f"runs/{RUN}/code/blob", b"code" * 2000)
    store.put_state(RUN, "counter", b"41")
    return Full(root, store, spans)


@pytest.fixture
def full(pristine: Full, tmp_path: Path) -> Full:
    shutil.copytree(pristine.root, tmp_path / "store")
    return Full(tmp_path / "store", local_store(tmp_path / "store"), pristine.spans)


def objects_of_a_segment() -> list[str]:
    return ["payload/c.0", "values/c.0.0", "values_1/c.0.0.0", "large/c.0"]


def test_the_segment_has_just_those_objects(full: Full) -> None:
    found = {str(path.relative_to(full.segment)) for path in full.segment.rglob("c.*")}

    assert found == set(objects_of_a_segment())


@every_damage
@pytest.mark.parametrize("name", objects_of_a_segment())
def test_a_damaged_object_is_never_a_value(full: Full, name: str, damage: Damage, seed: int) -> None:
    harm(full.segment / name, damage, seed)
    harmed = {"payload/c.0": {0, 1}, "values/c.0.0": {4}, "values_1/c.0.0.0": {2, 3}, "large/c.0": {5}}[name]

    for position, span in enumerate(full.spans):
        reader = local_store(full.root)
        if position in harmed:
            with pytest.raises(CorruptCheckpointError, match=name):
                reader.read([span])
            assert len(reader.damage) == 1
        else:
            assert digests_of(reader.read([span])) == digests_of([VALUES[position]])


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_in_a_damaged_segment_is_gone_for_everybody_and_can_be_written_again(
    full: Full, damage: Damage
) -> None:
    harm(full.segment / "payload/c.0", damage, 0)
    with pytest.raises(CorruptCheckpointError):
        full.store.read(full.spans[:1])

    for reader in (full.store, local_store(full.root)):
        assert outcome_of(reader, 0) is None
        assert reader.get_stream(FINGERPRINT, some_digest(1)) is None
    spans = committed(full.store, VALUES)
    full.store.put_stream(FINGERPRINT, some_digest(1), stream_of(full.store, spans, some_digest(9), run_id=RUN))

    fresh = local_store(full.root)
    found = fresh.get_stream(FINGERPRINT, some_digest(1))
    assert found is not None
    assert digests_of(fresh.read(found.outputs.spans)) == digests_of(VALUES)


@every_damage
def test_a_damaged_record_is_a_segment_less(full: Full, damage: Damage, seed: int) -> None:
    harm(full.segment / "zarr.json", damage, seed)
    whole = committed(full.store, ["whole"], name="whole")

    for reader in (local_store(full.root), local_store(full.root)):
        assert len(reader.index(FINGERPRINT)) == 1
        assert reader.read(whole) == ["whole"]
        with pytest.raises((CorruptCheckpointError, CheckpointNotFoundError)):
            reader.read(full.spans[:1])
        assert len(reader.damage) >= 1


@every_damage
def test_a_damaged_array_does_not_open_as_zeros(full: Full, damage: Damage, seed: int) -> None:
    committed(full.store, [np.full((4, 4), 7.0)] * 3, name="arrays")
    (segment,) = full.store.segments_of(FINGERPRINT, "arrays")
    array = local_store(full.root).open_array([Span(segment.name, 0, 3)])
    harm(segment_directory(full.root, segment.name) / "values/c.0.0.0", damage, seed)

    with pytest.raises(CorruptCheckpointError):
        array[:]


@every_damage
def test_a_damaged_stream_record_is_a_miss_and_is_replaced(full: Full, damage: Damage, seed: int) -> None:
    path = full.root / "streams" / FINGERPRINT[:2] / FINGERPRINT / some_digest(1).hex()
    harm(path, damage, seed)

    assert full.store.get_stream(FINGERPRINT, some_digest(1)) is None
    assert len(full.store.damage) == (0 if damage is removed else 1)
    full.store.put_stream(FINGERPRINT, some_digest(1), stream_of(full.store, full.spans, some_digest(9), run_id=RUN))
    assert full.store.get_stream(FINGERPRINT, some_digest(1)) == stream_of(
        full.store, full.spans, some_digest(9), run_id=RUN
    )


def test_a_stream_record_in_another_place_is_a_miss(full: Full) -> None:
    directory = full.root / "streams" / FINGERPRINT[:2] / FINGERPRINT
    shutil.copy(directory / some_digest(1).hex(), directory / some_digest(2).hex())

    assert full.store.get_stream(FINGERPRINT, some_digest(2)) is None


def test_a_segment_in_another_place_is_not_taken_for_it(full: Full) -> None:
    shutil.copytree(full.segment, full.segment.with_name("other~1"))

    assert len(full.store.index(FINGERPRINT)) == len(VALUES)
    with pytest.raises(CorruptCheckpointError):
        full.store.read([Span(f"{FINGERPRINT}/other~1", 0, 1)])


@every_damage
def test_a_damaged_header_leaves_the_run_in_the_list(full: Full, damage: Damage, seed: int) -> None:
    harm(full.root / "runs" / RUN / "header", damage, seed)

    (entry,) = list_runs(full.store)

    assert (entry.run_id, entry.header) == (RUN, None)
    with pytest.raises((CorruptCheckpointError, CheckpointNotFoundError)):
        RunLog(full.store, RUN).header()
    assert len(list(RunLog(full.store, RUN).events())) == 9


@every_damage
def test_a_damaged_part_is_left_out_of_the_events(full: Full, damage: Damage, seed: int) -> None:
    harm(full.root / "runs" / RUN / "events" / "00000002", damage, seed)

    events = list(RunLog(full.store, RUN).events())

    assert [event["part"] for event in events] == [0] * 3 + [2] * 3
    assert len(full.store.damage) == (0 if damage is removed else 1)
    RunLog(full.store, RUN).append([{"part": 3}])
    assert list(RunLog(full.store, RUN).events())[-1] == {"part": 3}


@every_damage
def test_damaged_code_is_refused(full: Full, damage: Damage, seed: int) -> None:
    harm(full.root / "runs" / RUN / "code" / "blob", damage, seed)

    with pytest.raises((CorruptCheckpointError, CheckpointNotFoundError)):
        full.store.get_bytes(f"runs/{RUN}/code/blob")


@every_damage
def test_damaged_state_is_refused(full: Full, damage: Damage, seed: int) -> None:
    (path,) = (full.root / "runs" / RUN / "state").iterdir()
    harm(path, damage, seed)

    if damage is removed:
        assert full.store.get_state(RUN, "counter") is None
    else:
        with pytest.raises(CorruptCheckpointError):
            full.store.get_state(RUN, "counter")


@every_damage
def test_a_damaged_root_record_is_made_anew_and_that_is_said(full: Full, damage: Damage, seed: int) -> None:
    harm(full.root / "zarr.json", damage, seed)

    store = open_store(str(full.root))

    assert digests_of(store.read(full.spans)) == digests_of(VALUES)
    said = [reason for reason in store.damage if "written anew" in reason]
    assert len(said) == (0 if damage is removed else 1)
    read_record("zarr.json", (full.root / "zarr.json").read_bytes())


def test_directories_where_objects_should_be_are_damage(full: Full) -> None:
    for path in (full.segment / "payload/c.0", full.root / "runs" / RUN / "header"):
        path.unlink()
        path.mkdir()

    with pytest.raises(CorruptCheckpointError):
        full.store.read(full.spans[:1])
    assert list_runs(full.store)[0].header is None


def test_strangers_in_the_directories_are_ignored(full: Full) -> None:
    for directory in (full.segment.parent, full.root / "spool" / FINGERPRINT, full.root / "runs"):
        directory.mkdir(exist_ok=True, parents=True)
        (directory / "a file ~ of somebody.spool").write_bytes(b"junk")
        (directory / "a directory ~").mkdir()
        (directory / "a~b").write_bytes(b"junk")
    (full.root / "spool" / "no fingerprint").mkdir()

    assert len(full.store.index(FINGERPRINT)) == len(VALUES)
    full.store.recover()
    assert [entry.run_id for entry in list_runs(full.store) if entry.header] == [RUN]
