"""The state of every node of a run for panels, in a size independent of its elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tensorlake_nb.core.planning import timing
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.engine.reports.counts import snapshot

_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class NodeStanding:
    """One node.

    Attributes
    ----------
    waiting, queued, running, computed, replayed, failed, cancelled
        Elements; of a reducer those that it folds. Queued ones were handed to the cluster and not begun.
    total
        All of them; ``None`` until no further one can arrive.
    seconds
        In calls, on all workers together.
    started_at, ended_at
        First begin and last end of a batch (s since the epoch); ``None`` where nothing was computed.
    queued_seconds
        The time that all batches together waited for a worker.
    rate, eta_seconds
        Elements per second lately, and how long the rest takes at that rate; ``None`` until several are finished.
    saved_seconds, saved_by
        Compute that a replay saved, and the run that had paid for it; 0 and empty where that isn't known.
    progress
        The latest report of a call.
    is_taken
        ``False``: the run is over and it received no input.
    """

    waiting: int
    queued: int
    running: int
    computed: int
    replayed: int
    failed: int
    cancelled: int
    total: int | None
    outputs: int
    seconds: float
    started_at: float | None
    ended_at: float | None
    queued_seconds: float
    retries: int
    rate: float | None
    eta_seconds: float | None
    saved_seconds: float
    saved_by: str
    progress: tuple[float, float] | None
    error: str | None
    notes: tuple[str, ...]
    is_taken: bool


def standings(
    state: RunState, now: float, notes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> dict[str, NodeStanding]:
    """Return the state of every node of the graph at a time (s since the epoch); ``notes`` are earlier notes."""
    counted = snapshot(state)
    return {
        name: _standing(state, state.nodes[name], counts, now, notes.get(name, ())) for name, counts in counted.items()
    }


def _standing(
    state: RunState, node: NodeState, counts: dict[str, int | None], now: float, known: tuple[str, ...]
) -> NodeStanding:
    parts = [state.nodes[name] for name in state.plan.parts_of(node.plan.name)]
    under_way = counts["running"] or 0
    begun = sum(
        piece.size for part in parts for number in part.workers for piece in part.under_way.get(number, ())
    )  # a batch of a fold has slices, too
    running = min(begun, under_way)
    computed, replayed = counts["computed"] or 0, counts["replayed"] or 0
    failed, waiting = counts["failed"] or 0, counts["pending"] or 0
    left = waiting + under_way
    rates = [rate for part in parts if (rate := part.timing.rate(now)) is not None]
    rate = max(rates, default=None) if left and state.status is None else None
    starts = [part.timing.first_at for part in parts if part.timing.first_at is not None]
    ends = [part.timing.last_at for part in parts if part.timing.last_at is not None]
    failures = [failure for part in parts for failure in part.failures]
    seen = computed + replayed + failed + left + (counts["cancelled"] or 0)
    return NodeStanding(
        waiting=waiting,
        queued=under_way - running,
        running=running,
        computed=computed,
        replayed=replayed,
        failed=failed,
        cancelled=counts["cancelled"] or 0,
        total=counts["total"],
        outputs=node.n_out,
        seconds=sum(part.seconds for part in parts),
        started_at=min(starts, default=None),
        ended_at=max(ends, default=None) if not left else None,
        queued_seconds=sum(part.timing.queued_s for part in parts),
        retries=sum(part.timing.retries for part in parts),
        rate=rate,
        eta_seconds=left / rate if rate else None,
        saved_seconds=node.seconds_saved,
        saved_by=node.saved_by,
        progress=next((list(part.progress.values())[-1] for part in parts if part.progress), None),
        error=failures[0].error if failures else None,
        notes=(*known, *sorted({note for part in parts for note in part.notes}))[:_MOST_NOTES],
        is_taken=state.status is None or seen > 0 or (node.sealed and node.n_out > 0),
    )


def running_bars(state: RunState) -> list[timing.Bar]:
    """Return the batches that have begun and not ended."""
    return [
        timing.Bar(
            node.plan.of,
            node.workers.get(number, ""),
            node.timing.submitted.get(number, (started_at, 1))[0],
            started_at,
            None,
            sum(piece.size for piece in node.under_way.get(number, ())),
            node.timing.submitted.get(number, (started_at, 1))[1],
            "running",
        )
        for node in state.nodes.values()
        for number, started_at in node.timing.started.items()
    ]


def critical_path(state: RunState) -> tuple[str, ...]:
    """Return the graph's critical path: the nodes that took the run's time, first to last."""
    path = timing.critical_path(
        (
            name,
            tuple(port.parent for port in node.plan.ports),
            node.timing.first_at,
            node.timing.last_at,
        )
        for name, node in state.nodes.items()
    )
    return tuple(dict.fromkeys(state.nodes[name].plan.of for name in path))
