"""Claims: how runs on one store, in kernels that know nothing of each other, compute each task once.

    claims/runs/<run id>                    a lease: the run is driven now, and these are its functions
    claims/ab/<fingerprint>/00000001, …     a function's ledger: who computes what

A lease is written again and again while its run is driven, each time with another number of its `Lease.beat`. Nobody
compares clocks: whoever watches a lease sees it change, or not. A ledger's parts are created under numbers that
nobody else can take, as those of a run's log are, so claims have an order that is everybody's: a run takes what no
part before its own has claimed.

A claim saves work and guarantees nothing. One that is lost, damaged or overtaken leads to the same task being computed
twice, and equal keys hold equal values.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from tensorlake_nb.core.keys import DIGEST_SIZE
from tensorlake_nb.errors import CorruptCheckpointError, StoreVersionError
from tensorlake_nb.store.documents import Documents
from tensorlake_nb.store.filesystem import Found
from tensorlake_nb.store.frame import seal, unseal
from tensorlake_nb.store.paths import CLAIMS, LEASES, is_part, lease_path, ledger_path
from tensorlake_nb.store.record import base64_of, numbers_of

logger = logging.getLogger(__name__)

#: Tasks are told apart by the first 64 bits of their keys: two that agree there only wait for each other.
Names = NDArray[np.uint64]


def names_of(keys: bytes) -> Names:
    """The names under which tasks are claimed, by their keys, which stand end to end."""
    return np.frombuffer(keys, dtype="<u8").reshape(-1, DIGEST_SIZE // 8)[:, 0].astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Lease:
    """Says that a run is driven now.

    Attributes
    ----------
    beat
        Another number each time the lease is written.
    fingerprints
        The functions whose tasks it may compute.
    answered
        Ids of the runs that it has seen, and to which its ledgers tell everything that it was computing then.
    owner
        The process that drives it.
    """

    run_id: str
    beat: int
    fingerprints: frozenset[str]
    answered: frozenset[str]
    owner: Mapping[str, str | int | float]


class _OwnerForm(BaseModel):
    model_config = ConfigDict(extra="ignore")

    host: str
    pid: int
    created: float


class _LeaseForm(BaseModel):
    model_config = ConfigDict(extra="ignore")

    beat: int
    fingerprints: list[str]
    answered: list[str]
    owner: _OwnerForm


def put_lease(store: Documents, lease: Lease) -> None:
    """Write a lease, over the one before."""
    path = lease_path(lease.run_id)
    stored = {
        "beat": lease.beat,
        "fingerprints": sorted(lease.fingerprints),
        "answered": sorted(lease.answered),
        "owner": dict(lease.owner),
    }
    store.filesystem.put_atomic(path, seal(path, json.dumps(stored, separators=(",", ":")).encode()))


def remove_lease(store: Documents, run_id: str) -> None:
    """A run is driven no more."""
    store.filesystem.remove(lease_path(run_id))


def leases(store: Documents, but: str = "") -> Iterator[Lease]:
    """The leases of all runs but one; a damaged one is left out: it guards nothing that is needed."""
    names = [name for name in sorted(store.filesystem.list(LEASES)) if is_part(name) and name != but]
    paths = [lease_path(name) for name in names]
    for name, path, raw in zip(names, paths, store.filesystem.get_many(paths), strict=True):
        if raw is None:
            continue
        try:
            form = _LeaseForm.model_validate_json(unseal(path, raw))
        except (CorruptCheckpointError, StoreVersionError, ValidationError) as error:
            logger.warning("left out the lease of run %s: %s", name, error)
            continue
        yield Lease(name, form.beat, frozenset(form.fingerprints), frozenset(form.answered), form.owner.model_dump())


def unused(store: Documents, is_alive: Callable[[Lease], bool]) -> Iterator[Found]:
    """Leases of runs that nobody drives, and the ledgers of functions that no run with a lease may compute."""
    living = [lease for lease in leases(store) if is_alive(lease)]
    used = {ledger_path(fingerprint) for lease in living for fingerprint in lease.fingerprints}
    used |= {lease_path(lease.run_id) for lease in living}
    for found in store.filesystem.walk(CLAIMS):
        if found.path not in used and found.path.rpartition("/")[0] not in used:
            yield found


class _PartForm(BaseModel):
    """One part of a ledger: what a run claims, all at once, or lets go."""

    model_config = ConfigDict(extra="ignore")

    run: str
    kind: Literal["some", "all", "none"]
    names: str = ""


class Ledger:
    """What is claimed of one function, as far as one run has read it.

    Attributes
    ----------
    released
        Runs that have let go of what they claimed: it is committed, or nobody computes it.
    """

    def __init__(self, store: Documents, fingerprint: str, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._base = ledger_path(fingerprint)
        self._read = 0
        self._claimed: dict[str, list[Names]] = {}
        self._all: set[str] = set()
        self.released: set[str] = set()

    @property
    def claimants(self) -> frozenset[str]:
        """Other runs that have claimed something and aren't forgotten."""
        return (frozenset(self._claimed) | self._all) - {self._run_id}

    def refresh(self) -> None:
        """Read the parts that were added."""
        numbers = [int(name) for name in self._store.filesystem.list(self._base) if name.isascii() and name.isdigit()]
        new = sorted(number for number in numbers if number > self._read)
        paths = [self._part(number) for number in new]
        for number, path, raw in zip(new, paths, self._store.filesystem.get_many(paths), strict=True):
            self._read = number
            try:
                if raw is not None:
                    self._take_in(_PartForm.model_validate_json(unseal(path, raw)))
            except (CorruptCheckpointError, StoreVersionError, ValueError) as error:
                logger.warning("left out a part of a ledger: %s", error)

    def forget(self, runs: frozenset[str]) -> None:
        """Leave out what these runs have claimed: they are over, and the store is about to be asked what they gave."""
        for run_id in runs:
            self._claimed.pop(run_id, None)
            self._all.discard(run_id)

    def claim(self, names: Names) -> dict[str, NDArray[np.bool_]]:
        """Claim what no other run has.

        Returns
        -------
        held
            Per other run which of ``names`` it has claimed; all the rest is this run's own now.
        """
        while True:
            self.refresh()
            held = {run_id: self._of(run_id, names) for run_id in sorted(self.claimants)}
            held = {run_id: mask for run_id, mask in held.items() if mask.any()}
            free = names[~np.any([*held.values()], axis=0)] if held else names
            if self._run_id in self._claimed:
                free = free[~self._of(self._run_id, free)]
            if not len(free) or self._append("some", free):
                return held

    def announce(self, names: Names) -> None:
        """Claim what this run is computing already, whoever else does."""
        self._append_somehow("some", names)

    def claim_everything(self) -> None:
        """Claim whatever this function may be called with: what that will be isn't known yet."""
        self._append_somehow("all")

    def release(self) -> None:
        """Let go of all that this run has claimed."""
        self._append_somehow("none")

    def _of(self, run_id: str, names: Names) -> NDArray[np.bool_]:
        if run_id in self._all:
            return np.ones(len(names), dtype=np.bool_)
        return np.isin(names, np.concatenate(self._claimed[run_id]))

    def _append_somehow(self, kind: str, names: Names | None = None) -> None:
        while not self._append(kind, names):
            self.refresh()

    def _append(self, kind: str, names: Names | None = None) -> bool:
        """Add a part after all that were read; ``False`` if another run was quicker."""
        number = self._read + 1
        told: dict[str, Any] = {"run": self._run_id, "kind": kind}
        if names is not None:
            told["names"] = base64_of(np.unique(names).astype("<u8"))
        path = self._part(number)
        if not self._store.filesystem.create(path, seal(path, json.dumps(told, separators=(",", ":")).encode())):
            return False
        self._read = number
        self._take_in(_PartForm.model_validate(told))
        return True

    def _take_in(self, part: _PartForm) -> None:
        if part.kind == "none":
            self.released.add(part.run)
            return
        self.released.discard(part.run)
        if part.kind == "all":
            self._all.add(part.run)
        else:
            self._claimed.setdefault(part.run, []).append(numbers_of(part.names, "<u8").astype(np.uint64))

    def _part(self, number: int) -> str:
        return f"{self._base}/{number:08d}"
