"""Say what to do now, given all that has happened: a pure step from a run's state to instructions.

The planner has no clock, no store and no cluster. It reads the state and the time that it is given, and asks for
nothing that is under way or settled, because each instruction is folded into the state before it is performed.
"""

from __future__ import annotations

from collections.abc import Iterator

from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.graphs.plan import FAN_IN
from tensorlake_nb.core.planning import batch_sizes
from tensorlake_nb.core.planning.instructions import End, Gather, Halt, Instruction, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState

_EVERYTHING = 2**62


def next_instructions(state: RunState, now: float) -> tuple[Instruction, ...]:
    """Return the instructions for the shell at time ``now`` (s), in order.

    Nodes nearer to the end come first, so that reducers keep up with what feeds them.
    """
    if state.status is not None:
        return ()
    if state.stopping is not None:
        return _stop(state)
    numbers = iter(range(state.batches, _EVERYTHING))
    wanted = tuple(
        instruction for node in reversed(state.nodes.values()) for instruction in _at_node(state, node, now, numbers)
    )
    if wanted or not state.is_quiet or state.is_delayed:
        return wanted
    stuck = [name for name in state.nodes if not state.has_ended(name)]
    if stuck:
        return (End("failed", f"internal error: nothing is left to do, but {', '.join(stuck)} did not end"),)
    return (End("failed" if state.failures else "succeeded"),)


def _stop(state: RunState) -> tuple[Instruction, ...]:
    assert state.stopping is not None
    if not state.halted:
        return (Halt(state.stopping),)
    return (End(state.stopping),) if state.is_quiet else ()


def _at_node(state: RunState, node: NodeState, now: float, numbers: Iterator[int]) -> Iterator[Instruction]:
    if node.sealed or node.sealing:
        return
    if node.probing is None:
        whole = not node.began and not node.asked_whole
        if whole and state.parents_ended(node) and state.inputs_whole(node):
            yield Probe(node.plan.name, ())
            return
        wanted = node.to_probe(now)
        if wanted:
            yield Probe(node.plan.name, wanted)
    elif node.asked_whole and not node.probing:
        return  # the answer about the whole stream decides what comes next
    if node.plan.kind == "fold":
        yield from _fold(state, node, now, numbers)
        return
    if node.plan.gather is not None:
        yield from _gather(state, node)
    yield from _submit(state, node, now, numbers)
    if state.is_whole(node.plan.name):
        yield Seal(node.plan.name)


def _submit(state: RunState, node: NodeState, now: float, numbers: Iterator[int]) -> Iterator[Submit]:
    plan = node.plan
    room = batch_sizes.window(state.slots)
    if plan.limit is not None:
        room = min(room, plan.limit)
    room -= len(node.under_way)
    attempts = plan.retries.max_attempts
    budget_s = batch_sizes.budget_s(state.slots, node.pace_s)
    for piece in tuple(node.suspects)[:1]:  # alone, so that a poison element shows itself
        if room > 0:
            room -= 1
            yield Submit(
                next(numbers), plan.name, (piece,), piece.attempt, piece.attempt >= attempts, budget_s, (), plan.depth
            )
    for due, _, piece in node.delayed:
        if room <= 0:
            return
        if due > now:
            break
        room -= 1
        yield Submit(
            next(numbers), plan.name, (piece,), piece.attempt, piece.attempt >= attempts, budget_s, (), plan.depth
        )
    taken = 0
    while room > 0 and taken < node.n_ready:
        left = node.n_ready - taken
        size = 1 if plan.lone else batch_sizes.batch_size(left, state.slots, node.pace_s, plan.concurrency)
        slices = node.peek_ready(taken, size)
        taken += sum(piece.size for piece in slices)
        room -= 1
        chain = plan.chain if node.n_arrived == 1 and state.input_ended(node) else ()
        yield Submit(next(numbers), plan.name, slices, 1, attempts == 1, budget_s, chain, plan.depth)


def _fold(state: RunState, node: NodeState, now: float, numbers: Iterator[int]) -> Iterator[Instruction]:
    if node.under_way or node.probing is not None or state.has_ended(node.plan.name):
        return
    if node.fold_due is not None and node.fold_due > now:
        return
    size = batch_sizes.fold_size(node.pace_s, node.fold_worth_s, node.folded)
    slices, is_all = state.upstream(node, node.cursor, size)
    if is_all and not slices and not state.inputs_whole(node):
        return
    available = sum(piece.size for piece in slices)
    if not is_all and available < size and not batch_sizes.is_worth_folding(available, node.pace_s, node.fold_worth_s):
        return  # more is to come: keeping a large accumulator for these few isn't worth it
    if slices or (is_all and node.accumulator is None):
        attempt = node.fold_attempt
        final = attempt >= node.plan.retries.max_attempts
        yield Submit(
            next(numbers),
            node.plan.name,
            slices,
            attempt,
            final,
            batch_sizes.fold_budget_s(node.fold_worth_s),
            (),
            node.plan.depth,
            node.accumulator,
            node.folded,
            node.fold_worth_s,
            not is_all and available == size,
        )
    elif is_all:
        yield Seal(node.plan.name)


def _gather(state: RunState, node: NodeState) -> Iterator[Gather]:
    if node.gathering or node.gathered_all or node.probing is not None:
        return
    if node.plan.gather == "join" and not state.parents_ended(node):
        return
    slices, is_all = state.upstream(node, node.cursor, _EVERYTHING)
    if not is_all and node.plan.gather == "group":
        slices = _full_groups(slices)
        if not slices:
            return
    yield Gather(node.plan.name, slices, is_all)


def _full_groups(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    size = sum(piece.size for piece in slices)
    left = size - size % FAN_IN
    kept: list[Slice] = []
    for piece in slices:
        if left <= 0:
            break
        kept.append(piece.cut(0, min(left, piece.size)))
        left -= kept[-1].size
    return tuple(kept)
