"""Fold events into a run's state.

`evolve` is the only way in which a `RunState` changes, so a run is replayed, tested and shown by folding its
events. It changes the state in place: a run of a million elements has thousands of events.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.graphs.plan import PlanNode
from tensorlake_nb.core.planning import events as ev
from tensorlake_nb.core.planning.events import Chunk, ElementFailed, Event
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import INPUTS, RunState
from tensorlake_nb.core.planning.timing import Bar, Bars, Outcome, Pace
from tensorlake_nb.core.planning.travelling import advance, land, wake_twins


def evolve(state: RunState, event: Event) -> None:
    """Fold one event into the state."""
    _evolve(state, event)
    state.outlook = None


def _evolve(state: RunState, event: Event) -> None:
    match event:
        case ev.RunStarted():
            _start(state, event)
        case ev.SlotsKnown(slots):
            state.slots, state.slots_known = slots, True
        case ev.ProbeBegun(name, slices):
            node = state.nodes[name]
            node.began = node.began or bool(slices)
            node.asked_whole = node.asked_whole or not slices
            if slices:
                node.probe(slices)
            else:
                node.probing = ()
        case ev.StreamReplayed():
            _replay_stream(state, state.nodes[event.node], event)
        case ev.Probed():
            _probed(state, event)
        case ev.GatherBegun(name, slices, is_last):
            node = state.nodes[name]
            node.gathering, node.began = True, True
            advance(state, node, sum(piece.size for piece in slices))
            node.gathered_all = is_last
        case ev.Gathered(name, number, n_rows, error):
            node = state.nodes[name]
            node.gathering, node.gathered = False, number + 1
            if error is not None:
                whole = Slice((0, number), 0, 1)
                _fail_for_good(state, node, ElementFailed(whole, FailureKind.USAGE, error, "its joined streams"))
            elif n_rows:
                node.arrive(Slice((0, number), 0, n_rows))
        case ev.BatchSubmitted():
            _submitted(state, event)
        case ev.BatchStarted(number, worker, at):
            node = state.nodes[state.node_of[number]]
            if number in node.under_way:
                node.workers[number] = worker
                node.timing.start(number, at)
        case ev.ProgressMade(number, current, total):
            node = state.nodes[state.node_of[number]]
            if number in node.under_way:
                node.progress[number] = (current, total)
        case ev.PartArrived(number, chunk, part):
            _part_arrived(state, number, chunk, part)
        case ev.BatchEnded():
            _ended(state, event)
        case ev.BatchLost():
            _lost(state, event)
        case ev.BatchHeld():
            _held(state, event)
        case ev.SealBegun(name):
            state.nodes[name].sealing = True
        case ev.Sealed(name, chunk):
            node = state.nodes[name]
            node.sealing, node.sealed = False, True
            if chunk is not None:
                land(state, node, chunk)
        case ev.StopRequested(reason, error):
            state.stopping = state.stopping or reason
            state.error = state.error or error
            state.halted = True
        case ev.DamageFound(reason):
            state.damage.append(reason)
        case ev.RunEnded(status, at, error):
            state.status, state.ended_at = status, at
            state.error = state.error or error


def _start(state: RunState, event: ev.RunStarted) -> None:
    fresh = RunState.fresh(state.plan)
    state.nodes, state.run_id, state.node_of = fresh.nodes, event.run_id, {}
    state.owner = event.owner
    state.stopping, state.halted, state.error, state.status, state.ended_at = None, False, None, None, None
    if not event.resumed:
        state.started_at, state.damage, state.bars = event.at, [], Bars()
    # Batch numbers go on rising: a batch of before may still be at work on a worker under its own number.
    start = state.nodes[state.plan.start]
    if start.plan.kind == "map":  # a fold asks for what it takes
        start.arrive(Slice(INPUTS, 0, 1))


def _replay_stream(state: RunState, node: NodeState, event: ev.StreamReplayed) -> None:
    for piece in node.arrived:
        node.open.discard(piece.order)
    node.arrived.clear()
    node.probing = None
    node.sealed, node.gathered_all = True, True
    node.seconds_saved, node.saved_by = event.seconds_saved, event.saved_by
    node.add_metrics(event.timers, event.counters)
    land(state, node, event.chunk)


def _probed(state: RunState, event: ev.Probed) -> None:
    node = state.nodes[event.node]
    node.add_metrics(event.timers, event.counters)
    for piece in node.probing or ():
        node.open.discard(piece.order)
    node.probing = None
    for piece in event.missing:
        node.open.add(piece.order)
        if piece.attempt == 1:
            node.make_ready(piece)
        else:
            node.delay(0.0, piece)
    for piece, twin in event.twins:
        node.open.add(piece.order)
        node.twins.setdefault(twin[:-1], {}).setdefault(twin[-1], []).append(piece)
    for chunk in event.chunks:
        land(state, node, chunk)


def _submitted(state: RunState, event: ev.BatchSubmitted) -> None:
    node = state.nodes[event.node]
    state.batches = max(state.batches, event.number + 1)
    state.node_of[event.number] = event.node
    node.under_way[event.number] = event.slices
    node.began = True
    size = sum(piece.size for piece in event.slices)
    node.timing.submit(event.number, event.at, event.attempt, size)
    if node.plan.kind == "fold":
        node.fold_due = None
        return
    if event.attempt == 1 and event.slices and not _take_suspect(node, event.slices):
        node.take_ready(event.slices)
    elif event.attempt > 1 and not _take_suspect(node, event.slices):
        for piece in event.slices:
            node.take_delayed(piece)


def _take_suspect(node: NodeState, slices: tuple[Slice, ...]) -> bool:
    if node.suspects and slices == (node.suspects[0],):
        node.suspects.popleft()
        return True
    return False


def _part_arrived(state: RunState, number: int, chunk: Chunk, part: int) -> None:
    node = state.nodes[state.node_of[number]]
    if number not in node.under_way:
        return
    (piece,) = node.under_way[number]
    before = node.parts.get(number)
    # What follows this part is still open; the part itself is final.
    node.open.discard(piece.order if before is None else piece.address(before + 1))
    node.open.add(piece.address(part + 1))
    node.parts[number] = part
    land(state, node, chunk, is_settled=False)


def _ended(state: RunState, event: ev.BatchEnded) -> None:
    node = state.nodes[state.node_of[event.number]]
    worker = event.worker or node.workers.get(event.number, "")
    slices = _come_back(node, event.number)
    if slices is None:
        return
    _time(state, node, event, worker)
    _pace(node, event, slices)
    first, *others = event.outcomes
    _note(node, first)
    if node.plan.kind == "fold":
        _folded(state, node, event, first, slices)
        return
    for chunk in first.chunks:  # what a generator gave before it failed is no outcome for its twins
        land(state, node, chunk, is_settled=not (node.plan.lone and (first.failures or event.returned)))
    _failed(state, node, first.failures, event.at)
    for piece in reversed(event.returned):
        _return(node, piece)
    for outcome in others:
        after = state.nodes[outcome.node]
        if not outcome.chunks and not outcome.failures:
            continue
        for piece in after.arrived:
            after.open.discard(piece.order)
        after.arrived.clear()
        after.began = True
        _note(after, outcome)
        for chunk in outcome.chunks:
            land(state, after, chunk)
        _failed(state, after, outcome.failures, event.at)


def _time(state: RunState, node: NodeState, event: ev.BatchEnded, worker: str) -> None:
    """Keep when a batch ran; what it carried through a chain of nodes, one after the other."""
    lasted_s = max(event.ended_at - event.started_at, 0.0)
    submitted_at, started_at, attempt = node.timing.end(event.number, event.at, lasted_s)
    for outcome in event.outcomes:
        at = state.nodes[outcome.node]
        computed = sum(chunk.computed for chunk in outcome.chunks)
        for chunk in outcome.chunks:
            if chunk.computed:
                at.timing.paces[chunk.address] = Pace(outcome.seconds / computed, attempt, worker)
        at.timing.settle(event.at, computed + len(outcome.failures))
        is_last = outcome is event.outcomes[-1]
        ended_at = event.at if is_last else min(started_at + outcome.seconds, event.at)
        if at is not node:
            at.timing.spent(started_at, ended_at)
        if computed or outcome.failures:
            ending: Outcome = "failed" if outcome.failures else "computed"
            elements = computed + len(outcome.failures)
            name = at.plan.of
            state.bars.add(Bar(name, worker, submitted_at, started_at, ended_at, elements, attempt, ending))
        submitted_at = started_at = ended_at


def _pace(node: NodeState, event: ev.BatchEnded, slices: tuple[Slice, ...]) -> None:
    """Learn how long elements take, from batches of this node alone."""
    if node.plan.kind == "fold":
        ended = event.done
    else:
        ended = sum(piece.size for piece in slices) - sum(piece.size for piece in event.returned)
    if ended > 0 and len(event.outcomes) == 1 and event.ended_at > event.started_at:
        node.batch_s += max(event.ended_at - event.started_at - event.keeping_s, 0.0)
        node.batch_elements += ended


def _come_back(node: NodeState, number: int) -> tuple[Slice, ...] | None:
    slices = node.under_way.pop(number, None)
    node.progress.pop(number, None)
    node.workers.pop(number, None)
    part = node.parts.pop(number, None)
    if slices is not None and node.plan.kind != "fold":
        for piece in slices:
            node.open.discard(piece.order if part is None else piece.address(part + 1))
    return slices


def _return(node: NodeState, piece: Slice) -> None:
    node.open.add(piece.order)
    if piece.attempt == 1:
        node.make_ready(piece, first=True)
    else:
        node.delay(0.0, piece)


def _folded(
    state: RunState, node: NodeState, event: ev.BatchEnded, outcome: ev.NodeOutcome, slices: tuple[Slice, ...]
) -> None:
    for chunk in outcome.chunks:
        node.accumulator = chunk.spans[-1] if chunk.spans else node.accumulator
        node.computed += chunk.computed
        node.replayed += chunk.replayed
    first = node.folded
    advance(state, node, event.done)
    node.folded += event.done
    if outcome.chunks:
        node.fold_worth_s = event.worth_s
    if node.folded > node.fold_failed_at:
        node.fold_attempt = 1
    for failure in outcome.failures:
        failed_at = first + _offset_in(slices, failure.slice)
        node.fold_attempt = node.fold_attempt if failed_at == node.fold_failed_at else 1
        node.fold_failed_at = failed_at
        _fail_fold(state, node, failure, event.at)


def _offset_in(slices: tuple[Slice, ...], one: Slice) -> int:
    """Return the number of elements of some slices before one of theirs."""
    offset = 0
    for piece in slices:
        if piece.source == one.source and piece.start <= one.start < piece.stop:
            return offset + one.start - piece.start
        offset += piece.size
    return 0


def _fail_fold(state: RunState, node: NodeState, failure: ElementFailed, at: float) -> None:
    retries = node.plan.retries
    if failure.kind.retryable and node.fold_attempt < retries.max_attempts:
        node.fold_attempt += 1
        node.fold_due = at + _delay(state, node.plan, failure.slice, node.fold_attempt)
    else:
        _fail_for_good(state, node, failure)


def _lost(state: RunState, event: ev.BatchLost) -> None:
    node = state.nodes[state.node_of[event.number]]
    worker = node.workers.get(event.number, "")
    slices = _come_back(node, event.number)
    if slices is None:
        return
    submitted_at, started_at, attempt = node.timing.end(event.number, event.at, 0.0)
    size = sum(piece.size for piece in slices)
    state.bars.add(Bar(node.plan.of, worker, submitted_at, started_at, event.at, size, attempt, "lost"))
    if node.plan.kind == "fold":
        for failure in event.suspects[:1]:
            _fail_fold(state, node, failure, event.at)
        return
    node.add_metrics(event.timers, event.counters)
    node.notes.update(event.notes)
    for chunk in event.chunks:
        land(state, node, chunk)
    if len(event.suspects) == 1:
        _failed(state, node, event.suspects, event.at)
    else:
        for failure in event.suspects:
            node.open.add(failure.slice.order)
            node.suspects.append(failure.slice)
    for piece in reversed(event.returned):
        _return(node, piece)


def _held(state: RunState, event: ev.BatchHeld) -> None:
    node = state.nodes[state.node_of[event.number]]
    if _come_back(node, event.number) is None:
        return
    node.timing.withdraw(event.number)
    for run_id in event.by:
        node.notes.add(f"shared with run {run_id}, which computes the same at the same time")
    if node.plan.kind == "fold":
        node.fold_due = event.until
        return
    for piece in event.held:
        node.open.add(piece.order)
        node.hold(event.until, piece)
    for piece in reversed(event.free):
        _return(node, piece)


def _failed(state: RunState, node: NodeState, failures: Iterable[ElementFailed], at: float) -> None:
    for failure in failures:
        piece = failure.slice
        if node.plan.tries_again(failure.kind, piece.attempt):
            again = Slice(piece.source, piece.start, piece.stop, piece.attempt + 1)
            due = at + _delay(state, node.plan, again, again.attempt)
            node.open.add(again.order)
            node.delay(due, again)
        else:
            _fail_for_good(state, node, failure)


def _fail_for_good(state: RunState, node: NodeState, failure: ElementFailed) -> None:
    node.failures.append(failure)
    node.barrier = min(node.barrier, failure.slice.order)
    wake_twins(node, failure.slice.source, failure.slice.start, failure.slice.stop)
    if state.plan.stops_on_failure or failure.kind is FailureKind.REQUEST:
        state.stopping = state.stopping or "failed"


def _delay(state: RunState, plan: PlanNode, piece: Slice, attempt: int) -> float:
    # Jitter has to be the same whenever the same events are folded, so it is drawn from a hash of what it is for.
    draw = zlib.crc32(repr((state.run_id, plan.name, piece.order, attempt)).encode()) / 2**32
    return plan.retries.delay_before(attempt, draw)


def _note(node: NodeState, outcome: ev.NodeOutcome) -> None:
    node.seconds += outcome.seconds
    node.logs.extend(outcome.logs)
    node.notes.update(outcome.notes)
    node.add_metrics(outcome.timers, outcome.counters)
