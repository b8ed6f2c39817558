"""How a run meets others on the same store: it keeps a lease, and claims what it computes once there are others.

A run that is alone writes its lease and claims nothing. When it sees the lease of another run with functions of its
own, it *announces* in their ledgers what it is computing, answers, and from then on claims each batch before it is
handed over. A run that comes later waits for these answers before it computes anything. So neither a run's speed nor
the store's size depends on claims, unless there is somebody to claim against.

Liveness is seen, not computed from clocks: a lease that doesn't change for `EXPIRY` beats is nobody's any more, nor
is one of a process that has died on this host. What such a run had claimed is taken over. If it was only asleep, its
late commits hold the same values under the same keys.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.ownership import Owner, is_alive, this_process
from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.checkpoints import Store
from tensorlake_nb.store.claims import Lease, Ledger, Names, leases, put_lease, remove_lease

logger = logging.getLogger(__name__)

#: Seconds between two beats on a local store, and on any other.
BEAT_S = 0.5
REMOTE_BEAT_S = 2.0
#: After how many beats without a sign of life a run is given up.
EXPIRY = 20
#: How often a run that waits for answers looks for them (s).
ASK_S = 0.05

#: Runs that this process drives: a lease of any other that names this process was left when its store was away.
_driven_here: set[str] = set()


@dataclass(frozen=True, slots=True)
class Held:
    """What others have claimed of some tasks.

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
        #: The leases of others as last seen, and since when each has stood as it is.
        self._others: dict[str, tuple[Lease, float]] = {}

    def shares(self, fingerprint: str) -> bool:
        """Whether another run computes this function, too."""
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
        put_lease(self._store, self._lease)  # before the others' are read: of two that come at once, one sees the other
        self.beat(announce)
        while self._unanswered() and not self._stop.wait(ASK_S):
            self.beat(announce)
        return True

    def beat(self, announce: Callable[[str, Ledger], None]) -> None:
        """Say that the run is still driven, and answer runs that have come.

        Parameters
        ----------
        announce
            Claims everything that is being computed of a function, which from now on is shared.

        Raises
        ------
        StoreUnavailableError
            Nothing was said, or not all.
        """
        if not self._has_joined:
            return
        self._look()
        met = {run_id: lease.fingerprints & self._lease.fingerprints for run_id, lease in self._at_work()}
        for fingerprint in sorted(frozenset().union(*met.values()) - self._ledgers.keys()):
            ledger = Ledger(self._store, fingerprint, self._run_id)
            ledger.refresh()
            announce(fingerprint, ledger)
            self._ledgers[fingerprint] = ledger
        answered = frozenset(run_id for run_id, common in met.items() if common)
        self._lease = replace(self._lease, beat=self._lease.beat + 1, answered=answered)
        put_lease(self._store, self._lease)

    def claim(self, fingerprint: str, names: Names) -> Held | None:
        """Claim tasks before they are handed over; ``None`` if nobody else has claimed any."""
        ledger = self._ledgers.get(fingerprint)
        held = ledger.claim(names) if ledger is not None and len(names) else {}
        if not held:
            return None
        self._look()
        at_work = self._claimants_at_work(fingerprint)
        mask = np.any([*held.values()], axis=0)
        return Held(mask, tuple(held), bool(at_work & held.keys()))

    def forget_the_gone(self, fingerprint: str) -> None:
        """Leave out claims of runs that are over: call this just before the store is asked what they gave."""
        ledger = self._ledgers.get(fingerprint)
        if ledger is not None:
            ledger.refresh()
            self._look()
            ledger.forget(ledger.claimants - self._claimants_at_work(fingerprint))

    def release(self, fingerprint: str) -> None:
        """A function's tasks are all settled here."""
        if fingerprint in self._ledgers:
            self._ledgers[fingerprint].release()

    def interrupt(self) -> None:
        """Wait for nobody any more; from any thread."""
        self._stop.set()

    def leave(self) -> None:
        """The run is driven no more."""
        self.interrupt()
        _driven_here.discard(self._run_id)
        if not self._may_have_lease:
            return
        try:
            remove_lease(self._store, self._run_id)
        except StoreUnavailableError:
            logger.warning("can't remove the lease of run %s: others will wait a little for it", self._run_id)

    # -- the others --

    def _look(self) -> None:
        """Read the leases of others. One of a process that has died here is removed for good."""
        now = self._clock()
        seen: dict[str, tuple[Lease, float]] = {}
        for lease in leases(self._store, self._run_id):
            before = self._others.get(lease.run_id)
            since = before[1] if before is not None and before[0].beat == lease.beat else now
            if not _is_driven(lease) or self._is_over(since, now):
                remove_lease(self._store, lease.run_id)
                continue
            seen[lease.run_id] = (lease, since)
        self._others = seen

    def _is_over(self, since: float, now: float) -> bool:
        return now - since >= EXPIRY * self.beat_s

    def _at_work(self) -> list[tuple[str, Lease]]:
        """The other runs that may compute the same functions."""
        mine = self._lease.fingerprints
        return [(run_id, lease) for run_id, (lease, _) in self._others.items() if lease.fingerprints & mine]

    def _claimants_at_work(self, fingerprint: str) -> frozenset[str]:
        ledger = self._ledgers[fingerprint]
        return (ledger.claimants & self._others.keys()) - ledger.released

    def _unanswered(self) -> list[str]:
        return [run_id for run_id, lease in self._at_work() if self._run_id not in lease.answered]


def _is_driven(lease: Lease) -> bool:
    """Whether the process of a run is there, and still drives it as far as that can be known."""
    if lease.owner == this_process():
        return lease.run_id in _driven_here
    return is_alive(lease.owner)
