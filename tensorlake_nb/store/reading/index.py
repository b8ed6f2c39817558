"""Every committed task of one function, found by key, many at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches.output_columns import OutputColumns
from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.errors import CheckpointNotFoundError, InternalError
from tensorlake_nb.store.format.outcomes import TaskOutcome
from tensorlake_nb.store.format.paths import age_of
from tensorlake_nb.store.format.segment import Segment
from tensorlake_nb.store.format.spool_frames import SpoolContents

#: Copies what a live writer's spool holds into a segment of our own, and gives the outcomes of that writer.
Copy = Callable[[SpoolContents], Mapping[TaskKey, TaskOutcome]]


class Index:
    """The tasks of a function's segments, and those that live writers have in their spools.

    Where several segments hold a key, the newest is found. A task in a spool is copied into a segment once
    somebody asks for its outcome.

    Attributes
    ----------
    unvouched
        The number of tasks left out, since their outputs are unsigned pickles in an untrusted store.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        spools: Sequence[SpoolContents] = (),
        copy: Copy | None = None,
        complete: Callable[[TaskOutcome], TaskOutcome] = lambda outcome: outcome,
    ) -> None:
        newest_first = sorted(segments, key=lambda segment: age_of(segment.name), reverse=True)
        self._segments = [segment for segment in newest_first if len(segment)]
        self._spools = [spool for spool in spools if spool.entries]
        self._complete = complete
        self._copy, self._copied = copy, dict[int, Mapping[TaskKey, TaskOutcome]]()
        self._lock = threading.Lock()
        self.unvouched = 0
        by_name = {segment.name: segment for segment in self._segments}
        held = [self._usable_keys(segment, by_name) for segment in self._segments]
        held += [np.frombuffer(b"".join(spool.entries), dtype="S32") for spool in self._spools]
        keys = np.concatenate(held) if held else np.empty(0, dtype="S32")
        self._offsets = np.cumsum([0] + [len(part) for part in held])
        # Sorted and searched by their first 8 bytes, which is six times as fast as by all 32; they are hashes, so equal
        # beginnings of different keys are an accident that `find` deals with.
        self._beginnings = _beginnings(keys)
        self._order = np.argsort(self._beginnings, kind="stable")
        self._beginnings = self._beginnings[self._order]
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def empty(self) -> bool:
        """Nothing is known of this function."""
        return len(self._keys) == 0

    @property
    def segments(self) -> Sequence[Segment]:
        """The segments that it was made from, newest first."""
        return tuple(self._segments)

    def find(self, keys: bytes) -> NDArray[np.int64]:
        """Positions of many keys, -1 for those that aren't known.

        Parameters
        ----------
        keys
            32 bytes each, end to end.

        Returns
        -------
        positions
            One per key, to be given to `outcome`.
        """
        wanted = np.frombuffer(keys, dtype="S32")
        if self.empty:
            return np.full(len(wanted), -1, dtype=np.int64)
        beginnings = _beginnings(wanted)
        found = np.searchsorted(self._beginnings, beginnings)
        positions = np.full(len(wanted), -1, dtype=np.int64)
        open_ = np.arange(len(wanted))
        while len(open_):
            inside = found[open_] < len(self._order)
            open_ = open_[inside]
            same = self._beginnings[found[open_]] == beginnings[open_]
            open_ = open_[same]
            candidates = self._order[found[open_]]
            hits = self._keys[candidates] == wanted[open_]
            positions[open_[hits]] = candidates[hits]
            open_ = open_[~hits]
            found[open_] += 1
        return positions

    def outcome(self, position: int) -> TaskOutcome:
        """Return the task at a position that `find` gave.

        Raises
        ------
        CheckpointNotFoundError, CorruptCheckpointError
            It was in a live writer's spool, with values that have gone since, or refers to a segment that has.
        """
        part = int(np.searchsorted(self._offsets, position, side="right")) - 1
        within = int(position - self._offsets[part])
        if part < len(self._segments):
            return self._complete(self._segments[part].outcome(within))
        number = part - len(self._segments)
        key = list(self._spools[number].entries)[within]
        copied = self._copy_of(number).get(key)
        if copied is None:
            raise CheckpointNotFoundError(f"task {key.hex()} was in another process's spool, and has gone")
        return copied

    def blocks(self, positions: NDArray[np.int64]) -> Iterator[tuple[int, int, OutputColumns | None]]:
        """Tasks at positions that `find` gave, many at a time where they stand one after the other in a segment.

        Yields
        ------
        start, stop, block
            Which of the positions, and what the tasks there gave; ``None`` where each has to be asked for by `outcome`.
        """
        parts = np.searchsorted(self._offsets, positions, side="right") - 1
        breaks = np.flatnonzero((np.diff(positions) != 1) | (np.diff(parts) != 0)) + 1
        for start, stop in pairwise([0, *breaks.tolist(), len(positions)]):
            part = int(parts[start]) if start < stop else len(self._segments)
            block = None
            if part < len(self._segments):
                first = int(positions[start] - self._offsets[part])
                block = self._segments[part].block_at(first, first + stop - start)
            if start < stop:
                yield start, stop, block

    def beside(self, positions: NDArray[np.int64]) -> tuple[str, ...]:
        """Segments that settle some of these tasks without holding outputs of theirs.

        Such a task gave nothing, or its outputs lie in other segments: then they don't tell where it is recorded.
        Tasks in a live writer's spool aren't looked at: that writer's run keeps them.
        """
        parts = np.searchsorted(self._offsets, positions, side="right") - 1
        names = []
        for part in np.unique(parts).tolist():
            if part < len(self._segments):
                segment = self._segments[part]
                within = positions[parts == part] - self._offsets[part]
                if (segment.starts[within] == segment.starts[within + 1]).any():
                    names.append(segment.name)
        return tuple(names)

    def _usable_keys(self, segment: Segment, others: Mapping[str, Segment]) -> NDArray[np.bytes_]:
        """Return a segment's keys without those of tasks whose outputs are gone or may not be read."""
        left_out = [
            task
            for task, spans in segment.refers.items()
            if any(s.segment not in others or s.stop > others[s.segment].outputs for s in spans)
        ]
        doubted = segment.refers if segment.is_readable(0, segment.outputs) else range(len(segment))
        kept = set(doubted).difference(left_out)
        distrusted = [
            task
            for task in sorted(kept)
            if not all(others[span.segment].is_readable(span.start, span.stop) for span in segment.spans(task))
        ]
        self.unvouched += len(distrusted)
        left_out += distrusted
        if not left_out:
            return segment.keys
        keys = segment.keys.copy()
        keys[left_out] = b""
        return keys

    def _copy_of(self, number: int) -> Mapping[TaskKey, TaskOutcome]:
        with self._lock:
            if number not in self._copied:
                if self._copy is None:
                    raise InternalError("an index with spools needs to know how to copy them")
                self._copied[number] = self._copy(self._spools[number])
            return self._copied[number]


def _beginnings(keys: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(keys).view("<u8")[::4] if len(keys) else np.empty(0, dtype=np.uint64)
