"""What every store does, wherever it lies: one suite for local directories, memory and S3."""

from __future__ import annotations

import pickle
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    OptionError,
    StoreUnavailableError,
    StoreVersionError,
    UntrustedCheckpointError,
    UsageError,
)
from tensorlake_nb.store.checkpoints import opening
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.run_log import RunLog, list_runs
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims.lease import Lease, leases, put_lease, remove_lease
from tensorlake_nb.store.claims.ledger import Ledger
from tensorlake_nb.store.collecting.removal import Collection
from tensorlake_nb.store.collecting.retention import Retention
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.record import read_record, write_record
from tensorlake_nb.store.format.segment import LARGE_BYTES
from tensorlake_nb.store.format.stream_record import StreamRecord
from tests.support.stores import (
    FINGERPRINT,
    OTHER,
    Odd,
    add,
    again,
    committed,
    count_of,
    digests_of,
    encoded,
    key,
    outcome_of,
    some_digest,
    stream_of,
)

RUN = "20260102-030405-abcdef"


@pytest.fixture(params=["directory", "file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty, trusted store, as another process would open it."""
    match request.param:
        case "directory":
            return again(open_store(str(tmp_path / "a store")))
        case "file":
            return again(open_store(f"file://{tmp_path}/store"))
        case "memory":
            return again(open_store(f"memory://{uuid.uuid4().hex}/store"))
        case _:
            reached = request.getfixturevalue("s3")
            return again(open_store(f"s3://bucket/{uuid.uuid4().hex}", trusted=True, options=reached))


VALUES: list[Any] = [
    {"a": 1, "b": (1, 2)},
    "text",
    b"",
    None,
    np.arange(6.0).reshape(2, 3),
    np.ones((2, 3)),
    np.arange(5),
    np.zeros((0, 2)),
    Odd([1]),
    "long " * LARGE_BYTES,
    np.random.default_rng(1).random((3, LARGE_BYTES // 8)),
    np.random.default_rng(2).random((3, LARGE_BYTES // 8)),
]


def test_what_was_committed_is_read_back(store: Store) -> None:
    spans = committed(store, VALUES)

    for reader in (store, again(store)):
        back = reader.read(spans)
        assert digests_of(back) == digests_of(VALUES)
        assert list(map(type, back)) == list(map(type, VALUES))
    assert store.damage == []


def test_each_read_gives_a_value_of_its_own(store: Store) -> None:
    spans = committed(store, [[1], np.zeros(3)])

    for reader in (store, again(store)):
        first = reader.read(spans)
        first[0].append(2)
        first[1][:] = 1
        assert digests_of(reader.read(spans)) == digests_of([[1], np.zeros(3)])


def test_an_array_changed_after_it_was_added_is_stored_as_it_was(store: Store) -> None:
    array, large = np.zeros(3), np.zeros(LARGE_BYTES // 8)
    writer = store.writer(FINGERPRINT, "batch")
    add(writer, 0, array)
    add(writer, 1, large)
    array[:] = large[:] = 1
    writer.flush()

    for reader in (store, again(store)):
        for number in (0, 1):
            (value,) = reader.read(writer.locate(key(number)).outputs.spans)
            assert not value.any()


def test_an_outcome_comes_back_with_all_that_was_said_about_it(store: Store) -> None:
    writer = store.writer(FINGERPRINT, "batch")
    routes = Routes.of([("a",), (), ("a", "b")])
    writer.add(Entry(key(1), 3, tuple(encoded(n) for n in range(3)), routes, b"effects", 1.5))
    writer.add(Entry(key(2), 0, (), passes=("a",)))
    writer.add(Entry(key(3), BARE, (encoded("x"),)))
    writer.close()

    listed, none, bare = (outcome_of(again(store), number) for number in (1, 2, 3))

    assert listed is not None
    assert none is not None
    assert bare is not None
    assert (listed.key, count_of(listed), listed.duration_s, listed.effects) == (key(1), 3, 1.5, b"effects")
    assert listed.outputs.routes == routes
    assert listed.outputs.digests == digests_of(range(3))
    assert store.read(listed.outputs.spans) == [0, 1, 2]
    assert (count_of(none), none.outputs.spans, none.outputs.digests, none.passes) == (0, (), b"", ("a",))
    assert (count_of(bare), bare.outputs.routes, bare.passes, bare.effects) == (BARE, None, None, None)
    assert writer.locate(key(1)) == listed


def test_nothing_is_found_before_it_is_flushed(store: Store) -> None:
    writer = store.writer(FINGERPRINT, "batch")
    add(writer, 1, "value", duration_s=0.25)

    with pytest.raises(CheckpointNotFoundError):
        writer.locate(key(1))
    assert writer.at_risk_s == 0.25
    assert writer.pending_bytes > 0
    writer.flush()

    assert (writer.at_risk_s, writer.pending_bytes) == (0.0, 0)
    assert store.read(writer.locate(key(1)).outputs.spans) == ["value"]


def test_the_index_finds_many_keys_in_many_segments(store: Store) -> None:
    for batch in range(5):
        writer = store.writer(FINGERPRINT, f"batch-{batch}")
        for number in range(batch * 10, batch * 10 + 10):
            add(writer, number, number)
        writer.close()

    index = again(store).index(FINGERPRINT)
    positions = index.find(b"".join(key(number) for number in range(-5, 55)))

    assert [position < 0 for position in positions] == [True] * 5 + [False] * 50 + [True] * 5
    spans = [index.outcome(position).outputs.spans[0] for position in positions[5:55]]
    assert store.read(spans) == list(range(50))
    assert store.digests(spans) == digests_of(range(50))


def test_functions_do_not_see_each_other(store: Store) -> None:
    committed(store, [1])

    assert store.index(OTHER).empty
    assert store.index(OTHER).find(key(0)).tolist() == [-1]


def test_an_index_stays_as_it_is_until_it_is_refreshed(store: Store) -> None:
    index = store.index(FINGERPRINT)
    committed(store, [1])

    assert store.index(FINGERPRINT) is index
    assert len(store.index(FINGERPRINT, refresh=True)) == 1


def test_of_equal_keys_the_newest_is_found(store: Store) -> None:
    for value in ("old", "new"):
        writer = store.writer(FINGERPRINT, "batch")
        add(writer, 1, value)
        writer.close()

    found = outcome_of(store, 1)

    assert found is not None
    assert store.read(found.outputs.spans) == ["new"]


def test_a_second_writer_of_a_name_knows_what_the_first_left(store: Store) -> None:
    first = store.writer(FINGERPRINT, "run/batch 1")
    add(first, 1, "value")
    first.close()
    other = store.writer(FINGERPRINT, "run/batch 2")
    add(other, 2, "value")
    other.close()

    second = again(store).writer(FINGERPRINT, "run/batch 1")

    assert second.known() == {key(1): first.locate(key(1))}
    assert second.interrupted() == ()


def test_a_superseded_accumulator_is_left_out(store: Store) -> None:
    writer = store.writer(FINGERPRINT, "fold")
    add(writer, 0, 0)
    for number in range(1, 5):
        add(writer, number, number * 10, supersedes=key(number - 1))
    writer.close()

    assert [outcome_of(store, number) is not None for number in range(5)] == [False] * 4 + [True]
    assert store.read(writer.locate(key(4)).outputs.spans) == [40]


def test_a_segment_opens_with_zarr_alone(store: Store) -> None:
    arrays = [np.arange(6.0).reshape(2, 3) + number for number in range(4)]
    (span, *_) = committed(store, [*arrays, "text"])
    path = f"{store.url}/segments/{FINGERPRINT[:2]}/{span.segment}"

    group: Any = zarr.open_group(path, mode="r", storage_options=store.options or None)

    assert np.array_equal(group["values"][:], np.stack(arrays))
    assert bytes(group["payload"][:]).endswith(b"text")


def test_arrays_open_lazily_as_one(store: Store) -> None:
    arrays = [np.arange(6.0).reshape(2, 3) + number for number in range(6)]
    one = committed(store, arrays[:4], name="one")
    two = committed(store, arrays[4:], name="two")

    whole = again(store).open_array([Span(one[0].segment, 0, 4)])
    both = again(store).open_array([*one[1:], *two])

    assert isinstance(whole, zarr.Array)
    assert np.array_equal(whole[:], np.stack(arrays[:4]))
    assert (whole.shape, both.shape) == ((4, 2, 3), (5, 2, 3))
    assert np.array_equal(both.compute(scheduler="synchronous"), np.stack(arrays[1:]))
    assert np.array_equal(pickle.loads(pickle.dumps(both)).compute(scheduler="synchronous"), np.stack(arrays[1:]))


def test_arrays_of_many_segments_are_one_of_zarr(store: Store) -> None:
    arrays = [np.arange(6.0).reshape(2, 3) + number for number in range(7)]
    odd: list[Any] = [np.zeros(size) for size in range(2, 9)] * 2  # so many shapes that some aren't stacked
    spans = [committed(store, [array, *odd], name=f"part{number}")[0] for number, array in enumerate(arrays)]
    spans = [Span(span.segment, span.start, span.start + 1) for span in spans]

    whole = again(store).open_zarr(spans)

    assert isinstance(whole, zarr.Array)
    assert (whole.shape, whole.dtype) == ((7, 2, 3), np.dtype("f8"))
    assert np.array_equal(whole[:], np.stack(arrays))
    assert np.array_equal(whole[2:5, 1], np.stack(arrays)[2:5, 1])
    assert np.array_equal(pickle.loads(pickle.dumps(whole))[3], arrays[3])
    assert np.array_equal(np.asarray(again(store).open_array(spans)), np.stack(arrays))


@pytest.mark.parametrize("array", [np.array(3), np.zeros((0, 3)), np.zeros((2, 0, 3), "f4")])
def test_arrays_without_axes_or_elements_are_one_of_zarr(store: Store, array: np.ndarray[Any, Any]) -> None:
    spans = [span for number in range(3) for span in committed(store, [array], name=f"part{number}")]
    whole = again(store).open_zarr(spans)
    assert np.array_equal(whole[:], np.stack([array] * 3))
    assert whole.dtype == array.dtype


def test_a_damaged_chunk_is_an_error_and_not_zeros_in_an_array_of_many_segments(store: Store) -> None:
    spans = [span for number in range(3) for span in committed(store, [np.ones(4) + number], name=f"part{number}")]
    of, _, name = spans[1].segment.partition("/")
    store.filesystem.put(f"segments/{of[:2]}/{of}/{name}/values/c.0.0", b"\0" * 32)
    whole = again(store).open_zarr(spans)
    with pytest.raises(CorruptCheckpointError):
        whole[:]


@pytest.mark.parametrize("values", [["text"], [np.zeros(2), np.zeros(3)], []], ids=["text", "shapes", "nothing"])
def test_what_does_not_stack_is_a_usage_error(store: Store, values: list[Any]) -> None:
    with pytest.raises(UsageError):
        store.open_array(committed(store, values))


def test_a_span_beyond_its_segment_or_of_none_is_our_error(store: Store) -> None:
    (span,) = committed(store, [1])

    with pytest.raises(CorruptCheckpointError):
        store.read([Span(span.segment, 0, 2)])
    with pytest.raises(CheckpointNotFoundError):
        store.read([Span(f"{FINGERPRINT}/no~such", 0, 1)])
    with pytest.raises(OptionError):
        store.read([Span(f"{FINGERPRINT}/../{FINGERPRINT}", 0, 1)])


def stream(store: Store, spans: list[Span], **more: Any) -> StreamRecord:
    return stream_of(store, spans, some_digest(9), seconds=1.5, run_id=RUN, **more)


def test_a_stream_is_recorded_once(store: Store) -> None:
    spans = committed(store, [1, 2])
    counts = np.array([1, BARE], dtype=np.int32)
    first = stream(store, spans, counts=counts, routes=Routes.of([("a",), ()]), extra={"note": "x"})

    assert store.get_stream(FINGERPRINT, some_digest(1)) is None
    store.put_stream(FINGERPRINT, some_digest(1), first)
    store.put_stream(FINGERPRINT, some_digest(1), stream(store, spans[:1]))

    assert again(store).get_stream(FINGERPRINT, some_digest(1)) == first
    assert store.get_stream(OTHER, some_digest(1)) is None


def test_a_stream_of_nothing_is_a_stream(store: Store) -> None:
    store.put_stream(FINGERPRINT, some_digest(1), stream(store, []))

    assert store.get_stream(FINGERPRINT, some_digest(1)) == stream(store, [])


def test_a_quarantined_segment_is_not_found_again_and_its_stream_is_replaced(store: Store) -> None:
    spans = committed(store, [1])
    store.put_stream(FINGERPRINT, some_digest(1), stream(store, spans))

    again(store).quarantine(spans[0].segment, "a test says so, in half a letter: \ud83d")

    assert outcome_of(store, 0) is None
    assert store.get_stream(FINGERPRINT, some_digest(1)) is None
    newer = stream(store, committed(store, [1], name="newer"))
    store.put_stream(FINGERPRINT, some_digest(1), newer)
    assert store.get_stream(FINGERPRINT, some_digest(1)) == newer


def test_bytes_below_runs_are_written_once(store: Store) -> None:
    path = f"runs/{RUN}/code/blob"

    assert store.put_bytes(path, b"x" * 10_000)
    assert not store.put_bytes(path, b"other")

    assert again(store).get_bytes(path) == b"x" * 10_000
    assert store.list(f"runs/{RUN}/code") == ["blob"]
    assert store.list("runs") == [RUN]
    with pytest.raises(CheckpointNotFoundError):
        store.get_bytes(f"runs/{RUN}/code/none")


@pytest.mark.parametrize("path", ["segments/x", "runs", "runs/../segments/x", "runs//x", "/runs/x", "runs/a/.hidden"])
def test_nothing_is_written_outside_runs(store: Store, path: str) -> None:
    with pytest.raises(OptionError):
        store.put_bytes(path, b"")


def test_state_is_what_was_set_last(store: Store) -> None:
    assert store.get_state(RUN, "a/../key") is None
    store.put_state(RUN, "a/../key", b"1")
    store.put_state(RUN, "a/../key", b"2")
    store.put_state(RUN, "other", b"3")

    assert again(store).get_state(RUN, "a/../key") == b"2"
    assert again(store).get_state(RUN, "other") == b"3"


def test_a_run_is_logged_in_order_by_whoever_appends(store: Store) -> None:
    log = RunLog(store, RUN)
    assert log.create({"graph": "g"})
    assert not log.create({"graph": "other"})
    log.append([{"n": 1}, {"n": 2}])
    log.append([])
    RunLog(again(store), RUN).append([{"n": 3}])
    log.append([{"n": 4}])

    seen = RunLog(again(store), RUN)

    assert seen.header() == {"graph": "g"}
    assert [event["n"] for event in seen.events()] == [1, 2, 3, 4]
    assert [number for number, _ in seen.parts(after=1)] == [2, 3]


def test_runs_are_listed_newest_first(store: Store) -> None:
    assert list_runs(store) == []
    ids = [f"2026010{day}-000000-abcdef" for day in (2, 3, 1)]
    for run_id in ids:
        RunLog(store, run_id).create({"id": run_id})
    RunLog(store, "20260109-000000-abcdef").append([{"n": 1}])  # a run whose header was never written

    found = list_runs(store)

    assert [entry.run_id for entry in found] == sorted([*ids, "20260109-000000-abcdef"], reverse=True)
    assert [entry.header and entry.header["id"] for entry in found] == [None, *sorted(ids, reverse=True)]
    assert list_runs(store, limit=2) == found[:2]


def test_recovering_when_nobody_died_changes_nothing(store: Store) -> None:
    writer = store.writer(FINGERPRINT, "batch")
    add(writer, 1, 1)

    recovered = again(store).recover()
    writer.close()

    assert (recovered.tasks, recovered.interrupted, recovered.spools) == (0, (), 0)
    assert store.read(writer.locate(key(1)).outputs.spans) == [1]


def test_many_threads_write_and_read_at_once(store: Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            spans = committed(store, [number, np.full(3, number)], name=f"batch-{number}")
            assert digests_of(store.read(spans)) == digests_of([number, np.full(3, number)])
            store.index(FINGERPRINT, refresh=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len({segment.name for segment in again(store).segments_of(FINGERPRINT)}) == 6


def test_a_store_travels_as_its_url(store: Store) -> None:
    (span,) = committed(store, ["value"])

    arrived = pickle.loads(pickle.dumps(store))

    assert (arrived.url, arrived.trusted) == (store.url, store.trusted)
    assert arrived.read([span]) == ["value"]
    assert pickle.loads(pickle.dumps(store)) is arrived


def test_pickles_of_others_are_refused_where_the_store_is_not_trusted(store: Store) -> None:
    spans = committed(store, [Odd(1), "plain"])
    untrusting = Store(store.filesystem, trusted=False)

    assert untrusting.read(spans[1:]) == ["plain"]
    with pytest.raises(UntrustedCheckpointError):
        untrusting.read(spans[:1])
    assert untrusting.damage == []


def test_what_this_process_wrote_may_be_read_here(store: Store) -> None:
    untrusting = Store(store.filesystem, trusted=False)

    assert untrusting.read(committed(untrusting, [Odd(1)])) == [Odd(1)]


@pytest.mark.parametrize(
    ("root", "error"),
    [
        (write_record({"kind": "store", "version": 2}), StoreVersionError),
        (b'{"attributes":{"tensorlake_nb":{"version":7,"another":"checksum"}}}', StoreVersionError),
        (b"junk", CorruptCheckpointError),
        (b'{"zarr_format":3,"node_type":"gr', CorruptCheckpointError),
        (write_record({"kind": "segment", "name": "~" * 30})[:-20], CorruptCheckpointError),
        (b'{"zarr_format":3,"node_type":"group","attributes":{}}', StoreUnavailableError),
        (write_record({"kind": "segment"}), StoreUnavailableError),
    ],
    ids=["newer", "much newer", "junk", "another group, cut", "a segment, cut", "another group", "a segment"],
)
def test_a_root_record_that_is_not_right_is_said(store: Store, root: bytes, error: type[Exception]) -> None:
    url = f"{store.url}/inner"
    open_inner: Callable[[], Store] = lambda: open_store(url, trusted=True, options=store.options)  # noqa: E731
    store.filesystem.put_atomic("inner/zarr.json", root)

    with pytest.raises(error, match=r"(?s)format 1|zarr\.json|isn't ours") as told:
        open_inner()

    assert store.url in str(told.value)


ROOT = write_record({"kind": "store", "made": "2026-01-01T00:00:00"})


@pytest.mark.parametrize(
    "root", [b"", bytes(300), ROOT[:-20], ROOT.replace(b"2026", b"2027")], ids=["empty", "zeros", "cut", "changed"]
)
def test_a_root_record_that_can_only_be_ours_is_made_anew(store: Store, root: bytes) -> None:
    url = f"{store.url}/inner"
    store.filesystem.put_atomic("inner/zarr.json", root)

    opened = open_store(url, trusted=True, options=store.options)

    assert any("written anew" in said for said in opened.damage)
    read_record("zarr.json", store.filesystem.get("inner/zarr.json"))


@pytest.mark.parametrize("root", [b"", b"junk", b"\xff" * 10], ids=["empty", "junk", "bytes"])
def test_a_root_record_beside_segments_is_made_anew_but_not_that_of_another_group(store: Store, root: bytes) -> None:
    url = f"{store.url}/inner"
    inner = open_store(url, trusted=True, options=store.options)
    spans = committed(inner, [1, 2])
    store.filesystem.put_atomic("inner/zarr.json", root)
    opening._checked.clear()

    assert open_store(url, trusted=True, options=store.options).read(spans) == [1, 2]

    store.filesystem.put_atomic("inner/zarr.json", b'{"zarr_format":3,"node_type":"group","attributes":{}}')
    opening._checked.clear()
    with pytest.raises(CorruptCheckpointError, match="if no other program needs that file, remove it"):
        open_store(url, trusted=True, options=store.options)


def test_a_walk_finds_every_object_with_its_size_and_many_are_removed_at_once(store: Store) -> None:
    filesystem = store.filesystem
    objects = {
        f"some/{of}/{name}": b"x" * size for of in "ab" for size, name in enumerate(["x.bad", "x/c.0", "y/d/c.1"])
    }
    for path, data in objects.items():
        filesystem.put(path, data)

    found = {each.path: each.size_bytes for each in filesystem.walk("some")}
    filesystem.remove_all(["some/a/x.bad", "some/a/x/c.0", "some/b/y/d/c.1", "some/never/there"])

    assert found == {path: len(data) for path, data in objects.items()}
    assert {each.path for each in filesystem.walk("some")} == {"some/a/y/d/c.1", "some/b/x.bad", "some/b/x/c.0"}
    assert filesystem.list("some/a") == ["y"]
    assert list(filesystem.walk("nothing/here")) == []


def test_of_two_runs_that_claim_the_same_one_gets_it(store: Store) -> None:
    first, second = Ledger(store, FINGERPRINT, "first"), Ledger(store, FINGERPRINT, "second")

    assert first.claim(np.array([1, 2], dtype=np.uint64)) == {}
    held = second.claim(np.array([2, 3], dtype=np.uint64))

    assert {run: mask.tolist() for run, mask in held.items()} == {"first": [True, False]}
    assert {run: mask.tolist() for run, mask in first.claim(np.array([3], dtype=np.uint64)).items()} == {
        "second": [True]
    }


def test_a_lease_is_replaced_and_removed(store: Store) -> None:
    for beat in range(3):
        put_lease(
            store, Lease("run", beat, frozenset({FINGERPRINT}), frozenset(), {"host": "h", "pid": 1, "created": 0.5})
        )

    assert [lease.beat for lease in leases(store, but="another")] == [2]
    remove_lease(store, "run")
    assert [*leases(store, but="another")] == []


def test_a_collection_frees_what_no_run_names_and_leaves_the_rest(store: Store) -> None:
    kept = committed(store, VALUES, name="kept")
    gone = committed(store, VALUES, name="gone")
    damaged = committed(store, ["damaged"], name="damaged")
    store.quarantine(damaged[0].segment, "a test says so")
    for number, spans in enumerate((kept[:2], [kept[0], gone[0]])):
        record = stream_of(store, spans, some_digest(1), run_id=RUN)
        store.put_stream(FINGERPRINT, some_digest(number), record)
    log = RunLog(store, RUN)
    log.create({"graph": "graph", "calls": {"work": {"fingerprint": FINGERPRINT}}, "owner": {}})
    log.append([{"type": "probed", "beside": [kept[0].segment]}, {"type": "run_ended", "at": 1.7e9}])

    Collection(store, Retention(grace_s=0), lambda run: False).remove()
    after = again(store)

    assert digests_of(after.read(kept)) == digests_of(VALUES)
    assert after.segments_of(FINGERPRINT) == [after.segment(kept[0].segment)]
    assert {each.path.split("/")[3].partition("~")[0] for each in after.filesystem.walk("segments")} == {"kept"}
    assert after.get_stream(FINGERPRINT, some_digest(0)) is not None
    assert len(list(after.filesystem.walk("streams"))) == 1
    assert after.get_stream(FINGERPRINT, some_digest(1)) is None
    assert len(list_runs(after)) == 1
