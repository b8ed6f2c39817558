"""Find elements of a node's input that have been seen before in this run, in sixteen bytes an element."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.keys import DIGEST_SIZE

Positions = NDArray[np.int64]


class Seen:
    """Finds for each element the first equal one.

    Elements are told apart by the first 64 bits of their digest. Two different ones that agree there (one chance in
    10^7 among a million elements) are only *taken* for twins: the later one then waits, and is compared in full.
    """

    def __init__(self) -> None:
        self._levels: list[tuple[NDArray[np.uint64], Positions]] = []
        self._slices: list[Slice] = []
        self._ends: list[int] = []

    def first(self, given: bytes, slices: tuple[Slice, ...]) -> Positions:
        """Positions (see `place`) of the first element equal to each, -1 where it is the first itself.

        Elements that are the first of their kind are remembered under the slices that they lie in.
        """
        short = np.frombuffer(given, dtype=np.uint64).reshape(-1, DIGEST_SIZE // 8)[:, 0]
        found = np.full(len(short), -1, dtype=np.int64)
        for keys, positions in self._levels:
            at = np.minimum(np.searchsorted(keys, short), len(keys) - 1)
            hit = keys[at] == short
            found[hit] = positions[at[hit]]
        base = self._ends[-1] if self._ends else 0
        unique, index, inverse = np.unique(short, return_index=True, return_inverse=True)
        here = index[inverse]
        again = (found < 0) & (here != np.arange(len(short)))
        new = (found < 0) & ~again
        if new.any():
            self._remember(slices, base)
            fresh = np.flatnonzero(new[index])
            self._push(unique[fresh], index[fresh].astype(np.int64) + base)
        found[again] = here[again] + base
        return found

    def place(self, position: int) -> tuple[Address, int]:
        """Return the source of an element and its index there."""
        at = bisect_right(self._ends, position)
        piece = self._slices[at]
        return piece.source, piece.start + position - (self._ends[at] - piece.size)

    def _remember(self, slices: tuple[Slice, ...], base: int) -> None:
        for piece in slices:
            base += piece.size
            self._slices.append(piece)
            self._ends.append(base)

    def _push(self, keys: NDArray[np.uint64], positions: Positions) -> None:
        # Sorted arrays of growing size, merged when they come near each other: n log n in all.
        self._levels.append((keys, positions))
        while len(self._levels) > 1 and len(self._levels[-2][0]) < 2 * len(self._levels[-1][0]):
            (low, low_at), (high, high_at) = self._levels.pop(), self._levels.pop()
            merged, merged_at = np.concatenate((low, high)), np.concatenate((low_at, high_at))
            order = np.argsort(merged, kind="stable")
            self._levels.append((merged[order], merged_at[order]))
