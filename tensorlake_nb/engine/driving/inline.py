"""Drive a plan in this thread, batch after batch: what a Dask task of `Graph.to_dask` does, and many tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tensorlake_nb.core.batches.batch import Batch, Receipt
from tensorlake_nb.core.planning.events import Event, RunStarted
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.instructions import End, Gather, Halt, Probe, Seal, Submit
from tensorlake_nb.core.planning.planner import next_instructions
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.worker.execute import run_batch


def begin(state: RunState, desk: Desk) -> None:
    """Begin a run that is to be driven here."""
    evolve(state, RunStarted(desk.run_id, time.time()))


def drive_inline(
    state: RunState,
    desk: Desk,
    *,
    compute: Callable[[Batch], Sequence[Receipt]] = run_batch,
    until: Callable[[RunState], bool] = lambda state: False,
    on_event: Callable[[Event], None] = lambda event: None,
) -> None:
    """Drive a run that has begun to its end, or until a condition holds; delayed retries are waited for."""

    def apply(event: Event) -> None:
        on_event(event)
        evolve(state, event)

    while state.status is None and not until(state):
        instructions = next_instructions(state, time.time())
        for instruction in instructions:
            apply(instruction.event(time.time()))
        for instruction in instructions:
            match instruction:
                case Probe():
                    apply(desk.probe(instruction))
                case Gather():
                    apply(desk.gather(instruction))
                case Seal():
                    apply(desk.seal(instruction, state.nodes[instruction.node]))
                case Submit():
                    receipts = compute(desk.batch(instruction))
                    apply(desk.settle(instruction.number, receipts, time.time()))
                case Halt() | End():
                    pass
        due = state.next_due(time.time())
        if not instructions and due is not None:
            time.sleep(max(due - time.time(), 0))
