"""Meet other runs on the same store: keep a lease, and claim tasks once there are others.

A run that is alone writes its lease and claims nothing. When it sees the lease of another run with functions of its
own, it *announces* in their ledgers what it is computing, answers, and from then on claims each batch before it is
handed over. A run that comes later waits for these answers before it computes anything. So neither a run's speed nor
the store's size depends on claims, unless there is another run to claim against.

Liveness is seen, not computed from clocks: a lease that doesn't change for `EXPIRY` beats is nobody's any more, nor
is one of a process that has died on this host. What such a run had claimed is taken over. If it was only asleep, its
late commits hold the same values under the same keys.

Nothing here may end a run, or hold it up for ever: where claims can't be written or read, or make no sense, it goes on
as if it were alone. Runs that all wait for each other's claims, which no run of ours brings about but a damaged or
forged ledger may, see that none computes anything, and one of them continues.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.errors import CorruptCheckpointError, StoreUnavailableError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims.lease import MOST_LEASES, Lease, leases, put_lease, remove_lease
from tensorlake_nb.store.claims.ledger import Ledger, Names
from tensorlake_nb.store.filesystems.retrying import Patience, patient
from tensorlake_nb.store.owner import Owner, is_alive, this_process

logger = logging.getLogger(__name__)

#: Seconds between two beats on a local store, and on any other.
BEAT_S = 0.5
REMOTE_BEAT_S = 2.0
#: After how many beats without a sign of life a run is given up.
EXPIRY = 20
#: After so many beats without any computation, for each run in turn, claims are ignored.
STANDSTILL = 10
#: How often a run that waits for answers looks for them (s).
ASK_S = 0.05

#: Runs that this process drives: a lease of any other that names this process was left when its store was away.
_driven_here: set[str] = set()


@dataclass(frozen=True, slots=True)
class Held:
    """Other runs' claims on some tasks.

    Attributes
    ----------
    mask
        Which of them.
    by
        Ids of the runs that have claimed them.
    is_under_way
        Some of those runs are at work on it; else it is over, and the store is to be asked what came of it.
    """

    mask: NDArray[np.bool_]
    by: tuple[str, ...]
    is_under_way: bool


class Sharing:
    """One run's lease and ledgers.

    Everything but `interrupt` is called on the desk's thread.

    Parameters
    ----------
    fingerprints
        The functions that the run may compute.
    resumed
        Whoever drove the run before may have left a lease behind.
    clock
        Seconds that only go forward; of this process alone.
    """

    def __init__(
        self,
        store: Store,
        run_id: RunId,
        fingerprints: Iterable[str],
        owner: Owner,
        *,
        resumed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._run_id, self._clock = store, run_id, clock
        self.beat_s = BEAT_S if store.is_local or not store.is_shared else REMOTE_BEAT_S
        self._lease = Lease(run_id, 0, frozenset(fingerprints), frozenset(), owner)
        self._has_joined, self._may_have_lease = False, resumed
        self._stop = threading.Event()
        self._ledgers: dict[str, Ledger] = {}
        #: The leases of others that are at work, and of all when they last changed.
        self._others: dict[str, Lease] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        #: Since when no run that was seen has computed anything.
        self._idle_since: float | None = None
        self._is_alone = False

    def shares(self, fingerprint: str) -> bool:
        """Return True if another run computes this function too."""
        return fingerprint in self._ledgers

    def join(self, announce: Callable[[str, Ledger], None]) -> bool:
        """Make the run known before it computes its first task.

        Parameters
        ----------
        announce
            As for `beat`.

        Returns
        -------
        has_joined
            It wasn't known before. Others that were there have answered: what they had finished by then is in the
            store, and all else in the ledgers. What was looked up before has to be looked up once more.
        """
        if self._has_joined:
            return False
        self._has_joined = self._may_have_lease = True
        _driven_here.add(self._run_id)
        with self._tolerance():
            put_lease(self._store, self._lease)  # before the others' are read: of two at once, one sees the other
            self.beat(announce)
            until = self._clock() + EXPIRY * self.beat_s
            while self._unanswered() and self._clock() < until and not self._stop.wait(ASK_S):
                self.beat(announce)
        return True

    def beat(self, announce: Callable[[str, Ledger], None], *, is_idle: bool = False) -> None:
        """Say that the run is still driven, and answer runs that have come.

        Parameters
        ----------
        announce
            Claims everything that is being computed of a function, which from now on is shared.
        is_idle
            It isn't computing anything now.

        Raises
        ------
        StoreUnavailableError
            Nothing was said, or not all.
        """
        if not self._has_joined or self._is_alone:
            return
        try:
            self._look(is_idle=is_idle)
        except CorruptCheckpointError as error:
            self._go_alone(error)
            return
        met = {run_id: lease.fingerprints & self._lease.fingerprints for run_id, lease in self._at_work()}
        for fingerprint in sorted(frozenset().union(*met.values()) - self._ledgers.keys()):
            ledger = Ledger(self._store, fingerprint, self._run_id)
            ledger.refresh()
            announce(fingerprint, ledger)
            self._ledgers[fingerprint] = ledger
        answered = frozenset(run_id for run_id, common in met.items() if common)
        self._lease = replace(self._lease, beat=self._lease.beat + 1, answered=answered, is_idle=is_idle)
        put_lease(self._store, self._lease)

    def claim(self, fingerprint: str, names: Names) -> Held | None:
        """Claim tasks before they are handed over; ``None`` if no other run has claimed any."""
        with self._tolerance():
            ledger = self._ledgers.get(fingerprint)
            held = ledger.claim(names) if ledger is not None and len(names) else {}
            if held:
                self._look()
                at_work = self._claimants_at_work(fingerprint)
                mask = np.any([*held.values()], axis=0)
                return Held(mask, tuple(held), bool(at_work & held.keys()))
        return None

    def forget_the_gone(self, fingerprint: str, names: Names) -> None:
        """Leave out what runs that are over have claimed: call this just before the store is asked for these tasks."""
        ledger = self._ledgers.get(fingerprint)
        if ledger is not None:
            with self._tolerance():
                ledger.refresh()
                self._look()
                ledger.forget(ledger.claimants - self._claimants_at_work(fingerprint), names)

    def give_back(self, fingerprint: str, names: Names) -> None:
        """Tasks have failed here for good: others that wait for them may try."""
        if fingerprint in self._ledgers and len(names):
            with self._tolerance():
                self._ledgers[fingerprint].give_back(names)

    def release(self, fingerprint: str) -> None:
        """Release a function whose tasks are all settled here."""
        if fingerprint in self._ledgers:
            with self._tolerance():
                self._ledgers[fingerprint].release()

    def interrupt(self) -> None:
        """Stop waiting for other runs; may be called from any thread."""
        self._stop.set()

    def leave(self) -> None:
        """Leave: the run is no longer driven."""
        self.interrupt()
        _driven_here.discard(self._run_id)
        if not self._may_have_lease:
            return
        try:
            remove_lease(self._store, self._run_id)
        except StoreUnavailableError:
            logger.warning("can't remove the lease of run %s: others will wait a little for it", self._run_id)

    # -- the others --

    def _look(self, *, is_idle: bool | None = None) -> None:
        """Read the leases of others. One of a process that has died here is removed for good."""
        now = self._clock()
        seen: dict[str, tuple[int, float]] = {}
        self._others = {}
        for lease in leases(self._store, self._run_id, most=MOST_LEASES):
            beat, since = self._seen.get(lease.run_id, (None, now))
            seen[lease.run_id] = (lease.beat, since if beat == lease.beat else now)
            if _is_driven(lease) and now - seen[lease.run_id][1] < EXPIRY * self.beat_s:
                self._others[lease.run_id] = lease
            else:
                self._remove(lease.run_id)
        self._seen = seen
        if is_idle is not None:
            is_still = is_idle and all(lease.is_idle for _, lease in self._at_work())
            if not is_still:
                self._idle_since = None
            elif self._idle_since is None:
                self._idle_since = now

    def _remove(self, run_id: str) -> None:
        """Remove the lease of a run that is over; where only others may, it is left to them."""
        try:
            with patient(Patience()):
                remove_lease(self._store, run_id)
        except StoreUnavailableError:
            logger.debug("can't remove the lease of run %s", run_id, exc_info=True)

    @contextmanager
    def _tolerance(self) -> Iterator[None]:
        try:
            yield
        except (CorruptCheckpointError, StoreUnavailableError) as error:
            self._go_alone(error)

    def _go_alone(self, error: Exception) -> None:
        self._is_alone = True
        self._ledgers.clear()
        self._others = {}
        logger.warning("run %s ignores other runs on the same store from now on: %s", self._run_id, error)

    def _is_at_a_standstill(self) -> bool:
        """Return True if all runs have stood still for so long that it is this one's turn to begin."""
        if self._idle_since is None:
            return False
        before = sum(run_id < self._run_id for run_id, _ in self._at_work())
        return self._clock() - self._idle_since >= STANDSTILL * (1 + before) * self.beat_s

    def _at_work(self) -> list[tuple[str, Lease]]:
        """Return the other runs that may compute the same functions."""
        mine = self._lease.fingerprints
        return [(run_id, lease) for run_id, lease in self._others.items() if lease.fingerprints & mine]

    def _claimants_at_work(self, fingerprint: str) -> frozenset[str]:
        if self._is_at_a_standstill():
            return frozenset()
        ledger = self._ledgers[fingerprint]
        return (ledger.claimants & self._others.keys()) - ledger.released

    def _unanswered(self) -> list[str]:
        return [run_id for run_id, lease in self._at_work() if self._run_id not in lease.answered]


def _is_driven(lease: Lease) -> bool:
    """Return True if a run's process exists and, by all evidence, still drives the run."""
    if lease.owner == this_process():
        return lease.run_id in _driven_here
    return is_alive(lease.owner)
