"""The store beside a dict: writers come, die and are followed, segments are damaged, and nothing is ever wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.segment import LARGE_BYTES
from tensorlake_nb.store.writing.writer import Writer
from tests.support.stores import FINGERPRINT, count_of, encoded, key, local_store, segment_directory

numbers = st.integers(0, 30)
kinds = st.sampled_from(["small", "array", "list", "none", "large"])


def value_of(number: int, kind: str) -> list[Any] | tuple[Any]:
    """What a pure function gives for a number: a list of outputs, or one in a tuple."""
    match kind:
        case "small":
            return ({"number": number},)
        case "array":
            return (np.full((2, 2), number),)
        case "list":
            return [number, str(number), np.arange(number)]
        case "none":
            return []
        case _:
            return (np.full(LARGE_BYTES // 8, number),)


class StoreBesideADict(RuleBasedStateMachine):
    """Several writers on one local store, each added to, flushed, closed or killed in any order."""

    writers = Bundle("writers")

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.root = Path(self._directory.name) / "store"
        self.kinds: dict[int, str] = {}
        self.safe: set[int] = set()  # must be found by whoever looks
        self.pending: dict[int, set[int]] = {}
        self.open: dict[int, tuple[Writer, str]] = {}
        self.damaged = self.started = 0

    def store(self) -> Store:
        return local_store(self.root)

    @rule(target=writers, name=st.sampled_from(["a", "b", "c"]))
    def start(self, name: str) -> int:
        return self.opened(self.store().writer(FINGERPRINT, name), name)

    def opened(self, writer: Writer, name: str) -> int:
        self.started += 1
        self.open[self.started] = (writer, name)
        self.pending[self.started] = set()
        return self.started

    @rule(writer=writers, number=numbers, kind=kinds)
    def finish_a_task(self, writer: int, number: int, kind: str) -> None:
        kind = self.kinds.setdefault(number, kind)
        outputs = value_of(number, kind)
        self.open[writer][0].begin(key(number))
        count = BARE if isinstance(outputs, tuple) else len(outputs)
        self.open[writer][0].add(Entry(key(number), count, tuple(map(encoded, outputs))))
        self.pending[writer].add(number)
        self.safe.add(number)  # in the spool already

    @rule(writer=writers)
    def flush(self, writer: int) -> None:
        self.open[writer][0].flush()
        for number in self.pending[writer]:
            self.check(self.open[writer][0].locate(key(number)), number, self.store())  # just written, so whole
        self.pending[writer].clear()

    @rule(writer=consumes(writers))
    def close(self, writer: int) -> None:
        self.open.pop(writer)[0].close()

    @rule(writer=consumes(writers))
    def kill(self, writer: int) -> None:
        self.open.pop(writer)[0].abandon()

    @rule(target=writers, writer=consumes(writers), number=numbers)
    def kill_and_follow(self, writer: int, number: int) -> int:
        dead, name = self.open.pop(writer)
        dead.begin(key(number))
        dead.abandon()
        follower = self.store().writer(FINGERPRINT, name)
        known = follower.known()
        if not self.damaged:
            assert {key(done) for done in self.pending[writer]} <= set(known)
        assert key(number) in known or key(number) in follower.interrupted()
        for done, outcome in known.items():
            try:
                self.check(outcome, next(n for n in self.kinds if key(n) == done), self.store())
            except CorruptCheckpointError:
                assert self.damaged
        return self.opened(follower, name)

    @rule()
    def recover(self) -> None:
        self.store().recover()

    @rule(which=st.integers(0, 99), part=st.integers(0, 99), how=st.integers(0, 2))
    def damage_a_segment(self, which: int, part: int, how: int) -> None:
        segments = self.store().segments_of(FINGERPRINT)
        if not segments:
            return
        segment = sorted(segments, key=lambda segment: segment.written)[which % len(segments)]
        directory = segment_directory(self.root, segment.name)
        paths = sorted(path for path in directory.rglob("*") if path.is_file())
        path = paths[part % len(paths)]
        raw = path.read_bytes()
        flipped = raw[:-1] + bytes([raw[-1] ^ 1]) if raw else b"junk"  # a damaged one that nobody has read since
        path.write_bytes((b"", raw[: len(raw) // 2], flipped)[how])
        self.damaged += 1
        self.safe -= {number for number in self.kinds if key(number) in set(segment.all_keys())}

    @invariant()
    def everything_safe_is_found_and_nothing_is_wrong(self) -> None:
        store = self.store()
        for _ in range(2 + self.damaged):  # each failing read takes one damaged segment out of the way
            if self.all_found(store):
                return
        raise AssertionError("damage was found more often than it was done")

    def all_found(self, store: Store) -> bool:
        index = store.index(FINGERPRINT, refresh=True)
        listed = sorted(self.kinds)
        whole = True
        for number, position in zip(listed, index.find(b"".join(map(key, listed))).tolist(), strict=True):
            if position < 0:
                assert number not in self.safe, f"task {number} was safe, and isn't found"
                continue
            try:
                self.check(index.outcome(position), number, store)
            except (CorruptCheckpointError, CheckpointNotFoundError):
                assert self.damaged
                whole = False
        return whole

    def check(self, outcome: Any, number: int, store: Store) -> None:
        outputs = value_of(number, self.kinds[number])
        assert count_of(outcome) == (BARE if isinstance(outputs, tuple) else len(outputs))
        assert outcome.outputs.digests == b"".join(map(digest, outputs))
        assert [digest(value) for value in store.read(outcome.outputs.spans)] == list(map(digest, outputs))

    def teardown(self) -> None:
        for writer, _ in self.open.values():
            writer.abandon()
        self._directory.cleanup()


StoreBesideADict.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStoreBesideADict = StoreBesideADict.TestCase
