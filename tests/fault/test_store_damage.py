"""Every kind of stored object, damaged in every way: never a wrong value, never an error that isn't ours."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb.core.batch import Span
from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError, StoreError, StoreUnavailableError
from tensorlake_nb.store.checkpoints import Store
from tensorlake_nb.store.opening import open_store
from tensorlake_nb.store.run_log import RunLog, list_runs
from tensorlake_nb.store.segment import LARGE_BYTES
from tensorlake_nb.store.streams import StreamRecord
from tests.support.stores import (
    FINGERPRINT,
    add,
    committed,
    digests_of,
    key,
    local_store,
    outcome_of,
    segment_directory,
    some_digest,
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


def flipped(raw: bytes, random_: random.Random) -> bytes:
    position, bit = random_.randrange(len(raw)), random_.randrange(8)
    return raw[:position] + bytes([raw[position] ^ (1 << bit)]) + raw[position + 1 :]


def cut(raw: bytes, random_: random.Random) -> bytes:
    return raw[: random_.randrange(1, len(raw))]


def longer(raw: bytes, random_: random.Random) -> bytes:
    return raw + random_.randbytes(random_.randrange(1, 50))


def emptied(raw: bytes, random_: random.Random) -> bytes:
    return b""


def zeroed(raw: bytes, random_: random.Random) -> bytes:
    return bytes(len(raw))


def junk(raw: bytes, random_: random.Random) -> bytes:
    return random_.randbytes(random_.randrange(1, 2000))


def removed(raw: bytes, random_: random.Random) -> None:
    return None


Damage = Callable[[bytes, random.Random], bytes | None]
DAMAGES: list[Damage] = [flipped, cut, longer, emptied, zeroed, junk, removed]
#: A random place is hit, so some damages are tried at several.
TRIES = {flipped: 12, cut: 4}

every_damage = pytest.mark.parametrize(
    ("damage", "seed"), [(damage, seed) for damage in DAMAGES for seed in range(TRIES.get(damage, 1))]
)


def harm(path: Path, damage: Damage, seed: int) -> None:
    damaged = damage(path.read_bytes(), random.Random(seed))
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)


@dataclass
class Full:
    """A store with one of each kind of object, on disk."""

    root: Path
    store: Store
    spans: list[Span] = field(default_factory=list)

    @property
    def segment(self) -> Path:
        return segment_directory(self.root, self.spans[0].segment)


def stream_of(spans: list[Span]) -> StreamRecord:
    return StreamRecord(tuple(spans), len(spans), len(spans), None, None, some_digest(9), 1.0, RUN)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Full:
    root = tmp_path_factory.mktemp("pristine") / "store"
    store = local_store(root)
    spans = committed(store, VALUES)
    store.put_stream(FINGERPRINT, some_digest(1), stream_of(spans))
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
    full.store.put_stream(FINGERPRINT, some_digest(1), stream_of(spans))

    fresh = local_store(full.root)
    found = fresh.get_stream(FINGERPRINT, some_digest(1))
    assert found is not None
    assert digests_of(fresh.read(found.spans)) == digests_of(VALUES)


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
    full.store.put_stream(FINGERPRINT, some_digest(1), stream_of(full.spans))
    assert full.store.get_stream(FINGERPRINT, some_digest(1)) == stream_of(full.spans)


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
def test_a_damaged_root_record_is_said_or_made_anew(full: Full, damage: Damage, seed: int) -> None:
    harm(full.root / "zarr.json", damage, seed)

    if damage is removed:
        assert digests_of(open_store(str(full.root)).read(full.spans)) == digests_of(VALUES)
    else:
        with pytest.raises(StoreError, match=r"zarr\.json"):
            open_store(str(full.root))


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


# Spools

WRITE_AND_DIE = """
import os, signal, sys
from tests.support.stores import FINGERPRINT, add, key, local_store
from pathlib import Path
import numpy as np

writer = local_store(Path(sys.argv[1])).writer(FINGERPRINT, "batch")
for number in range(20):
    writer.begin(key(number))
    add(writer, number, {"number": number}, duration_s=0.5, effects=b"e", routes=(("a",),))
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
        assert local_store(dead).read(outcome.spans) == [{"number": number}]
        assert (outcome.effects, outcome.routes, outcome.duration_s) == (b"e", (("a",),), 0.5)
    large = outcome_of(store, 100)
    assert large is not None
    assert np.array_equal(local_store(dead).read(large.spans)[0], np.full(200_000, 3.0))
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
        assert store.read(outcome.spans) == [{"number": number}]


@pytest.mark.parametrize("seed", range(40))
def test_a_spool_with_a_flipped_bit_gives_no_wrong_value(dead: Path, seed: int) -> None:
    harm(spool_of(dead), flipped, seed)

    store = local_store(dead)
    store.recover()

    found = {number: outcome_of(store, number) for number in range(20)}
    for number, outcome in found.items():
        if outcome is not None:
            assert store.read(outcome.spans) == [{"number": number}]


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
    assert reading.read(outcome.spans) == ["safe already"]
    add(writer, 2, "and on")
    writer.close()
    assert reading.read(writer.locate(key(2)).spans) == ["and on"]


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


# Disks


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
        assert digests_of(reader.read(writer.locate(key(position)).spans)) == digests_of([value])
    assert reader.damage == []
    assert list((tmp_path / "store" / "spool" / FINGERPRINT).iterdir()) == []


def test_an_unwritable_directory_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreUnavailableError, match="file"):
        open_store(str(tmp_path / "file" / "store"))


def test_objects_are_put_before_their_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = local_store(tmp_path / "store")
    order: list[str] = []
    for name in ("put", "put_atomic"):
        real = getattr(store.filesystem, name)
        monkeypatch.setattr(
            store.filesystem,
            name,
            lambda path, data, real=real: (order.append(path.rpartition("/")[2]), real(path, data)),
        )

    committed(store, [{"small": 1}])

    assert order == ["c.0", "zarr.json"]
