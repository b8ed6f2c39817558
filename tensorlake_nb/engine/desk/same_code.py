"""Nodes of one run whose functions have the very same code: they share their tasks, as runs on one store do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches.batch import Call
from tensorlake_nb.store.claims.ledger import Names


@dataclass(frozen=True, slots=True)
class Met:
    """The tasks that siblings compute, or have computed since they were looked up.

    Attributes
    ----------
    mask
        Which of them.
    is_under_way
        Some are being computed now; else the store is to be asked what came of them.
    """

    mask: NDArray[np.bool_]
    is_under_way: bool


class Siblings:
    """Knows per node which tasks others compute that it may have found missing.

    A node waits for batches that are under way, never for ones that are still to come. So no circle of waits forms.

    Parameters
    ----------
    under_way
        Numbers of the batches that are being computed; kept by the desk.
    """

    def __init__(self, calls: Mapping[str, Call], under_way: Collection[int]) -> None:
        self._under_way = under_way
        alike: dict[str, list[str]] = defaultdict(list)
        for name, call in calls.items():
            alike[call.fingerprint].append(name)
        self._alike = {name: tuple(names) for names in alike.values() if len(names) > 1 for name in names}
        self._theirs: dict[str, dict[int, Names]] = {name: {} for name in self._alike}

    def has_any(self, name: str) -> bool:
        """Return True if another node has the same code."""
        return name in self._alike

    def met(self, name: str, names: Names) -> Met | None:
        """Return the tasks that a node has to wait for, or to look up once more."""
        mask, is_under_way = np.zeros(len(names), dtype=np.bool_), False
        for number, theirs in self._theirs.get(name, {}).items():
            common = np.isin(names, theirs)
            if common.any():
                mask |= common
                is_under_way |= number in self._under_way
        return Met(mask, is_under_way) if mask.any() else None

    def begun(self, number: int, name: str, names: Names) -> None:
        """Note that a node's batch is about to be handed over."""
        for other in self._alike.get(name, ()):
            if other != name:
                self._theirs[other][number] = names

    def forget_the_done(self, name: str, names: Names) -> None:
        """Leave out what batches that are over did: call this just before the store is asked for these tasks."""
        theirs = self._theirs.get(name, {})
        for number in [number for number in theirs if number not in self._under_way]:
            theirs[number] = theirs[number][~np.isin(theirs[number], names)]
            if not len(theirs[number]):
                del theirs[number]
