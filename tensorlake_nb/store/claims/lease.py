"""Leases: which runs are driven now, and what is read of claims at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

from tensorlake_nb.errors import CorruptCheckpointError, StoreVersionError, readable
from tensorlake_nb.store.checkpoints.documents import Documents
from tensorlake_nb.store.format.paths import LEASES, is_part, lease_path
from tensorlake_nb.store.format.sealing import seal, unseal

logger = logging.getLogger(__name__)

#: The largest lease, and part of a ledger, that is read, and how many of them at once.
_MOST_BYTES = 4 * 2**20
_AT_ONCE = 8
#: How much all leases may hold that a run looks at.
_MOST_LEASES_BYTES = 16 * 2**20
#: How many leases a run looks at.
MOST_LEASES = 1000
_Form = TypeVar("_Form", bound=BaseModel)


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
    is_idle
        It isn't computing anything now, for whatever reason.
    """

    run_id: str
    beat: int
    fingerprints: frozenset[str]
    answered: frozenset[str]
    owner: Mapping[str, str | int | float]
    is_idle: bool = False


class _OwnerForm(BaseModel):
    model_config = ConfigDict(extra="ignore")

    host: str
    pid: int = Field(ge=0, lt=2**31)
    created: float


class _LeaseForm(BaseModel):
    model_config = ConfigDict(extra="ignore")

    beat: int
    fingerprints: Annotated[list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]], FailFast()]
    answered: Annotated[list[str], FailFast()]
    owner: _OwnerForm
    is_idle: bool = Field(default=False, alias="idle")


def put_lease(store: Documents, lease: Lease) -> None:
    """Write a lease, over the one before."""
    path = lease_path(lease.run_id)
    stored = {
        "beat": lease.beat,
        "fingerprints": sorted(lease.fingerprints),
        "answered": sorted(lease.answered),
        "owner": dict(lease.owner),
        "idle": lease.is_idle,
    }
    store.filesystem.put_atomic(path, seal(path, json.dumps(stored, separators=(",", ":")).encode()))


def remove_lease(store: Documents, run_id: str) -> None:
    """Remove the lease of a run that is no longer driven."""
    store.filesystem.remove(lease_path(run_id))


def leases(store: Documents, but: str = "", *, most: int | None = None) -> Iterator[Lease]:
    """Yield the leases of all runs but one, skipping damaged ones: they guard nothing that is needed.

    Parameters
    ----------
    most
        With more leases than this, or very large ones, there is something wrong.

    Raises
    ------
    CorruptCheckpointError
        There are.
    """
    names = [name for name in sorted(store.filesystem.list(LEASES)) if is_part(name) and name != but]
    if most is not None and len(names) > most:
        raise CorruptCheckpointError(
            f"{store.url} holds {len(names)} leases of runs below {LEASES}, which nobody needs"
        )
    size = 0
    for name, content in zip(names, contents(store, [lease_path(name) for name in names]), strict=True):
        size += len(content or b"")
        if most is not None and size > _MOST_LEASES_BYTES:
            raise CorruptCheckpointError(f"{store.url} holds leases of more than {size} bytes below {LEASES}")
        form = None if content is None else valid(_LeaseForm, lease_path(name), content)
        if form is not None:
            known, answered = frozenset(form.fingerprints), frozenset(form.answered)
            yield Lease(name, form.beat, known, answered, form.owner.model_dump(), form.is_idle)


def contents(store: Documents, paths: Sequence[str]) -> Iterator[bytes | None]:
    """Yield the contents of claims, a few at a time; ``None`` for a missing, damaged or oversized one."""
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        for path, raw in zip(some, store.filesystem.get_many(some, most_bytes=_MOST_BYTES), strict=True):
            try:
                yield None if raw is None else unseal(path, raw, vouched=False)
            except (CorruptCheckpointError, StoreVersionError) as error:
                leave_out(path, error)
                yield None


def valid(form: type[_Form], path: str, content: bytes) -> _Form | None:
    """Read what a claim holds; None where it isn't what it should be."""
    try:
        return form.model_validate_json(content)
    except ValueError as error:
        leave_out(path, error)
        return None


@lru_cache(maxsize=1000)
def _say_left_out(path: str, why: str) -> None:
    logger.warning("left out %s, which is no claim: %s", path, why)


def leave_out(path: str, error: Exception) -> None:
    """Say so, but not each time that it is looked at."""
    _say_left_out(path, readable(str(error)[:500]))
