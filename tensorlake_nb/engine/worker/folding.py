"""Folds: ``f(accumulator, element)`` in order, the accumulator kept as it grows.

A fold's accumulator is named by the elements so far (`fold_next`), so whoever folds the same elements finds it again.
After a failure the fold stands where the last good step left it, whatever the failed one has changed in place.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.core.batches.receipt import Piece
from tensorlake_nb.core.keys import Digest, TaskKey, fold_next, one_by_one, task_key
from tensorlake_nb.engine.calls.caller import Returned
from tensorlake_nb.engine.calls.loaded import forget_listed
from tensorlake_nb.engine.worker.fold_steps import Steps
from tensorlake_nb.engine.worker.node_work import Did, NodeWork
from tensorlake_nb.engine.worker.settling import Settling
from tensorlake_nb.store.format.outcomes import Entry


def fold(work: NodeWork) -> Did:
    """Fold a batch: one fold over all its elements, or one for each group of them."""
    plan = work.batch.fold
    assert plan is not None
    if plan.is_shared:
        forget_listed(work.batch.run_id, work.call.fingerprint)
    if plan.groups is not None:
        return _fold_groups(work, plan.rolling, plan.groups)
    if work.size or plan.accumulator is not None:
        names = _names(work, plan.rolling, one_by_one(work.given_digests))
        steps = Steps(work, names, range(work.size), plan.accumulator, worth_s=plan.worth_s)
        steps.run(looks_ahead=plan.has_more)
        return _did(work, steps)
    return _start_only(work, task_key(work.call.fingerprint, plan.rolling))


def _fold_groups(work: NodeWork, rolling: Digest, sizes: tuple[int, ...]) -> Did:
    """Fold each group from a fresh start; a group is an element, and its last accumulator the output."""
    settling = Settling(work)
    bounds = list(pairwise(accumulate(sizes, initial=0)))
    for offset in settling.unsettled():
        elements = range(*bounds[offset])
        digests = work.store.digests(work.inputs.spans(elements.start, elements.stop))
        start = fold_next(rolling, Digest(work.keys[offset])) if work.call.by_place else rolling
        names = [*_names(work, start, one_by_one(digests))[:-1], work.keys[offset]]
        steps = Steps(work, names, elements, None, offset)
        steps.run()
        settling.note(offset, *steps.effects.get(offset, ()))
        if steps.failure is not None:
            settling.failures[offset] = steps.failure
        elif steps.done == len(names):
            settling.computed.add(offset)
    return settling.did()


def _start_only(work: NodeWork, key: TaskKey) -> Did:
    """Return the fold's start for an empty stream."""
    outcome = next((found for _, found in work.look_up([key])), None)
    if outcome is not None:
        return Did(0, [Piece(0, 0, outcome.outputs, 0, 1)])
    assert work.loaded is not None
    start = work.loaded.function.options.accumulate
    assert start is not None
    called = work.caller.call(0, None, lambda target, lead: start())
    if isinstance(called, Returned):
        try:
            entry = Entry(key, BARE, (work.returns.encoded(called.value),))
        except Exception as error:
            called = work.caller.failure(0, None, error)
        else:
            work.add(entry, called)
            work.writer.flush()
            return Did(0, [Piece(0, 0, work.writer.locate(key).outputs, 1, 0)])
    return Did(0, failures={} if called is None else {0: called})


def _did(work: NodeWork, steps: Steps) -> Did:
    """One piece for all elements that are folded: it gives the accumulator."""
    work.writer.flush()
    pieces = []
    if steps.done:
        outcome = steps.found or work.writer.locate(steps.names[steps.done - 1])
        pieces = [Piece(0, steps.done, outcome.outputs, steps.done - steps.replayed, steps.replayed)]
    failures = {} if steps.failure is None else {steps.done: steps.failure}
    return Did(steps.done + len(failures), pieces, failures, steps.effects, steps.worth_s, steps.keeping_s)


def _names(work: NodeWork, rolling: Digest, elements: list[Digest]) -> list[TaskKey]:
    return [
        task_key(work.call.fingerprint, digest) for digest in list(accumulate(elements, fold_next, initial=rolling))[1:]
    ]
