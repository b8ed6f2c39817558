"""The messages between a driver and the backend that computes its batches."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlake_nb.core.batches.batch import Batch, FailureKind
from tensorlake_nb.core.batches.receipt import Receipt
from tensorlake_nb.core.functions.policy import Placement


@dataclass(frozen=True, slots=True)
class Order:
    """A batch to compute: its number, how urgent it is (higher first), and where it may run.

    ``is_lasting``: it may well take long, whatever its node's batches took so far (a generator's).
    """

    number: int
    batch: Batch
    priority: int
    placement: Placement
    is_lasting: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The backend can work on so many batches at once."""

    slots: int


@dataclass(frozen=True, slots=True)
class Started:
    """A worker began a batch."""

    number: int
    worker: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A call said how far it is."""

    number: int
    current: float
    total: float


@dataclass(frozen=True, slots=True)
class PartFinished:
    """A generator that is still running has emitted items."""

    number: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Finished:
    """A batch's receipts are here."""

    number: int
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A batch won't come back: its worker died, or it was given up.

    ``kind`` is what this means for the element that was being computed, unless that ``is_blameless``. If it is known
    which one that was, ``culprit`` is its node and its place in the batch. A worker may have told that it
    ``has_begun`` the batch. ``last_words`` is what programs and C libraries wrote there just before, without secrets.
    """

    number: int
    reason: str
    kind: FailureKind = FailureKind.WORKER_LOST
    is_blameless: bool = False
    has_begun: bool = False
    culprit: tuple[str, int] | None = None
    last_words: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """The backend can't go on at all."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class StoreAwaited:
    """A worker can't reach the store, and asks again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Waits:
    """The cluster does nothing for the run, and this is what it waits for; empty: it does again."""

    what: str


Message = Ready | Started | Progress | PartFinished | Finished | Lost | Broken | StoreAwaited | Waits
