"""Batches that won't come back: what they had committed, and which element may have killed its worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from itertools import accumulate

from tensorlake_nb.core.batches.batch import Batch, Call, Failure, Fold
from tensorlake_nb.core.batches.messages import Lost
from tensorlake_nb.core.batches.positions import Address, Slice, take
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.keys import Digest, TaskKey, fold_next, one_by_one, task_key
from tensorlake_nb.core.planning.events import BatchEnded, BatchLost, Chunk, ElementFailed, NodeOutcome
from tensorlake_nb.core.planning.instructions import Submit
from tensorlake_nb.core.streams.tables import ChunkData, Streams
from tensorlake_nb.core.streams.uncacheable_keys import item_place, placed
from tensorlake_nb.engine.calls.context import Effects, note_of_told
from tensorlake_nb.engine.calls.failure_text import short_repr
from tensorlake_nb.engine.desk.claimant import Claimant
from tensorlake_nb.engine.desk.failed_elements import Failing
from tensorlake_nb.engine.desk.lookup import Prober, given_by
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.format.outcomes import TaskOutcome

#: How often a batch may be lost without charging an attempt: before any of its elements was begun, or blamelessly.
_MOST_WAITS = 3
_UNTOLD = "on an object store nobody notes which one is begun"


class Losses:
    """Settle one run's lost batches."""

    def __init__(
        self,
        plan: Plan,
        streams: Streams,
        store: Store,
        resolver: ClassResolver,
        claimant: Claimant,
        prober: Prober,
        failing: Failing,
    ) -> None:
        self._plan, self._streams, self._store, self._resolver = plan, streams, store, resolver
        self._claimant, self._prober, self._failing = claimant, prober, failing
        self._waited: Counter[tuple[str, Address]] = Counter()

    def recover(
        self, order: Submit, batch: Batch, lost: Lost, at: float, *, is_stopping: bool
    ) -> BatchLost | BatchEnded:
        """Find out what a batch had committed, and which element may have killed its worker.

        Nothing is suspected when the run ``is_stopping``: then the batch was withdrawn, or its worker ended, by us. Nor
        when the loss is blameless, unless that comes again and again.

        Returns
        -------
        event
            A fold has ended where it had come to; other batches are lost, but for their committed outputs.
        """
        is_charged = not is_stopping and not (lost.is_blameless and self._waits_again(order))
        call, *chain = batch.calls
        for after in chain:  # what it has finished of these is found when they are asked for
            self._claimant.may_hold(after.node)
        writer = self._store.writer(call.fingerprint, batch.segment)
        known = writer.known()
        interrupted = set(writer.interrupted())
        writer.close()
        if batch.fold is not None and batch.fold.groups is None:
            is_charged = is_charged and (bool(interrupted) or self._was_begun(order, lost))
            return self._fold(order, batch, batch.fold, known, interrupted, lost, at, is_charged=is_charged)
        keys = [task_key(call.fingerprint, digest) for digest in one_by_one(batch.given)]
        open_ = [i for i, key in enumerate(keys) if key not in known]
        kept = {i: known[key] for i, key in enumerate(keys) if key in known}
        chunks = tuple(self._kept(order, i, outcome) for i, outcome in kept.items())
        beside = self._done_beside(order.node, kept.values())
        if chain and is_charged and not open_:
            ended = self._further_along(order, batch, known[keys[0]], chunks, interrupted, lost, at, beside)
            if ended is not None:
                return ended
        begun = [i for i in open_ if keys[i] in interrupted]
        culprits = self._culprits(order, lost, open_, begun) if is_charged else []
        suspects = tuple(self._suspect(order, i, lost) for i in culprits)
        if len(suspects) == 1:  # else each of them is tried by itself first
            self._failing.give_up(order.node, suspects)
        left = [take(order.slices, i, i + 1)[0] for i in open_ if i not in set(culprits)]
        return BatchLost(
            lost.number, lost.reason, at, chunks, suspects, tuple(left), beside.timers, beside.counters, _notes(beside)
        )

    def _done_beside(self, name: str, outcomes: Iterable[TaskOutcome]) -> Effects:
        """Return the effects of committed calls, and remember them as if a receipt had reported them."""
        packed = [outcome.effects for outcome in outcomes if outcome.effects is not None]
        self._prober.happened(name, packed)
        return Effects.summed(packed)

    def _kept(self, order: Submit, offset: int, outcome: TaskOutcome) -> Chunk:
        """Settle an element that was committed."""
        name = order.node
        (where,) = take(order.slices, offset, offset + 1)
        outputs = given_by(self._streams, name, where, [outcome])
        parts = self._streams.parts(name, where)
        if parts:  # a generator that came to its end: what it emitted after the last part that has arrived
            known = sum(part.outputs.n_out for part in parts)
            outputs = outputs.one_by_one().cut(known, outputs.n_out).as_list()
        return self._streams.add(name, where.address(len(parts)), ChunkData(where, outputs, computed=1))

    def _further_along(
        self,
        order: Submit,
        batch: Batch,
        outcome: TaskOutcome,
        chunks: tuple[Chunk, ...],
        interrupted: Container[bytes],
        lost: Lost,
        at: float,
        beside: Effects,
    ) -> BatchEnded | None:
        """Charge the call that ended the worker, if it is one further along a chain; ``None`` if none was begun."""
        settled: list[tuple[Call, TaskOutcome, int]] = []
        place = batch.place
        for position, call in enumerate(batch.calls[1:], start=1):
            outputs = outcome.outputs
            if outputs.n_out != 1 or outputs.routes is not None:
                return None
            place = item_place(place, 0) if place and outputs.counts is not None else place
            given = placed(outputs.digests, place) if call.by_place else outputs.digests
            key = task_key(call.fingerprint, Digest(given))
            found = self._found(call, f"{batch.segment}-{position}", key)
            if found is None:
                break
            settled.append((call, *found))
            outcome = found[0]
        else:
            return None
        is_told = lost.culprit == (call.node, 0) or (lost.has_begun and not self._store.is_local)
        if not is_told and key not in interrupted:
            return None
        outcomes = [_outcome(order.node, chunks, (), beside)]
        for done, its, computed in settled:
            where = _after(outcomes[-1].chunks[0])
            chunk = self._chunk(done, its, where, computed)
            outcomes.append(_outcome(done.node, (chunk,), (), self._done_beside(done.node, [its])))
        where = _after(outcomes[-1].chunks[0])
        failure = Failure(0, lost.kind, lost.reason, self._input_repr(call.node, (where,), 0), lost.last_words)
        failures = (self._failing.placed(call.node, (where,), failure),)
        self._failing.give_up(call.node, failures)
        return BatchEnded(order.number, (*outcomes, NodeOutcome(call.node, (), failures)), (), 1, at)

    def _found(self, call: Call, writer_name: str, key: TaskKey) -> tuple[TaskOutcome, int] | None:
        """Return the outcome of a call further along, and 1 if the lost batch computed it, 0 if it was there before."""
        writer = self._store.writer(call.fingerprint, writer_name, spooled=False)
        known = writer.known()
        writer.close()
        if key in known:
            return known[key], 1
        index = self._store.index(call.fingerprint)
        (at,) = index.find(key).tolist() if not (call.cold or index.empty) else (-1,)
        return (index.outcome(at), 0) if at >= 0 else None

    def _chunk(self, call: Call, outcome: TaskOutcome, where: Slice, computed: int) -> Chunk:
        outputs = given_by(self._streams, call.node, where, [outcome])
        return self._streams.add(call.node, where.address(), ChunkData(where, outputs, computed, 1 - computed))

    def _fold(
        self,
        order: Submit,
        batch: Batch,
        fold: Fold,
        known: Mapping[TaskKey, TaskOutcome],
        interrupted: Container[bytes],
        lost: Lost,
        at: float,
        *,
        is_charged: bool,
    ) -> BatchEnded:
        """Continue a fold after its last committed accumulator, wherever it was when its worker died."""
        rolling = accumulate(one_by_one(batch.given), fold_next, initial=fold.rolling)
        keys = [task_key(batch.calls[0].fingerprint, digest) for digest in rolling][1:]
        done = max((i + 1 for i, key in enumerate(keys) if key in known), default=0)
        spans = known[keys[done - 1]].outputs.spans if done else ()
        # The steps to come have to know what these were told of the run.
        beside = self._done_beside(order.node, (known[key] for key in keys if key in known))
        chunks = (Chunk((order.number,), done, 1, 1, spans, None, done, 0),) if done else ()
        failures: tuple[ElementFailed, ...] = ()
        if is_charged and done < batch.size:
            if lost.culprit is None and not self._store.is_local:
                lost = replace(lost, reason=f"{lost.reason}, here or a few elements later: {_UNTOLD}")
            node, offset = lost.culprit or ("", -1)
            if node != order.node or not done <= offset < batch.size:
                offset = next((i for i, key in enumerate(keys) if i >= done and key in interrupted), done)
            failures = (self._suspect(order, offset, lost),)
            self._failing.give_up_fold(order, failures)
        return BatchEnded(order.number, (_outcome(order.node, chunks, failures, beside),), (), done, at)

    # -- who did it --

    def _culprits(self, order: Submit, lost: Lost, open_: list[int], begun: list[int]) -> list[int]:
        """Return the elements that may have ended their worker: those that it had begun."""
        node, offset = lost.culprit or ("", -1)
        if node == order.node and offset in open_:
            return [offset]
        if begun:
            return begun
        return open_ if self._was_begun(order, lost) else []

    def _was_begun(self, order: Submit, lost: Lost) -> bool:
        """Return True if a batch was begun without a note of it, as on an object store.

        It wasn't if it was only waiting at a worker that died of another one. But a worker may also die before it can
        say what it begins, so what waited too often is suspected after all.
        """
        is_told = lost.culprit is not None or (lost.has_begun and not self._store.is_local)
        return is_told or not self._waits_again(order)

    def _waits_again(self, order: Submit) -> bool:
        """Return True if a batch may be lost once more without charging an attempt."""
        first = take(order.slices, 0, 1)[0].order if order.slices else ()
        self._waited[order.node, first] += 1
        return self._waited[order.node, first] <= _MOST_WAITS

    def _suspect(self, order: Submit, offset: int, lost: Lost) -> ElementFailed:
        input_repr = self._input_repr(order.node, order.slices, offset)
        failure = Failure(offset, lost.kind, lost.reason, input_repr, lost.last_words)
        return self._failing.placed(order.node, order.slices, failure)

    def _input_repr(self, name: str, slices: tuple[Slice, ...], offset: int) -> str:
        """Return a short form of an element's input, if it can be read."""
        try:
            elements = self._streams.elements(name, take(slices, offset, offset + 1)[0])
            values = self._store.read(elements.spans, self._resolver)
        except Exception:  # what is said of a lost worker must not depend on what killed it
            return ""
        return short_repr(values[0] if elements.outputs.counts is None else values)


def _outcome(name: str, chunks: tuple[Chunk, ...], failures: tuple[ElementFailed, ...], beside: Effects) -> NodeOutcome:
    return NodeOutcome(name, chunks, failures, timers=beside.timers, counters=beside.counters, notes=_notes(beside))


def _notes(beside: Effects) -> tuple[str, ...]:
    return (note_of_told(beside.told),) if beside.told else ()


def _after(chunk: Chunk) -> Slice:
    """Return the only element of a chunk in the form that the next node of a chain takes."""
    return Slice((0, *chunk.address), 0, 1)
