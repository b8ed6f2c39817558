"""Collections on stores made up at random beside an oracle that looks at nothing but what was made up."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tensorlake_nb.core.keys import Digest
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.collecting.removal import Collection
from tensorlake_nb.store.collecting.retention import Retention
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.format.paths import bad_path, segment_path, stream_path
from tensorlake_nb.store.format.sealing import seal
from tests.support.stores import FINGERPRINT, OTHER, some_digest

RUNS = [f"2024010{number}-000000-00000{number}" for number in range(1, 6)]


@dataclass(frozen=True)
class Made:
    """A segment: who wrote it, whose function's it is, which runs name it, and in what shape it is."""

    writer: int
    function: str
    named_by: frozenset[int]
    is_marked: bool
    is_committed: bool

    def name(self, number: int) -> str:
        return f"{self.function}/{RUNS[self.writer]}-work-{number}~{1_704_000_000_000_000 + number:014x}{number:08x}"

    def is_needed(self, staying: set[int]) -> bool:
        return bool(self.named_by & staying or self.writer in staying) and self.is_committed and not self.is_marked


numbers = st.integers(0, len(RUNS) - 1)
segments = st.lists(
    st.builds(
        Made, numbers, st.sampled_from([FINGERPRINT, OTHER]), st.frozensets(numbers), st.booleans(), st.booleans()
    ),
    max_size=10,
)
streams = st.lists(st.tuples(st.sampled_from([FINGERPRINT, OTHER]), st.sets(st.integers(0, 9)), numbers), max_size=5)


class Interrupted(BaseException):
    """The process has ended here."""


class Mortal(LocalFilesystem):
    """A filesystem of a process that ends at its n-th removal."""

    left: int | None = None

    def remove(self, path: str) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Interrupted
        super().remove(path)


def write(files: LocalFilesystem, made: list[Made], recorded: list[tuple[str, set[int], int]]) -> None:
    for number, segment in enumerate(made):
        name = segment.name(number)
        files.put(f"{segment_path(name)}/c.0", b"value")
        if segment.is_committed:
            files.put(f"{segment_path(name)}/zarr.json", b"record")
        if segment.is_marked:
            files.put(bad_path(name), b"damaged")
    for run, run_id in enumerate(RUNS):
        named = [segment.name(number) for number, segment in enumerate(made) if run in segment.named_by]
        calls = {"a": {"fingerprint": FINGERPRINT}, "b": {"fingerprint": OTHER}}
        header = {"graph": "graph", "calls": calls, "owner": {}}
        events = [{"type": "probed", "beside": named}, {"type": "run_ended", "at": 1.7e9}]
        lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)
        for path, text in ((f"runs/{run_id}/header", json.dumps(header)), (f"runs/{run_id}/events/00000001", lines)):
            files.put(path, seal(path, text.encode()))
    for number, (function, naming, run) in enumerate(recorded):
        path = stream_path(function, Digest(some_digest(number)))
        named = [made[which].name(which) for which in sorted(naming) if which < len(made)]
        files.put(path, seal(path, json.dumps({"kind": "stream", "segments": named, "run": RUNS[run]}).encode()))


@settings(max_examples=60)
@given(segments, streams, st.integers(0, 3), st.none() | st.integers(0, 25))
def test_what_is_needed_stays_whole_wherever_it_ends_and_all_else_goes_in_the_end(
    made: list[Made], recorded: list[tuple[str, set[int], int]], keep: int, at: int | None
) -> None:
    staying = set(range(len(RUNS))[len(RUNS) - min(keep, len(RUNS)) :])
    needed = {segment.name(number) for number, segment in enumerate(made) if segment.is_needed(staying)}
    with tempfile.TemporaryDirectory() as folder:
        files = Mortal(Path(folder))
        write(files, made, recorded)
        store, retention = Store(files, trusted=True), Retention(keep_runs=keep, grace_s=0)
        # Files have just been written, and would be too young: a collection an hour ahead.
        collection = Collection(store, retention, lambda run: False, now=4e9)
        files.left = at
        with suppress(Interrupted):
            collection.remove()
        files.left = None

        for name in needed:
            assert files.list(segment_path(name)) in (["c.0", "zarr.json"], ["zarr.json", "c.0"])
        for number, segment in enumerate(made):
            there = files.list(segment_path(segment.name(number)))
            assert "zarr.json" not in there or "c.0" in there, "a record is true"
        Collection(store, retention, lambda run: False, now=4e9).remove()

        left = {"/".join(each.path.split("/")[2:4]) for each in files.walk("segments")}
        assert left == needed
        assert set(files.list("runs")) == {RUNS[run] for run in staying}
        for number, (function, naming, _) in enumerate(recorded):
            named = {made[which].name(which) for which in naming if which < len(made)}
            stays = bool(staying) and named <= needed
            (record,) = files.get_many([stream_path(function, Digest(some_digest(number)))])
            assert (record is not None) == stays
