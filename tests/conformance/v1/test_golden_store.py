"""A store that an earlier version wrote in format 1 is read as it was meant."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.errors import UntrustedCheckpointError
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.run_log import RunLog, list_runs
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.paths import FORMAT_VERSION
from tests.conformance.v1.write_store import INPUT, OUTPUT, RUN, SPOOLED, TASKS, key, write
from tests.support.stores import FINGERPRINT, OTHER, count_of

GOLDEN = Path(__file__).parent / "store"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shutil.copytree(GOLDEN, tmp_path / "store")
    return open_store(str(tmp_path / "store"), trusted=True)


def assert_same(found: Any, meant: Any) -> None:
    assert type(found) is type(meant)
    if isinstance(meant, np.ndarray):
        assert found.dtype == meant.dtype
        assert np.array_equal(found, meant)
    elif isinstance(meant, pd.DataFrame):
        pd.testing.assert_frame_equal(found, meant)
    else:
        assert found == meant


@pytest.mark.parametrize("number", TASKS)
def test_a_task_is_read(store: Store, number: int) -> None:
    index = store.index(FINGERPRINT)
    (position,) = index.find(key(number)).tolist()
    outcome = index.outcome(position)
    meant = TASKS[number]

    assert count_of(outcome) == (BARE if isinstance(meant, tuple) else len(meant))
    assert outcome.duration_s == number / 4
    assert outcome.effects == (b"effects" if number == 0 else None)
    assert outcome.outputs.routes == (Routes.of([("left",), ("right", "left"), ()]) if number == 2 else None)
    for found, one in zip(store.read(outcome.outputs.spans), meant, strict=True):
        assert_same(found, one)
    assert store.damage == []


def test_a_spool_is_recovered(store: Store) -> None:
    recovered = store.recover()

    assert (recovered.tasks, recovered.interrupted) == (len(SPOOLED), (key(22),))
    index = store.index(FINGERPRINT)
    for number, (meant,) in SPOOLED.items():
        (position,) = index.find(key(number)).tolist()
        assert_same(store.read(index.outcome(position).outputs.spans)[0], meant)


def test_a_stream_is_read(store: Store) -> None:
    record = store.get_stream(OTHER, INPUT)

    assert record is not None
    assert (record.digest, record.n_tasks, record.seconds, record.run_id) == (OUTPUT, len(TASKS), 1.25, RUN)
    assert record.extra == {"note": "extra"}
    assert record.outputs.n_out == sum(map(len, TASKS.values())) == sum(map(len, record.outputs.spans))
    assert record.outputs.routes == Routes.of((("a",), ("a", "b"))[n % 2] for n in range(record.outputs.n_out))
    assert record.outputs.each_count[:3].tolist() == [BARE, 0, 3]


def test_a_run_is_read(store: Store) -> None:
    log = RunLog(store, RUN)

    assert [(entry.run_id, entry.header) for entry in list_runs(store)] == [(RUN, log.header())]
    assert log.header() == {"graph": "golden", "inputs": {"n": 3}}
    assert list(log.events()) == [{"kind": "RunStarted", "n": n} for n in range(300)] + [{"kind": "RunEnded"}]
    assert store.get_bytes(f"runs/{RUN}/code/blob") == b"code"
    assert store.get_state(RUN, "counter") == b"41"


def test_pickles_need_trust_and_nothing_else_does(store: Store) -> None:
    untrusting = Store(store.filesystem, trusted=False)
    index = untrusting.index(FINGERPRINT)

    positions = dict(zip(TASKS, index.find(b"".join(map(key, TASKS))).tolist(), strict=True))

    assert [number for number, position in positions.items() if position < 0] == [9]
    assert "1 outputs of function 5eed5eed as pickles" in untrusting.damage[0]
    for number, position in positions.items():
        if number != 9:
            untrusting.read(index.outcome(position).outputs.spans)
    position = int(store.index(FINGERPRINT).find(key(9))[0])
    with pytest.raises(UntrustedCheckpointError, match="TENSORLAKE_NB_SIGNING_KEY"):
        untrusting.read(store.index(FINGERPRINT).outcome(position).outputs.spans)


def test_zarr_alone_reads_the_arrays(store: Store) -> None:
    (path,) = GOLDEN.glob(f"segments/*/{FINGERPRINT}/batch-1~*")

    group: Any = zarr.open_group(path, mode="r")

    assert np.array_equal(group["values_1"][:], np.stack([TASKS[3][0], TASKS[4][0]]))
    assert np.array_equal(group["values"][0], TASKS[10][0])
    assert b"spooled" not in bytes(group["payload"][:])


def shape_of(path: Path) -> Any:
    """What of an object must not change without a new format version: the names and types in a record."""

    def outline(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: outline(part) for name, part in value.items()}
        return type(value).__name__

    return outline(json.loads(path.read_text())["attributes"])


def test_the_same_store_is_still_written_the_same_way(tmp_path: Path) -> None:
    write(tmp_path / "now")

    def listed(root: Path) -> list[str]:
        paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.name != ".gitignore")
        return sorted("/".join(part.partition("~")[0] for part in path.parts) for path in paths)

    assert FORMAT_VERSION == 1
    assert listed(tmp_path / "now") == listed(GOLDEN)
    (old,), (new,) = (root.glob("segments/*/*/batch-1~*/zarr.json") for root in (GOLDEN, tmp_path / "now"))
    assert shape_of(old) == shape_of(new)
