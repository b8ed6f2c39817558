"""Count a run's elements by state, for panels and progress bars."""

from __future__ import annotations

from dataclasses import dataclass

from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.core.graphs.plan import FAN_IN
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState


@dataclass(frozen=True, slots=True)
class FailedElement:
    """An element that failed, after its retries.

    Attributes
    ----------
    node, index
        Which function, and which element of its input stream (from 0).
    input_repr
        A short form of what it was given.
    attempt
        How many attempts were made.
    kind
        ``"error"``, ``"timeout"``, ``"worker lost"``, ``"request"`` (`RequestException`), ``"usage"`` or ``"damage"``.
    error, traceback_text
        ``"TypeName: message"``, and where in the function.
    """

    node: str
    index: int
    input_repr: str
    attempt: int
    kind: FailureKind
    error: str
    traceback_text: str


def failed_elements(state: RunState) -> tuple[FailedElement, ...]:
    """Every element that failed for good, in order of the graph and of its input stream."""
    found = [
        FailedElement(
            node.plan.of,
            failure.slice.start if failure.position is None else failure.position,
            failure.input_repr,
            failure.slice.attempt if node.plan.kind == "map" else node.fold_attempt,
            failure.kind,
            failure.error,
            failure.traceback_text,
        )
        for node in state.nodes.values()
        for failure in node.failures
    ]
    places = {name: place for place, name in enumerate(state.nodes)}
    return tuple(sorted(found, key=lambda failed: (places[failed.node], failed.index)))


def snapshot(state: RunState) -> dict[str, dict[str, int | None]]:
    """Per node of the graph how many elements are where.

    ``pending``, ``running``, ``computed``, ``replayed``, ``failed``, ``cancelled``, and ``total``, which is ``None``
    until no further element can arrive. A reducer's elements are those that it folds.
    """
    counted = {}
    for name, node in state.nodes.items():
        if node.plan.is_virtual:
            continue
        leaves = state.nodes.get(f"{name}~leaves")
        counted[name] = _count(state, node) if leaves is None else _count_leaves(state, leaves, node)
    return counted


def _count(state: RunState, node: NodeState) -> dict[str, int | None]:
    failed = node.n_failed
    if node.plan.kind == "fold":
        running = node.n_under_way
        known = node.n_given
        settled = node.computed + node.replayed + failed
        pending = max(known - settled - running, 0) if not node.sealed else 0
    else:
        settled = node.computed + node.replayed + failed
        running = node.n_under_way
        pending = max(node.n_arrived - settled - running, 0) if not node.sealed else 0
    left = pending + running if state.status is not None else 0
    return {
        "pending": 0 if left else pending,
        "running": 0 if left else running,
        "computed": node.computed,
        "replayed": node.replayed,
        "failed": failed,
        "cancelled": left,
        "total": settled + running + pending if node.sealed or state.input_ended(node) else None,
    }


def _count_leaves(state: RunState, leaves: NodeState, node: NodeState) -> dict[str, int | None]:
    """Count the elements in the leaf groups of a reducer with ``combine=``."""
    counted = _count(state, leaves)
    if node.sealed and not leaves.n_arrived:  # replayed as a whole
        counted["replayed"] = node.replayed
    rows = max(leaves.n_arrived, 1)
    elements = min(rows * FAN_IN, leaves.n_given)
    scaled = {key: round(n * elements / rows) if n and leaves.n_arrived else n for key, n in counted.items()}
    branches = state.nodes[f"{node.plan.name}~branches"]
    scaled["failed"] = leaves.n_failed + branches.n_failed + node.n_failed
    if not node.sealed and not leaves.sealed:  # those that are in no group yet
        waiting = "pending" if state.status is None else "cancelled"
        scaled[waiting] = (scaled[waiting] or 0) + leaves.n_given - (elements if leaves.n_arrived else 0)
    return scaled
