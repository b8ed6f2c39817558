"""Record which runs need which segments, in a few bytes for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from tensorlake_nb.store.format.paths import run_of

#: A set of segments by eight bytes of a hash of their names, sorted: if two agree in it, one is kept for the other.
Names = NDArray[np.uint64]

#: A run that is under way, though it was not when the store was surveyed.
NEW = -1
#: No run needs it.
NOBODY = 2**31 - 1


def names_of(segments: Iterable[bytes]) -> Names:
    """Return the set of some segments, by ``"<fingerprint>/<name>"``."""
    return np.unique(_hashes(segments))


def union(sets: Sequence[Names]) -> Names:
    """Return the segments of several sets."""
    return np.unique(np.concatenate(sets)) if sets else names_of(())


def places(names: Names, segments: Iterable[str]) -> NDArray[np.intp]:
    """Return the position in a set of each of some segments; -1 for those that it doesn't have."""
    wanted = _hashes(segment.encode() for segment in segments)
    if not len(names):
        return np.full(len(wanted), -1)
    found = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    return np.where(names[found] == wanted, found, -1)


def _hashes(segments: Iterable[bytes]) -> Names:
    return np.frombuffer(b"".join(blake3(name).digest(8) for name in segments), dtype="<u8").astype(np.uint64)


@dataclass(slots=True)
class Needs:
    """The runs that need each segment. Runs have ranks: the lower, the longer they stay.

    Attributes
    ----------
    rank_of
        By run id.
    uses
        By fingerprint: the lowest rank of a run that has the function.
    whole
        By fingerprint: the lowest rank of a run of which it isn't known what it needs of the function's.
    live, live_runs
        Functions that a run under way may look up; the ids of such runs.
    """

    rank_of: dict[str, int] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    whole: dict[str, int] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    live_runs: set[str] = field(default_factory=set)
    _names: Names = field(default_factory=lambda: names_of(()))
    _ranks: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def add(self, run_id: str, functions: Mapping[str, str], rank: int, *, is_whole: bool, is_live: bool) -> None:
        """Take in a run and its functions, by fingerprint; those of lower rank come first."""
        self.rank_of[run_id] = rank
        for fingerprint in functions:
            self.uses[fingerprint] = min(rank, self.uses.get(fingerprint, NOBODY))
            if not is_whole:
                self.whole[fingerprint] = min(rank, self.whole.get(fingerprint, NOBODY))
        if is_live:
            self.live.update(functions)
            self.live_runs.add(run_id)

    def add_names(self, sets: Sequence[tuple[int, Names]]) -> None:
        """Take in the segments that runs name, with the runs' ranks."""
        names = np.concatenate([self._names, *(named for _, named in sets)])
        ranks = np.concatenate([self._ranks, *(np.full(len(named), rank, dtype=np.int32) for rank, named in sets)])
        order = np.lexsort((ranks, names))
        names, ranks = names[order], ranks[order]
        is_first = np.concatenate((np.ones(min(1, len(names)), dtype=np.bool_), names[1:] != names[:-1]))
        self._names, self._ranks = names[is_first], ranks[is_first]

    def ranks(self, segments: Sequence[str]) -> list[int]:
        """Per segment the lowest rank of a run that needs it: by its log, as its writer, or for all one knows."""
        found = places(self._names, segments)
        named = np.where(found >= 0, self._ranks[found], NOBODY) if len(self._ranks) else np.full(len(found), NOBODY)
        ranks = []
        for segment, rank in zip(segments, named.tolist(), strict=True):
            fingerprint, _, name = segment.partition("/")
            own = self.rank_of.get(run_of(name) or "", NOBODY)
            ranks.append(min(rank, own, self.whole.get(fingerprint, NOBODY)))
        return ranks
