"""The sum of a run's events: each node's state, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tensorlake_nb.core.batches.positions import END, Address, Slice
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.planning.events import ElementFailed
from tensorlake_nb.core.planning.node_state import Cursor, NodeState, given
from tensorlake_nb.core.planning.timing import Bars

#: How a run stands: ``interrupted`` when whoever drove it is gone and hasn't recorded an end.
RunStatus: TypeAlias = Literal["running", "succeeded", "failed", "cancelled", "interrupted"]

#: Where the start node's only element, the run's inputs, comes from.
INPUTS: Address = (0,)

#: The assumed duration of an unmeasured element (s), as in Dask.
UNKNOWN_S = 0.5


@dataclass(frozen=True, slots=True)
class Outlook:
    """The known facts about the rest of a node's stream; see the `RunState` methods of the same names."""

    has_ended: bool
    is_whole: bool
    frontier: Address


def _look(node: NodeState, parents: list[Outlook]) -> Outlook:
    if node.sealed:
        return Outlook(True, True, END)
    parents_ended = all(parent.has_ended for parent in parents)
    inputs_whole = all(parent.is_whole for parent in parents)
    if node.plan.kind == "fold":
        # A fold ends by being sealed; else by a failure of its own, or above it.
        return Outlook(bool(node.failures) or (parents_ended and not inputs_whole and node.is_quiet), False, ())
    # An end is for good, and never before the parents': cursors below have moved on, and folds take an end of what
    # isn't whole for a failure. So looking the whole stream up and recording it count as no work.
    input_ended = parents_ended and (node.plan.gather is None or node.gathered_all)
    has_ended = input_ended and not (node.open or node.under_way or node.probing or node.gathering)
    frontier = min(node.open.lowest(), node.barrier)
    if node.plan.gather is not None:
        frontier = frontier if node.gathered_all else min(frontier, (0, node.gathered))
    else:
        above = [(index, *parent.frontier) for index, parent in enumerate(parents) if parent.frontier != END]
        frontier = min([frontier, *above])
    return Outlook(has_ended, has_ended and inputs_whole and not node.failures, frontier)


@dataclass(slots=True)
class RunState:
    """The state of one run; ``status`` is ``None`` until it has ended."""

    plan: Plan
    nodes: dict[str, NodeState]
    run_id: str = ""
    slots: int = 1
    slots_known: bool = False
    batches: int = 0
    node_of: dict[int, str] = field(default_factory=dict)
    stopping: Literal["cancelled", "failed"] | None = None
    halted: bool = False
    error: str | None = None
    status: Literal["succeeded", "failed", "cancelled"] | None = None
    started_at: float = 0.0
    ended_at: float | None = None
    damage: list[str] = field(default_factory=list)
    owner: Mapping[str, str | int | float] = field(default_factory=dict)
    bars: Bars = field(default_factory=Bars)
    #: Derived from the rest when first asked for, forgotten with every event.
    outlook: dict[str, Outlook] | None = None

    @classmethod
    def fresh(cls, plan: Plan) -> RunState:
        return cls(plan, {name: NodeState(node) for name, node in plan.nodes.items()})

    @property
    def is_quiet(self) -> bool:
        """Nothing is being done anywhere."""
        return all(node.is_quiet for node in self.nodes.values())

    @property
    def failures(self) -> list[ElementFailed]:
        return [failure for node in self.nodes.values() for failure in node.failures]

    @property
    def awaits_cluster(self) -> bool:
        """Something was handed over, and the cluster hasn't said yet that it is there."""
        return not self.slots_known and any(node.under_way for node in self.nodes.values())

    @property
    def backlog(self) -> tuple[float, int]:
        """The backlog that could be handed over at once: seconds of one worker's thread, and elements."""
        if self.stopping is not None or self.status is not None:
            return 0.0, 0
        waiting = [(node.n_ready, node.pace_s) for node in self.nodes.values() if node.plan.kind == "map"]
        return sum(n * (UNKNOWN_S if pace is None else pace) for n, pace in waiting), sum(n for n, _ in waiting)

    def next_due(self, now: float) -> float | None:
        """When the next delayed retry, or look-up, may begin; those that may begin already wait for something else."""
        dues = [due for node in self.nodes.values() if (due := node.next_due(now)) is not None]
        return min(dues, default=None)

    @property
    def is_delayed(self) -> bool:
        """Some retry is still to come, or some element that another run has claimed."""
        return any(node.delayed or node.held or node.fold_due is not None for node in self.nodes.values())

    def has_ended(self, name: str) -> bool:
        """Return True if a node gives nothing more: it is finished, or its missing elements failed or depend on a
        failure.
        """
        return self._outlook()[name].has_ended

    def is_whole(self, name: str) -> bool:
        """Return True if a node has ended and nothing of its stream is missing."""
        return self._outlook()[name].is_whole

    def frontier(self, name: str) -> Address:
        """Everything in a node's stream below this address is final."""
        return self._outlook()[name].frontier

    def parents_ended(self, node: NodeState) -> bool:
        return all(self.has_ended(port.parent) for port in node.plan.ports)

    def inputs_whole(self, node: NodeState) -> bool:
        return all(self.is_whole(port.parent) for port in node.plan.ports)

    def input_ended(self, node: NodeState) -> bool:
        """No further element will arrive at a node."""
        return node.gathered_all if node.plan.gather is not None else self.parents_ended(node)

    def _outlook(self) -> dict[str, Outlook]:
        if self.outlook is None:
            self.outlook = {}
            for name, node in self.nodes.items():  # parents come first
                self.outlook[name] = _look(node, [self.outlook[port.parent] for port in node.plan.ports])
        return self.outlook

    def upstream(self, node: NodeState, cursor: Cursor, limit: int) -> tuple[tuple[Slice, ...], bool]:
        """Return the next final elements of a node's input streams, in order, and True if no others are left."""
        if not node.plan.ports:
            return ((Slice(INPUTS, 0, 1),) if cursor.offset == 0 else ()), True
        found: list[Slice] = []
        port, index, offset = cursor.port, cursor.index, cursor.offset
        while port < len(node.plan.ports):
            edge = node.plan.ports[port]
            parent = self.nodes[edge.parent]
            final = parent.chunks.below(self.frontier(edge.parent))
            while index < final:
                chunk = parent.chunks.at(index)
                size = given(chunk, edge) - offset
                if size > limit:
                    found.append(Slice((port, *chunk.address), offset, offset + limit))
                    return tuple(found), False
                if size > 0:
                    found.append(Slice((port, *chunk.address), offset, offset + size))
                    limit -= size
                index, offset = index + 1, 0
            if not self.has_ended(edge.parent):
                return tuple(found), False
            port, index = port + 1, 0
        return tuple(found), True
