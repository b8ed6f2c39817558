"""Forecast what a run would replay and compute, and its time, without computing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.planning.events import RunStarted
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.turn import Turn
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.inline import AtDesk
from tensorlake_nb.errors import DAMAGED

T = TypeVar("T")

#: How often looking begins anew when it comes upon something damaged or gone.
_MOST_LOOKS = 20


@dataclass(frozen=True, slots=True)
class NodeForecast:
    """The forecast for a node.

    Attributes
    ----------
    replayed, to_compute
        Elements known now.
    is_open
        More may come, depending on what is computed before it.
    seconds
        Compute that ``to_compute`` would take, from the last run that has the node; ``None`` without one.
    note
        Why later runs don't replay what it gives, if they don't.
    """

    replayed: int
    to_compute: int
    is_open: bool
    seconds: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of a run, per node; ``str()`` is a table."""

    graph: str
    nodes: Mapping[str, NodeForecast]

    @property
    def seconds(self) -> float | None:
        """Compute in all that is known of it (s), to be divided by the number of workers."""
        known = [node.seconds for node in self.nodes.values() if node.seconds is not None]
        return sum(known) if known else None

    def __str__(self) -> str:
        rows = [("function", "replayed", "to compute", "about")]
        for name, node in self.nodes.items():
            about = "" if node.seconds is None else _duration(node.seconds)
            to_compute = f"{node.to_compute}{' or more' if node.is_open else ''}"
            rows.append((name, str(node.replayed), to_compute, about))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip() for row in rows]
        return "\n".join([*lines, *(f"{name}: {node.note}" for name, node in self.nodes.items() if node.note)])

    __repr__ = __str__


def _duration(seconds: float) -> str:
    return "< 1 ms" if 0 < seconds < 0.001 else f"{seconds:.3g} s"


def forecast(
    plan: Plan, make_desk: Callable[[], Desk], means_s: Mapping[str, float], notes: Mapping[str, str]
) -> Forecast:
    """Follow the plan as far as it goes without computing anything.

    Parameters
    ----------
    means_s
        Seconds per element of nodes that ran before.
    notes
        Of nodes that later runs don't replay, why.
    """
    state = followed(plan, make_desk, lambda state, desk: state)
    nodes = {name: _of(state, node, means_s) for name, node in state.nodes.items() if not node.plan.is_virtual}
    return Forecast(plan.graph, {name: replace(node, note=notes.get(name, "")) for name, node in nodes.items()})


def followed(plan: Plan, make_desk: Callable[[], Desk], use: Callable[[RunState, Desk], T]) -> T:
    """Follow a run that hasn't begun as far as what is in the store takes it, and use what is known then.

    Outputs that are damaged, or were collected meanwhile, are put aside, and the rest is followed from the start.
    """
    for _ in range(_MOST_LOOKS - 1):
        with suppress(*DAMAGED):
            return use(*_follow(plan, make_desk()))
    return use(*_follow(plan, make_desk()))


def _follow(plan: Plan, desk: Desk) -> tuple[RunState, Desk]:
    state = RunState.fresh(plan)
    turn = Turn(state, AtDesk(desk))
    turn.fold(RunStarted(desk.run_id, time.time()))
    while turn.take(time.time()):
        pass
    return state, desk


def _of(state: RunState, node: NodeState, means_s: Mapping[str, float]) -> NodeForecast:
    leaves = state.nodes.get(f"{node.plan.name}~leaves")
    counted = leaves if leaves is not None and not node.sealed else node
    if counted.plan.kind == "fold":
        to_compute = counted.n_under_way
        if not counted.sealed and not to_compute and not counted.under_way:
            slices, _ = state.upstream(counted, counted.cursor, 2**62)
            to_compute = sum(piece.size for piece in slices)
    else:
        to_compute = 0 if counted.sealed else counted.n_arrived - counted.replayed
    mean_s = means_s.get(node.plan.name)
    is_open = not node.sealed and not (counted.plan.kind == "map" and state.input_ended(counted))
    if counted.plan.kind == "fold" and not counted.sealed:
        is_open = not state.parents_ended(counted)
    return NodeForecast(counted.replayed, to_compute, is_open, None if mean_s is None else mean_s * to_compute)
