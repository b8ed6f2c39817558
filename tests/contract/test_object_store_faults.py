"""A whole run on an object store that throttles, loses connections and is slow: right, and nothing is called twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb import Graph, RunError, StoreUnavailableError, configure, tensorlake_function
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.filesystems import retrying as patience
from tests.support.faulty_s3 import FaultyS3
from tests.support.notes import Notes
from tests.support.stores import FINGERPRINT, committed, digests_of

s3fs = pytest.importorskip("s3fs")
fsspec_config = pytest.importorskip("fsspec.config")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAITS_S", (0.01, 0.02, 0.05, 0.1, 0.2, 0.3))


@pytest.fixture
def faulty(s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """The S3 server behind a proxy that spoils nothing yet; stores opened by URL alone go through it."""
    proxy = FaultyS3(s3["endpoint_url"], seed=11)
    few = {"retries": {"max_attempts": 1}}  # botocore's own go on with ours, whose waits are short here
    about = {"endpoint_url": proxy.url, "key": s3["key"], "secret": s3["secret"], "config_kwargs": few}
    monkeypatch.setitem(fsspec_config.conf, "s3", about)
    yield proxy
    configure(cluster="threads", workers=2, store_patience=300)
    proxy.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_run_on_a_troubled_object_store(faulty: FaultyS3, tmp_path: Path, seed: int) -> None:
    notes = Notes(str(tmp_path / "notes"))
    configure(store=f"s3://bucket/{uuid.uuid4().hex}", cluster="threads", workers=2, trust_store=True)

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def squared(x: int) -> int:
        notes.add(x)
        return x * x

    @tensorlake_function(accumulate=int)
    def total(so_far: int, x: int) -> int:
        return so_far + x

    graph = Graph("troubled", numbers).add_edge(numbers, squared).add_edge(squared, total)
    faulty._draw.seed(seed)
    faulty.throttled, faulty.dropped, faulty.dropped_after, faulty.delay_s = 0.05, 0.03, 0.03, 0.02
    assert graph.run(n=100).result() == sum(x * x for x in range(100))
    assert graph.run(n=100).result() == sum(x * x for x in range(100))

    spoiled = faulty.counts["throttled"] + faulty.counts["dropped"] + faulty.counts["dropped_after"]
    assert spoiled > 0, "there was trouble"
    assert sorted(map(int, notes.all())) == list(range(100)), "nothing was called twice"


def test_an_object_whose_creation_was_answered_by_an_error_is_ours_all_the_same(faulty: FaultyS3) -> None:
    store = open_store(f"s3://bucket/{uuid.uuid4().hex}", trusted=True)
    fates = iter(["dropped_after"])
    faulty.fate = lambda: next(fates, "passed")  # type: ignore[method-assign]
    assert store.put_bytes("runs/20260101-000000-abcdef/header", b"first")
    assert not store.put_bytes("runs/20260101-000000-abcdef/header", b"second")
    assert store.get_bytes("runs/20260101-000000-abcdef/header") == b"first"


def test_slow_answers_are_waited_for(faulty: FaultyS3) -> None:
    store = open_store(f"s3://bucket/{uuid.uuid4().hex}", trusted=True)
    values = [{"n": n} for n in range(20)] + [np.arange(10.0)]
    faulty.delay_s = 0.3
    spans = committed(store, values)
    store._values.clear()
    store._reader.recent.clear()

    assert digests_of(store.read(spans)) == digests_of(values)
    assert len(store.index(FINGERPRINT)) == len(values)


def test_a_store_that_stays_away_ends_the_run_and_says_so(
    faulty: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    impatient = {**fsspec_config.conf["s3"], "config_kwargs": {"retries": {"max_attempts": 0}}}
    monkeypatch.setitem(fsspec_config.conf, "s3", impatient)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(patience, "WAITS_S", (0.01,))
    url = f"s3://bucket/{uuid.uuid4().hex}"
    configure(store=url, cluster="threads", workers=2, trust_store=True, store_patience=0.5)

    notes, gate = Notes(str(tmp_path / "notes")), tmp_path / "gate"

    @tensorlake_function()
    def waits(x: int) -> int:
        import time

        notes.add("begun")
        while not gate.exists():
            time.sleep(0.01)
        return x

    run = Graph("cut-off", waits).start(x=1)
    notes.wait_for("begun")
    faulty.throttled = 1.0
    gate.touch()
    with pytest.raises((StoreUnavailableError, RunError)) as raised:
        run.wait(60)
    faulty.throttled = 0.0

    assert "s3://bucket" in str(raised.value)
