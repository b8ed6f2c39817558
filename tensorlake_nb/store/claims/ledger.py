"""Claims: how runs on one store, in kernels that know nothing of each other, compute each task once.

    claims/runs/<run id>                    a lease: the run is driven now, and these are its functions
    claims/ab/<fingerprint>/00000001, …     a function's ledger: who computes what

A lease is written again and again while its run is driven, each time with another number of its `Lease.beat`. Nobody
compares clocks: whoever watches a lease sees it change, or not. A ledger's parts are created under numbers that
nobody else can take, as those of a run's log are, so claims have an order that is everybody's: a run takes what no
part before its own has claimed.

A claim saves work and guarantees nothing. One that is lost, damaged or overtaken leads to the same task being computed
twice, and equal keys hold equal values. So claims need no signature; but what others have written here is
bounded before it is read, and a run meets with no claims what would take more of it than any run needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tensorlake_nb.core.keys import DIGEST_SIZE
from tensorlake_nb.store.checkpoints.documents import Documents
from tensorlake_nb.store.claims.lease import Lease, contents, leases, leave_out, logger, valid
from tensorlake_nb.store.filesystems.protocol import Found
from tensorlake_nb.store.format.paths import CLAIMS, lease_path, ledger_path
from tensorlake_nb.store.format.record import base64_of, numbers_of
from tensorlake_nb.store.format.sealing import seal

#: How many parts of a ledger are read, and how many claimants and names in it.
_MOST_PARTS = 100_000
_MOST_CLAIMANTS = 1000
_MOST_NAMES = 2**23
_PART = re.compile("[0-9]{8}")

#: Tasks are told apart by the first 64 bits of their keys: two that agree there only wait for each other.
Names = NDArray[np.uint64]

_NO_NAMES: Names = np.empty(0, dtype=np.uint64)


def names_of(keys: bytes) -> Names:
    """Return the names under which tasks are claimed, from their keys, which stand end to end."""
    return np.frombuffer(keys, dtype="<u8").reshape(-1, DIGEST_SIZE // 8)[:, 0].astype(np.uint64)


def unused(store: Documents, is_alive: Callable[[Lease], bool]) -> Iterator[Found]:
    """Find leases of runs without a driver, and the ledgers of functions that no run with a lease may compute."""
    living = [lease for lease in leases(store) if is_alive(lease)]
    used = {ledger_path(fingerprint) for lease in living for fingerprint in lease.fingerprints}
    used |= {lease_path(lease.run_id) for lease in living}
    for found in store.filesystem.walk(CLAIMS):
        if found.path not in used and found.path.rpartition("/")[0] not in used:
            yield found


class _PartForm(BaseModel):
    """One part of a ledger: what a run claims, all at once, or lets go."""

    model_config = ConfigDict(extra="ignore")

    run: str = Field(pattern="^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,199}$")
    kind: Literal["some", "all", "failed", "none"]
    names: str = ""


class Ledger:
    """The claims on one function that one run has read.

    A ledger that holds more than runs ever write is given up: then nothing in it counts, and nothing is added.

    Attributes
    ----------
    released
        Runs that have let go of what they claimed: it is committed, or no run computes it.
    """

    def __init__(self, store: Documents, fingerprint: str, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._base = ledger_path(fingerprint)
        self._read = 0
        self._claimed: dict[str, list[Names]] = {}
        #: Runs that have claimed everything, and what they gave back of it.
        self._all: dict[str, Names] = {}
        self._n_names = 0
        self._is_given_up = False
        self.released: set[str] = set()

    @property
    def claimants(self) -> frozenset[str]:
        """Other runs that have claimed something and aren't forgotten."""
        return frozenset({*self._claimed, *self._all}) - {self._run_id}

    def refresh(self) -> None:
        """Read the parts that were added."""
        if self._is_given_up:
            return
        numbers = [int(name) for name in self._store.filesystem.list(self._base) if _PART.fullmatch(name)]
        new = sorted(number for number in numbers if number > self._read)
        if len(new) > _MOST_PARTS or (new and new[-1] > _MOST_PARTS):
            self._give_up()
            return
        self._read_parts(new)

    def forget(self, runs: frozenset[str], names: Names) -> None:
        """Leave out that these runs have claimed these tasks: they are over, and the store is about to be asked.

        Their other claims still count: those tasks were found missing before the runs were over.
        """
        for run_id in runs:
            self.leave_out(run_id, names)

    def leave_out(self, run_id: str, names: Names) -> None:
        if run_id in self._claimed:
            left = np.setdiff1d(np.concatenate(self._claimed.pop(run_id)), names)
            if len(left):
                self._claimed[run_id] = [left]
        if run_id in self._all:
            self._all[run_id] = np.union1d(self._all[run_id], names)

    def claim(self, names: Names) -> dict[str, NDArray[np.bool_]]:
        """Claim what no other run has.

        Returns
        -------
        held
            Per other run which of ``names`` it has claimed; all the rest is this run's own now.
        """
        self.refresh()
        while True:
            held = {run_id: self._of(run_id, names) for run_id in sorted(self.claimants)}
            held = {run_id: mask for run_id, mask in held.items() if mask.any()}
            free = names[~np.any([*held.values()], axis=0)] if held else names
            free = free[~self._of(self._run_id, free)]
            if not len(free) or self._append("some", free):
                return held

    def announce(self, names: Names) -> None:
        """Claim what this run is computing already, whoever else does."""
        self._append_somehow("some", names)

    def claim_everything(self) -> None:
        """Claim whatever this function may be called with: what that will be isn't known yet."""
        self._append_somehow("all")

    def give_back(self, names: Names) -> None:
        """Let go of tasks that have failed here, so that others may try them."""
        self._append_somehow("failed", names)

    def release(self) -> None:
        """Let go of all that this run has claimed."""
        self._append_somehow("none")

    def _of(self, run_id: str, names: Names) -> NDArray[np.bool_]:
        if run_id in self._all:
            return ~np.isin(names, self._all[run_id])
        return np.isin(names, np.concatenate(self._claimed.get(run_id) or [_NO_NAMES]))

    def _append_somehow(self, kind: str, names: Names | None = None) -> None:
        while not self._append(kind, names):
            pass

    def _append(self, kind: str, names: Names | None = None) -> bool:
        """Add a part after all that were read; ``False`` if another run was quicker, whose part is read then."""
        if self._is_given_up:
            return True
        number = self._read + 1
        if number > _MOST_PARTS:
            self._give_up()
            return True
        told: dict[str, Any] = {"run": self._run_id, "kind": kind}
        if names is not None:
            told["names"] = base64_of(np.unique(names).astype("<u8"))
        path = self._part(number)
        if not self._store.filesystem.create(path, seal(path, json.dumps(told, separators=(",", ":")).encode())):
            self._read_parts([number])
            return False
        self._read = number
        self._take_in(_PartForm.model_validate(told))
        return True

    def _read_parts(self, numbers: Sequence[int]) -> None:
        paths = [self._part(number) for number in numbers]
        for number, path, content in zip(numbers, paths, contents(self._store, paths), strict=True):
            self._read = number
            part = None if content is None else valid(_PartForm, path, content)
            if part is not None:
                try:
                    self._take_in(part)
                except ValueError as error:
                    leave_out(path, error)
            if self._n_names > _MOST_NAMES or len(self._claimed) + len(self._all) > _MOST_CLAIMANTS:
                self._give_up()
                return

    def _take_in(self, part: _PartForm) -> None:
        names = numbers_of(part.names, "<u8").astype(np.uint64)
        self._n_names += len(names)
        if part.kind == "none":
            self.released.add(part.run)
            return
        self.released.discard(part.run)
        if part.kind == "all":
            self._all[part.run] = _NO_NAMES
        elif part.kind == "some":
            self._claimed.setdefault(part.run, []).append(names)
            if part.run in self._all:
                self._all[part.run] = np.setdiff1d(self._all[part.run], names)
        else:
            self.leave_out(part.run, names)

    def _give_up(self) -> None:
        self._is_given_up = True
        self._claimed.clear()
        self._all.clear()
        logger.warning(
            "%s/%s holds more claims than runs ever make: what is computed of this function isn't shared. "
            "`%%tensorlake gc` removes what no run needs.",
            self._store.url,
            self._base,
        )

    def _part(self, number: int) -> str:
        return f"{self._base}/{number:08d}"
