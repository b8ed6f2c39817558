"""Writers that die, and what their spools save."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.store.checkpoints.store import Store
from tests.support.damage import Damage, emptied, flipped, harm, junk, longer, zeroed
from tests.support.stores import FINGERPRINT, add, key, local_store, outcome_of

WRITE_AND_DIE = """
import os, signal, sys
from tensorlake_nb.core.batches.output_columns import Routes
from tests.support.stores import FINGERPRINT, add, key, local_store
from pathlib import Path
import numpy as np

writer = local_store(Path(sys.argv[1])).writer(FINGERPRINT, "batch")
for number in range(20):
    writer.begin(key(number))
    add(writer, number, {"number": number}, duration_s=0.5, effects=b"e", routes=Routes.of([("a",)]))
    if number == 4:
        writer.flush()
writer.begin(key(100))
add(writer, 100, np.full(200_000, 3.0))
writer.begin(key(101))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a process that was killed after 21 tasks, 5 of them flushed, while it computed another."""
    root = tmp_path_factory.mktemp("killed") / "store"
    local_store(root)
    ended = subprocess.run([sys.executable, "-W", "error", "-c", WRITE_AND_DIE, str(root)], check=False)
    assert ended.returncode == -9
    return root


@pytest.fixture
def dead(killed: Path, tmp_path: Path) -> Path:
    """A copy of that store."""
    shutil.copytree(killed, tmp_path / "store")
    return tmp_path / "store"


def spool_of(root: Path) -> Path:
    (path,) = (root / "spool" / FINGERPRINT).iterdir()
    return path


def test_a_killed_writer_loses_only_what_it_was_computing(dead: Path) -> None:
    store = local_store(dead)

    recovered = store.recover()

    assert (recovered.tasks, recovered.interrupted, recovered.spools, recovered.alive) == (16, (key(101),), 1, 0)
    assert list((dead / "spool" / FINGERPRINT).iterdir()) == []
    for number in range(20):
        outcome = outcome_of(store, number)
        assert outcome is not None
        assert local_store(dead).read(outcome.outputs.spans) == [{"number": number}]
        assert (outcome.effects, outcome.outputs.routes, outcome.duration_s) == (b"e", Routes.of([("a",)]), 0.5)
    large = outcome_of(store, 100)
    assert large is not None
    assert np.array_equal(local_store(dead).read(large.outputs.spans)[0], np.full(200_000, 3.0))
    assert store.damage == []


def test_the_next_writer_of_the_name_knows_what_the_killed_one_did(dead: Path) -> None:
    for recover_first in (True, False):
        store = local_store(dead)
        if recover_first:
            store.recover()

        writer = store.writer(FINGERPRINT, "batch")

        assert set(writer.known()) == {*map(key, range(20)), key(100)}
        assert writer.interrupted() == (key(101),)


def test_an_index_is_enough_to_find_what_a_killed_writer_did(dead: Path) -> None:
    index = local_store(dead).index(FINGERPRINT)

    assert (index.find(b"".join(map(key, range(20)))) >= 0).all()


@pytest.mark.parametrize("position", range(0, 60, 7))
def test_a_spool_cut_anywhere_keeps_what_is_before(dead: Path, position: int) -> None:
    path = spool_of(dead)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * position // 60])

    store = local_store(dead)
    store.recover()

    found = [number for number in range(20) if outcome_of(store, number) is not None]
    assert found == list(range(len(found)))
    assert len(found) >= 5  # those had been flushed
    for number in found:
        outcome = outcome_of(store, number)
        assert outcome is not None
        assert store.read(outcome.outputs.spans) == [{"number": number}]


@pytest.mark.parametrize("seed", range(40))
def test_a_spool_with_a_flipped_bit_gives_no_wrong_value(dead: Path, seed: int) -> None:
    harm(spool_of(dead), flipped, seed)

    store = local_store(dead)
    store.recover()

    found = {number: outcome_of(store, number) for number in range(20)}
    for number, outcome in found.items():
        if outcome is not None:
            assert store.read(outcome.outputs.spans) == [{"number": number}]


@pytest.mark.parametrize("damage", [emptied, zeroed, junk, longer])
def test_a_spool_of_junk_is_survived(dead: Path, damage: Damage) -> None:
    harm(spool_of(dead), damage, 1)

    store = local_store(dead)
    store.recover()

    assert outcome_of(store, 0) is not None
    add(store.writer(FINGERPRINT, "batch"), 1000, "still usable")


def test_a_large_value_that_the_killed_writer_left_damaged_is_computed_again(dead: Path) -> None:
    (path,) = dead.glob("segments/*/*/*/values/c.0.0")
    harm(path, flipped, 3)

    store = local_store(dead)
    store.recover()

    assert outcome_of(store, 100) is None
    assert outcome_of(store, 19) is not None
    assert len(store.damage) == 1


def test_two_kernels_that_recover_at_once_do_no_harm(dead: Path) -> None:
    stores = [local_store(dead) for _ in range(4)]
    start = threading.Barrier(len(stores))
    failures: list[BaseException] = []

    def recover(store: Store) -> None:
        try:
            start.wait()
            store.recover()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=recover, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sum(len(segment) for segment in local_store(dead).segments_of(FINGERPRINT)) == 21
    assert [store.damage for store in stores] == [[]] * 4


def test_the_spool_of_a_live_writer_is_read_and_left_alone(tmp_path: Path) -> None:
    writing, reading = local_store(tmp_path / "store"), local_store(tmp_path / "store")
    writer = writing.writer(FINGERPRINT, "batch")
    writer.begin(key(1))
    add(writer, 1, "safe already")
    writer.begin(key(2))

    recovered = reading.recover()
    outcome = outcome_of(reading, 1)

    assert (recovered.tasks, recovered.alive) == (0, 1)
    assert outcome is not None
    assert reading.read(outcome.outputs.spans) == ["safe already"]
    add(writer, 2, "and on")
    writer.close()
    assert reading.read(writer.locate(key(2)).outputs.spans) == ["and on"]


def test_a_batch_begun_elsewhere_knows_what_its_live_first_writer_did(tmp_path: Path) -> None:
    first = local_store(tmp_path / "store").writer(FINGERPRINT, "batch")
    first.begin(key(1))
    add(first, 1, "value")
    first.begin(key(2))

    second = local_store(tmp_path / "store").writer(FINGERPRINT, "batch")

    assert set(second.known()) == {key(1)}
    assert second.interrupted() == (key(2),)


def test_a_writer_that_was_let_go_is_recovered_in_the_same_process(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    writer = store.writer(FINGERPRINT, "batch")
    add(writer, 1, "value")
    writer.abandon()

    assert store.recover().tasks == 1
    assert outcome_of(store, 1) is not None
