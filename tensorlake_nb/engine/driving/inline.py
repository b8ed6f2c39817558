"""Drive a plan in this thread, batch after batch: what a Dask task of `Graph.to_dask` does, and many tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from tensorlake_nb.core.planning.events import Event, RunStarted
from tensorlake_nb.core.planning.instructions import Gather, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.turn import Performer, Turn
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.worker.execute import run_batch


class AtDesk(Performer):
    """Asks a desk in this thread, and computes nothing."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def probe(self, order: Probe) -> Event:
        return self.desk.probe(order)

    def gather(self, order: Gather) -> Event:
        return self.desk.gather(order)

    def seal(self, order: Seal, node: NodeState) -> Event:
        return self.desk.seal(order, node)


class _Inline(AtDesk):
    """Computes batches in this thread as well."""

    def submit(self, orders: Sequence[Submit]) -> Iterator[Event]:
        for order in orders:
            receipts = run_batch(self.desk.batch(order))
            yield self.desk.settle(order.number, receipts, time.time())


def drive_inline(
    state: RunState,
    desk: Desk,
    known: Iterable[Event] = (),
    *,
    until: Callable[[RunState], bool] = lambda state: False,
) -> None:
    """Drive a run to its end, or until a condition holds; delayed retries are waited for.

    Parameters
    ----------
    known
        Events to begin with.
    """
    turn = Turn(state, _Inline(desk))
    for event in (RunStarted(desk.run_id, time.time()), *known):
        turn.fold(event)
    while state.status is None and not until(state):
        instructions = turn.take(time.time())
        due = state.next_due(time.time())
        if not instructions and due is not None:
            time.sleep(max(due - time.time(), 0))
