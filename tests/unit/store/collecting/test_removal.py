"""What a collection takes for needed, old, damaged or left over, on a store without an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.keys import Digest
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.collecting.removal import Collection
from tensorlake_nb.store.collecting.retention import Retention
from tensorlake_nb.store.collecting.survey import SurveyedRun
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.protocol import Found
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.paths import segment_path
from tests.support import many_segments
from tests.support.stores import (
    FINGERPRINT,
    OTHER,
    committed,
    encoded,
    key,
    local_store,
    outcome_of,
    segment_directory,
    some_digest,
    stream_of,
)

OLD, NEWER = "20240101-000000-00000a", "20240102-000000-00000b"
NOTHING_YOUNG = Retention(grace_s=0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return local_store(tmp_path / "store")


def recorded(store: Store, run_id: str, named: Sequence[Span] = (), *, graph: str = "graph", **more: object) -> RunLog:
    """A run that has ended, with one function, whose log names some spans."""
    log = RunLog(store, run_id)
    call = {"fingerprint": FINGERPRINT}
    log.create({"graph": graph, "calls": {"work": call}, "owner": {}, "inputs": ["", 0, 1], **more})
    spans = [{"segment": span.segment, "start": span.start, "stop": span.stop} for span in named]
    log.append([{"type": "probed", "spans": spans}, {"type": "run_ended", "at": 1.7e9}])
    return log


def collected(store: Store, retention: Retention = NOTHING_YOUNG, live: Sequence[str] = ()) -> Collection:
    def is_live(run: SurveyedRun) -> bool:
        return run.run_id in live

    collection = Collection(store, retention, is_live)
    collection.remove()
    return collection


def lasting(store: Store, spans: Sequence[Span]) -> list[bool]:
    """Which of some segments are still there, whole."""
    found = []
    for span in spans:
        base = segment_path(span.segment)
        there = [each.path.removeprefix(f"{base}/") for each in store.filesystem.walk(base)]
        found.append("zarr.json" in there and len(there) > 1)
        assert found[-1] or not there, "what goes leaves nothing behind"
    return found


def test_a_segment_stays_if_a_run_names_or_wrote_it_and_is_kept_whole(store: Store) -> None:
    named, written, unneeded = (
        committed(store, [name, "another"], name=of)[0]
        for name, of in (("named", f"{OLD}-work-1"), ("written", f"{NEWER}-work-1"), ("unneeded", f"{OLD}-work-2"))
    )
    recorded(store, NEWER, [Span(named.segment, 1, 2)])

    collection = collected(store)

    assert lasting(store, [named, written, unneeded]) == [True, True, False]
    assert store.read([named, Span(named.segment, 1, 2), written]) == ["named", "another", "written"]
    assert collection.tallies["segment", "work"].freed == 1


def test_what_is_younger_than_the_grace_period_stays(store: Store) -> None:
    (span,) = committed(store, ["nobody needs it"])

    collected(store, Retention(grace_s=3600))

    assert lasting(store, [span]) == [True]


@pytest.mark.parametrize("is_live", [True, False])
def test_a_run_under_way_keeps_all_of_its_functions_and_what_their_streams_name(store: Store, is_live: bool) -> None:
    (mine,) = committed(store, ["of its function"], name=f"{OLD}-work-1")
    (passed,) = committed(store, ["passed on by a router"], name=f"{OLD}-other-1", fingerprint=OTHER)
    (others,) = committed(store, ["of no function of its own"], name=f"{OLD}-other-2", fingerprint=OTHER)
    record = stream_of(store, (passed,), some_digest(1), run_id=OLD)
    store.put_stream(FINGERPRINT, Digest(some_digest(2)), record)
    RunLog(store, NEWER).create({"graph": "graph", "calls": {"work": {"fingerprint": FINGERPRINT}}, "owner": {}})

    collected(store, live=[NEWER] if is_live else [])

    assert lasting(store, [mine, passed, others]) == [is_live, is_live, False]
    assert (store.get_stream(FINGERPRINT, Digest(some_digest(2))) is not None) == is_live


def test_a_stream_stays_as_long_as_a_run_has_its_function_and_all_that_it_names_is_there(store: Store) -> None:
    (kept,) = committed(store, ["kept"], name=f"{NEWER}-work-1")
    (gone,) = committed(store, ["gone"], name=f"{OLD}-work-1")
    recorded(store, NEWER)
    for number, (of, spans) in enumerate(
        [(FINGERPRINT, (kept,)), (FINGERPRINT, (kept, gone)), (OTHER, (kept,)), (FINGERPRINT, ())]
    ):
        record = stream_of(store, spans, some_digest(1), run_id=OLD)
        store.put_stream(of, Digest(some_digest(number)), record)

    collection = collected(store)

    stay = [(FINGERPRINT, 0), (FINGERPRINT, 3)]
    for of, number in [*stay, (FINGERPRINT, 1), (OTHER, 2)]:
        assert (store.get_stream(of, Digest(some_digest(number))) is not None) == ((of, number) in stay)
    assert (collection.tallies["stream", ""].freed, collection.tallies["stream", ""].kept) == (2, 2)


def test_damaged_segments_go_with_their_marks_though_a_run_names_them(store: Store) -> None:
    (span,) = committed(store, ["damaged"], name=f"{NEWER}-work-1")
    recorded(store, NEWER, [span])
    store.quarantine(span.segment, "a test says so")
    store.quarantine(f"{FINGERPRINT}/gone~{'0' * 21}1", "it has gone before")

    collection = collected(store)

    assert store.filesystem.list(f"segments/{FINGERPRINT[:2]}") == []
    assert collection.tallies["damaged", "work"].freed == 2


def test_what_dead_writers_left_goes_and_what_a_spool_still_refers_to_stays(store: Store, tmp_path: Path) -> None:
    large = encoded("large" * 2**20)
    dead, alive = store.writer(FINGERPRINT, "dead"), store.writer(FINGERPRINT, "alive")
    for number, writer in ((1, dead), (2, alive)):
        writer.add(Entry(key(number), -1, (large,)))
    dead.abandon()
    half = segment_directory(tmp_path / "store", f"{FINGERPRINT}/half~{'0' * 21}1")
    half.mkdir(parents=True)
    (half / "c.0").write_bytes(b"its record was never written")
    for path in (half / ".zarr.json.0123456789ab", tmp_path / "store" / "runs" / ".header.0123456789ab"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        os.utime(path, (1, 1))
    (tmp_path / "store" / "segments" / "notes.txt").write_text("somebody's own")

    before = collected(store)
    store.recover()
    alive.close()

    assert before.tallies["left over", "files that were never finished"].freed >= 1
    assert not half.exists()
    assert not (tmp_path / "store" / "runs" / ".header.0123456789ab").exists()
    assert (tmp_path / "store" / "segments" / "notes.txt").exists()
    for number in (1, 2):
        outcome = outcome_of(store, number)
        assert outcome is not None, "what dead and living writers had finished is there"
        assert store.read(outcome.outputs.spans) == ["large" * 2**20]


def test_a_run_that_never_began_goes_and_so_does_what_is_left_of_one_that_was_dropped(store: Store) -> None:
    store.put_bytes(f"runs/{OLD}/code/blob", b"it never began")
    recorded(store, NEWER)
    store.filesystem.remove(f"runs/{NEWER}/header")

    collection = collected(store)

    assert store.filesystem.list("runs") == []
    assert collection.tallies["left over", "runs that never began"].freed == 2


@pytest.mark.parametrize("part", ["header", "events/00000001"])
def test_a_run_whose_record_is_damaged_keeps_all_that_it_may_need(store: Store, tmp_path: Path, part: str) -> None:
    (written,) = committed(store, ["written"], name=f"{NEWER}-work-1")
    (of_its_function,) = committed(store, ["of its function"], name=f"{OLD}-work-1")
    recorded(store, NEWER, [of_its_function])
    (tmp_path / "store" / "runs" / NEWER / part).write_bytes(b"junk")

    collection = collected(store)

    assert NEWER in collection.notes[0]
    assert lasting(store, [written, of_its_function]) == [True, True]


def test_the_newest_runs_of_each_graph_stay(store: Store) -> None:
    runs = {f"2024010{day}-000000-00000{day}": "ab"[day % 2] for day in range(1, 7)}
    for run_id, graph in runs.items():
        recorded(store, run_id, graph=graph)

    collection = collected(store, Retention(keep_runs=2, grace_s=0))

    assert collection.dropped == ("20240102-000000-000002", "20240101-000000-000001")
    assert len(store.filesystem.list("runs")) == 4


class Imagined(LocalFilesystem):
    """Segments that are names alone."""

    segments: dict[str, list[str]]

    def list(self, path: str) -> list[str]:
        if path == "segments":
            return sorted({name[:2] for name in self.segments})
        if path.startswith("segments/"):
            of = path.rpartition("/")[2]
            return self.segments[of] if of in self.segments else [name for name in self.segments if name[:2] == of]
        return super().list(path)

    def walk(self, path: str) -> Iterator[Found]:
        of = path.rpartition("/")[2]
        if path == "segments":
            return
        if not path.startswith("segments/"):
            yield from super().walk(path)
        for name in self.segments.get(of, ()) if path.startswith("segments/") else ():
            yield Found(f"{path}/{name}/c.0", 5, 1.0)
            yield Found(f"{path}/{name}/zarr.json", 6, 1.0)


def test_planning_takes_memory_for_the_largest_function_not_for_the_store(tmp_path: Path) -> None:
    size = 1000

    def most_bytes(functions: int) -> float:
        files = Imagined(tmp_path / str(functions))
        files.segments = {}
        for number in range(functions):
            of = many_segments.function_of(number, functions)
            files.segments[of] = [name.partition("/")[2] for name in many_segments.segments_of(number, size, of)]
        many_segments.write(files, functions, size, functions, has_objects=False)
        collection, most = many_segments.planned(Store(files, trusted=False), keep_runs=functions // 2)
        assert collection.tallies["segment", "work"].freed == size * (functions - functions // 2)
        return most

    few, many = most_bytes(2), most_bytes(12)

    assert many - few < 80 * 10 * size, "a name alone takes more"
