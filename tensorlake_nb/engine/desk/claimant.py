"""Claim the tasks that a run computes: batches, folds and chains, by name.

Functions with the very same code share their tasks, whether they belong to one run or to several. So a batch waits
for tasks that another node of the run is computing, as it does for those that another run has claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches.batch import Batch, Call
from tensorlake_nb.core.batches.positions import Slice, take
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.keys import Digest, fold_next, fold_start, one_by_one, task_key, task_keys
from tensorlake_nb.core.planning.events import BatchHeld
from tensorlake_nb.core.planning.instructions import Submit
from tensorlake_nb.core.streams.tables import Streams
from tensorlake_nb.engine.desk.same_code import Siblings
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims.ledger import Ledger, Names, names_of
from tensorlake_nb.store.claims.meeting import BEAT_S, Sharing


class Claimant:
    """Claims the batches of one run; with no ``sharing`` it claims nothing, and nothing is in its way.

    Parameters
    ----------
    submitted
        The batches that are under way, by number; kept by the desk.
    """

    def __init__(
        self,
        plan: Plan,
        calls: Mapping[str, Call],
        streams: Streams,
        store: Store,
        sharing: Sharing | None,
        submitted: Mapping[int, tuple[Submit, Batch]],
    ) -> None:
        self._plan, self._calls, self._streams, self._store, self._sharing = plan, calls, streams, store, sharing
        self._submitted = submitted
        self._siblings = Siblings(calls, submitted.keys())
        #: Under which name each fold that has begun is claimed, and which of them are claimed now.
        self._folds: dict[str, Names] = {}
        self._folding: set[str] = set()
        #: Nodes whose stream isn't recorded yet.
        self._open = set(plan.nodes)
        #: Nodes of which others may have committed something since they were looked up.
        self._outdated: set[str] = set()
        #: Since the last beat something was begun.
        self._has_begun = False
        #: Nodes of whose function nothing was ever kept, or something was.
        self._cold: dict[str, bool] = {}

    def call(self, name: str) -> Call:
        """Return how a node is called: cold, if there is nothing to look up when it is first asked for."""
        call = self._calls[name]
        if name not in self._cold:
            self._cold[name] = not self._store.holds(call.fingerprint)
        return replace(call, cold=True) if self._cold[name] and not self.shares(call) else call

    def may_hold(self, name: str) -> None:
        """Look a node up again, even a cold one: unreported outputs of it may have been committed."""
        self._cold[name] = False

    def shares(self, call: Call) -> bool:
        """Return True if other runs, or other nodes of this one, compute this function too."""
        is_shared = self._sharing is not None and self._sharing.shares(call.fingerprint)
        return is_shared or self._siblings.has_any(call.node)

    def meet(self) -> bool:
        """Make the run known once, since something is about to be computed.

        Returns
        -------
        is_outdated
            This was the first time, so what was looked up before has to be looked up once more: another run may have
            come and gone meanwhile, and from now on none does without this one's notice.
        """
        if self._sharing is None or not self._sharing.join(self._announce):
            return False
        self._outdated.update(self._cold)
        self._cold.clear()
        return True

    def is_outdated(self, name: str, given: bytes) -> bool:
        """Return True, once, if the store must be listed again before a node's elements are looked up.

        Parameters
        ----------
        given
            Digests of these elements: what was claimed of them, and is over, counts no more.
        """
        if name not in self._outdated:
            return False
        self._outdated.discard(name)
        self._forget_the_gone(name, names_of(task_keys(self._calls[name].fingerprint, given)))
        return True

    def _forget_the_gone(self, name: str, names: Names) -> None:
        self._siblings.forget_the_done(name, names)
        if self._sharing is not None:
            self._sharing.forget_the_gone(self._calls[name].fingerprint, names)

    def claim(self, order: Submit, rolling: Digest, now: float) -> BatchHeld | None:
        """Claim a batch's tasks before it is handed over; an event instead, if some of them are claimed already.

        Parameters
        ----------
        rolling
            Names what a fold has taken so far.
        """
        held = self._met(order, rolling, now) or self._claimed(order, now)
        if held is not None:
            self._outdated.add(order.node)
            return held
        self._has_begun = True
        if self._siblings.has_any(order.node):
            self._siblings.begun(order.number, order.node, self._steps(order, rolling))
        return None

    def _met(self, order: Submit, rolling: Digest, now: float) -> BatchHeld | None:
        """Hold back what another node of the run computes."""
        if not self._siblings.has_any(order.node):
            return None
        names = self._steps(order, rolling)
        if self._is_fold(order):
            self._siblings.forget_the_done(order.node, names)  # whoever folds finds how far they came
        met = self._siblings.met(order.node, names)
        return None if met is None else self._held(order, met.mask, (), now, BEAT_S if met.is_under_way else 0.0)

    def _claimed(self, order: Submit, now: float) -> BatchHeld | None:
        """Claim what no other run has, and hold the rest back."""
        if self._sharing is None:
            return None
        self.meet()
        name, fingerprint = order.node, self._calls[order.node].fingerprint
        if name in self._folding:
            return None
        names = self._names(order)
        is_fold = self._is_fold(order)
        if is_fold:
            names = self._folds.setdefault(name, names)
            self._sharing.forget_the_gone(fingerprint, names)  # whoever folds finds how far they came
        held = self._sharing.claim(fingerprint, names)
        if held is None:
            if is_fold:
                self._folding.add(name)
            return None
        return self._held(order, held.mask, held.by, now, self._sharing.beat_s if held.is_under_way else 0.0)

    def _held(
        self, order: Submit, mask: NDArray[np.bool_], by: tuple[str, ...], now: float, wait_s: float
    ) -> BatchHeld:
        theirs, ours = (order.slices, ()) if self._is_fold(order) else _parted(order.slices, mask)
        return BatchHeld(order.number, theirs, ours, by, now, now + wait_s)

    def settled(self, name: str) -> None:
        """Release the claims of a node whose stream is recorded."""
        self._open.discard(name)
        self._folding.discard(name)
        fingerprint = self._calls[name].fingerprint
        if self._sharing is not None and all(self._calls[other].fingerprint != fingerprint for other in self._open):
            self._sharing.release(fingerprint)

    def failed(self, name: str, pieces: tuple[Slice, ...]) -> None:
        """Elements have failed for good, or a fold has: they are given back, so that other runs may try them."""
        fingerprint = self._calls[name].fingerprint
        if not pieces or self._sharing is None or not self._sharing.shares(fingerprint):
            return
        if name in self._folds:
            self._give_back_fold(name, self._sharing)
        else:
            self._sharing.give_back(fingerprint, names_of(task_keys(fingerprint, self._streams.given(name, pieces))))

    def beat(self, *, is_idle: bool = False) -> None:
        """Tell other runs that this one is driven, and what it computes; or that it computes nothing."""
        if self._sharing is not None:
            self._sharing.beat(self._announce, is_idle=is_idle and not self._submitted and not self._has_begun)
            busy = {order.node for order, _ in self._submitted.values()}
            for name in self._folding - busy:  # no run shall wait for a fold that waits itself
                self._give_back_fold(name, self._sharing)
        self._has_begun = False

    def _give_back_fold(self, name: str, sharing: Sharing) -> None:
        """Give back the claim of a fold, unless another node of the run folds the same just now."""
        self._folding.discard(name)
        fingerprint, names = self._calls[name].fingerprint, self._folds[name]
        alike = [other for other in self._folding if self._calls[other].fingerprint == fingerprint]
        if not any(np.isin(names, self._folds[other]).any() for other in alike):
            sharing.give_back(fingerprint, names)

    def _names(self, order: Submit) -> Names:
        """Return the names under which a batch's tasks are claimed.

        A fold is claimed by the first element that it takes, or as what it starts from if there is none.
        """
        fingerprint = self._calls[order.node].fingerprint
        if not self._is_fold(order):
            return names_of(task_keys(fingerprint, self._streams.given(order.node, order.slices)))
        first = self._streams.given(order.node, take(order.slices, 0, 1))
        return names_of(task_key(fingerprint, fold_next(fold_start(), Digest(first)) if first else fold_start()))

    def _steps(self, order: Submit, rolling: Digest) -> Names:
        """Return the names of all tasks of a batch, including a fold's steps."""
        if not self._is_fold(order):
            return self._names(order)
        given = one_by_one(self._streams.given(order.node, order.slices))
        reached = list(accumulate(given, fold_next, initial=rolling))
        fingerprint = self._calls[order.node].fingerprint
        return names_of(b"".join(task_key(fingerprint, digest) for digest in reached[1:] or reached))

    def _is_fold(self, order: Submit) -> bool:
        return self._plan.nodes[order.node].kind == "fold"

    def _announce(self, fingerprint: str, ledger: Ledger) -> None:
        """Claim what is being computed of a function that turns out to be computed by others, too."""
        for name in self._folding:
            if self._calls[name].fingerprint == fingerprint:
                ledger.announce(self._folds[name])
        for order, batch in self._submitted.values():
            first, *others = batch.calls
            if first.fingerprint == fingerprint and not self._is_fold(order):
                ledger.announce(self._names(order))
            if any(call.fingerprint == fingerprint for call in others):
                ledger.claim_everything()  # what a chain will be called with isn't known yet


def _parted(slices: tuple[Slice, ...], mask: NDArray[np.bool_]) -> tuple[tuple[Slice, ...], tuple[Slice, ...]]:
    """Those elements of some slices that a mask picks, and the others."""
    picked: list[Slice] = []
    left: list[Slice] = []
    base = 0
    for piece in slices:
        mine = mask[base : base + piece.size]
        edges = [0, *(np.flatnonzero(np.diff(mine)) + 1).tolist(), piece.size]
        for start, stop in pairwise(edges):
            (picked if mine[start] else left).append(piece.cut(start, stop))
        base += piece.size
    return tuple(picked), tuple(left)
