"""Folds: ``f(accumulator, element)`` in order, the accumulator kept as it grows.

A fold's accumulator is named by the elements so far (`fold_next`), so whoever folds the same elements finds it again.
Each step starts from what the step before returned; after a failure the fold stands where the last good step left it,
whatever the failed one has changed in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from tensorlake_nb.core.batch import BARE, Failure, FailureKind, Piece, Span
from tensorlake_nb.core.keys import Digest, TaskKey, fold_next, one_by_one, task_key
from tensorlake_nb.core.records import record_builder
from tensorlake_nb.engine.calls import Make, Returned
from tensorlake_nb.engine.concurrent import called_here
from tensorlake_nb.engine.context import Effects
from tensorlake_nb.engine.failures import error_text
from tensorlake_nb.engine.functions import forget_listed
from tensorlake_nb.engine.node_work import DAMAGED, NodeWork
from tensorlake_nb.engine.returns import Prepared
from tensorlake_nb.errors import SerializationError, UsageError
from tensorlake_nb.store.codec import Encoded, decode, through_json
from tensorlake_nb.store.entry import TaskOutcome

#: An accumulator up to this size is kept after every step.
SMALL_BYTES = 64 * 1024
#: A larger one is kept when folding again to where it stands would take this many times as long as keeping it.
PATIENCE = 5.0
#: An accumulator up to this size stays in the store when the next one is kept, so that the same fold over fewer
#: elements finds it; a larger one stays only if it took long enough to fold.
TINY_BYTES = 512


def fold(work: NodeWork) -> None:
    """Fold a batch: one fold over all its elements, or one for each group of them."""
    plan = work.batch.fold
    assert plan is not None
    if plan.is_shared:
        forget_listed(work.batch.run_id, work.call.fingerprint)
    if plan.groups is not None:
        _fold_groups(work, plan.rolling, plan.groups)
    elif work.size or plan.accumulator is not None:
        names = _names(work, plan.rolling, one_by_one(work.given_digests))
        steps = _Steps(work, names, range(work.size), plan.accumulator)
        steps.run()
        _tell(work, steps)
    else:
        _start_only(work, task_key(work.call.fingerprint, plan.rolling))


def _fold_groups(work: NodeWork, rolling: Digest, sizes: tuple[int, ...]) -> None:
    """Fold each group from a fresh start; a group is an element, and its last accumulator the output."""
    work.settle_known()
    bounds = list(pairwise(accumulate(sizes, initial=0)))
    for offset in work.unsettled():
        elements = range(*bounds[offset])
        digests = work.store.digests(work.inputs.spans(elements.start, elements.stop))
        start = fold_next(rolling, Digest(work.keys[offset])) if work.call.by_place else rolling
        names = [*_names(work, start, one_by_one(digests))[:-1], work.keys[offset]]
        steps = _Steps(work, names, elements, None, offset)
        steps.run()
        if steps.done == len(names):
            work.computed.add(offset)


def _start_only(work: NodeWork, key: TaskKey) -> None:
    """A fold of nothing gives what a fold starts from."""
    work.done, work.pieces = 0, []
    outcome = next((found for _, found in work.look_up([key])), None)
    replayed = int(outcome is not None)
    if outcome is None:
        assert work.loaded is not None
        start = work.loaded.function.options.accumulate
        assert start is not None
        called = work.caller.call(0, None, lambda target, lead: start())
        if isinstance(called, Returned):
            try:
                prepared = Prepared(BARE, (work.returns.encoded(called.value),))
            except Exception as error:
                called = work.caller.failure(0, None, error)
            else:
                work.add(0, key, prepared, called, settles=False)
                work.writer.flush()
                outcome = work.writer.locate(key)
        if isinstance(called, Failure):
            work.failures[0] = called
    if outcome is not None:
        work.pieces = [Piece(0, 0, b"", outcome.spans, outcome.digests, None, 1 - replayed, replayed)]


def _tell(work: NodeWork, steps: _Steps) -> None:
    """One piece for all elements that are folded: the last of them stands for the accumulator."""
    work.writer.flush()
    work.done = steps.done + int(steps.done in work.failures)
    work.pieces = []
    if steps.done:
        outcome = steps.found or work.writer.locate(steps.names[steps.done - 1])
        counts = np.zeros(steps.done, dtype=np.int32)
        counts[-1] = BARE
        computed = steps.done - steps.replayed
        work.pieces.append(
            Piece(0, steps.done, counts.tobytes(), outcome.spans, outcome.digests, None, computed, steps.replayed)
        )


def _names(work: NodeWork, rolling: Digest, elements: list[Digest]) -> list[TaskKey]:
    return [
        task_key(work.call.fingerprint, digest) for digest in list(accumulate(elements, fold_next, initial=rolling))[1:]
    ]


class _Steps:
    """One fold under way.

    Parameters
    ----------
    names
        The key of the accumulator after each element.
    elements
        Where the elements are in the batch's column.
    start
        The accumulator before the first of them, if there is one.
    offset
        The batch's element that this fold is; ``None`` if each of its elements is one of the batch's.

    Attributes
    ----------
    done, replayed
        How many elements are folded, and how many of them needed no call. All that are done are kept.
    found
        Where the accumulator lies, if it was not made here.
    """

    def __init__(
        self, work: NodeWork, names: list[TaskKey], elements: range, start: Span | None, offset: int | None = None
    ) -> None:
        self.work, self.names, self._elements, self._start, self._offset = work, names, elements, start, offset
        self.done = self.replayed = 0
        self.found: TaskOutcome | None = None
        self._kept: Encoded | None = None
        self._kept_key: TaskKey | None = None
        self._kept_at = time.monotonic()
        self._keep_cost_s = 0.0
        self._is_small = True
        assert work.batch.fold is not None
        #: What the calls so far were told of the run: the accumulator may hold it.
        self._told = Effects.unpacked(work.batch.fold.told).told if work.batch.fold.told and offset is None else {}

    def run(self) -> None:
        """Fold until the end, a failure, or until the batch has to stop."""
        self._replay()
        target, kept = len(self.names), self.done
        if kept == target:
            return
        self.work.writer.begin_in_turn(self.names[kept:])
        failed = self._advance(target, keep_each=False)
        if failed is None:
            return
        position, failure = failed
        if self.done < position:
            # What the failed step was given may have been changed: go from the last copy to where it stood before.
            failed = self._advance(position, keep_each=True) or failed
            position, failure = failed
        self.work.failures[self._where(position)] = failure
        self.work.writer.begin_in_turn(())

    def _replay(self) -> None:
        """Go to the last accumulator that is kept already and can be read."""
        for position, outcome in self.work.last_known(self.names):
            try:
                self.work.store.read(outcome.spans, self.work.resolver)
            except DAMAGED:
                continue
            self.done = self.replayed = position + 1
            self.found = outcome
            if outcome.effects is not None:
                self._told.update(Effects.unpacked(outcome.effects).told)
            break
        if self.work.call.inject_ctx:  # else no step did anything beside returning
            for position, outcome in sorted(self.work.look_up(self.names[: self.done]), key=lambda found: found[0]):
                self.work.note_effects(self._where(position), outcome)

    def _advance(self, target: int, *, keep_each: bool) -> tuple[int, Failure] | None:
        """Fold up to some element; a failure comes with where it happened."""
        try:
            accumulator = self._copy()
        except DAMAGED as error:
            return self.done, Failure(self._where(self.done), FailureKind.DAMAGE, error_text(error), "")
        unkept: list[Returned] = []
        position = self.done
        while position < target:
            began_any = bool(unkept) or self.done > self.replayed
            if (began_any and self._offset is None and self.work.is_over_budget()) or self.work.must_stop():
                break
            outcome = self._step(position, accumulator)
            if isinstance(outcome, Failure):
                return position, outcome
            if outcome is None:
                return None
            accumulator = self._passed_on(outcome.value)
            unkept.append(outcome)
            position += 1
            if keep_each or position == target or self._is_worthwhile():
                failure = self._keep(position, accumulator, unkept)
                if failure is not None:
                    return position - 1, failure
                unkept = []
        if unkept:
            failure = self._keep(position, accumulator, unkept)
            if failure is not None:
                return position - 1, failure
        return None

    def _copy(self) -> Any:
        """A copy of the last accumulator that is kept."""
        if self._kept is not None:
            return self._rebuilt(decode(self._kept.codec, self._kept.data, resolver=self.work.resolver))
        spans = self.found.spans if self.found is not None else (self._start,) if self._start is not None else None
        if spans is None:
            return _FRESH
        (value,) = self.work.store.read(spans, self.work.resolver)
        return self._rebuilt(value)

    def _rebuilt(self, accumulator: Any) -> Any:
        """What is kept as JSON, as the record that it was."""
        assert self.work.loaded is not None
        if self.work.call.output_encoder != "json":
            return accumulator
        build = record_builder(self.work.loaded.function.options.accumulate)
        return accumulator if build is None or not isinstance(accumulator, dict) else build(accumulator)

    def _passed_on(self, accumulator: Any) -> Any:
        """What the next step is given: the same in this batch as in another one, which reads it from the store."""
        if self.work.call.output_encoder != "json":
            return accumulator
        try:
            return self._rebuilt(through_json(accumulator))
        except SerializationError:
            return accumulator  # keeping it says what is wrong

    def _step(self, position: int, accumulator: Any) -> Returned | Failure | None:
        work, where = self.work, self._where(position)
        assert work.batch.fold is not None
        place = self._elements[position]
        element, arguments, failure = work.given(where, place, binds=not work.batch.fold.combines)
        if arguments is None:
            assert failure is not None
            return failure
        assert work.loaded is not None
        if work.batch.fold.combines and accumulator is _FRESH:
            # A merge starts from its first part: T() is in each of them already.
            return Returned(self._rebuilt(element), None, 0.0)
        make = self._call(accumulator, element, arguments)
        if work.loaded.is_async and not work.batch.fold.combines:
            return called_here(work, where, element, make)
        return work.caller.call(where, element, make)

    def _call(self, accumulator: Any, element: Any, arguments: Any) -> Make:
        work = self.work
        assert work.loaded is not None
        assert work.batch.fold is not None
        combines = work.batch.fold.combines
        options, (args, kwargs) = work.loaded.function.options, arguments
        start, merge = options.accumulate, options.combine
        assert start is not None

        def begun() -> Any:
            return start() if accumulator is _FRESH else accumulator

        def checked(result: Any) -> Any:
            if result is None:
                raise UsageError(
                    f"reducer {work.call.node!r} returned None. A reducer returns the new accumulator, also when it "
                    "has changed the old one in place: end it with a return."
                )
            return result

        async def make_async(target: Callable[..., Any], lead: tuple[Any, ...]) -> Any:
            return checked(await target(*lead, begun(), *args, **kwargs))

        def make(target: Callable[..., Any], lead: tuple[Any, ...]) -> Any:
            if combines:
                assert merge is not None
                return checked(merge(accumulator, self._rebuilt(element)))
            return checked(target(*lead, begun(), *args, **kwargs))

        return make_async if work.loaded.is_async and not combines else make

    def _where(self, position: int) -> int:
        return position if self._offset is None else self._offset

    def _is_worthwhile(self) -> bool:
        return self._is_small or time.monotonic() - self._kept_at >= PATIENCE * self._keep_cost_s

    def _keep(self, position: int, accumulator: Any, steps: list[Returned]) -> Failure | None:
        """Give the accumulator after ``position`` elements to the writer, or say why it can't be stored."""
        work, began = self.work, time.monotonic()
        where, key = self._where(position - 1), self.names[position - 1]
        try:
            encoded = work.returns.encoded(accumulator).detached()
        except Exception as error:
            return work.caller.failure(where, accumulator, error)
        together = _together(steps, self._told)
        # Accumulators with effects all stay: those before the last hold what their own steps did. So do those that
        # somebody may want again: a fold that is asked for before all its elements are there begins with fewer.
        supersedes = self._kept_key if together.effects is None else None
        work.add(where, key, Prepared(BARE, (encoded,)), together, supersedes=supersedes, settles=False)
        self._kept, self._kept_key = encoded, None
        self.done, self.found = position, None
        self._is_small = encoded.size_bytes <= SMALL_BYTES
        self._kept_at = time.monotonic()
        self._keep_cost_s = self._kept_at - began
        is_cheap = encoded.size_bytes > TINY_BYTES and together.duration_s < PATIENCE * self._keep_cost_s
        if together.effects is None and (is_cheap or self._offset is not None):
            self._kept_key = key
        return None


def _together(steps: list[Returned], told: dict[str, str | None]) -> Returned:
    """Several steps as one; ``told`` takes in what they were told of the run."""
    effects = Effects()
    for step in steps:
        if step.effects is not None:
            effects.add(Effects.unpacked(step.effects))
    told.update(effects.told)
    effects.told.update(told)
    return Returned(None, effects.packed(), sum(step.duration_s for step in steps))


class _Fresh:
    """Stands for an accumulator that is still to be made."""


_FRESH = _Fresh()
