"""What can't be true of a run's state is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.planning.events import BatchSubmitted, ProbeBegun, Probed, RunStarted
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.validate import PLACES, InvalidStateError, validate
from tests.unit.core.planning.test_planner import map_reduce_plan

PIECE = Slice((0, 0, 0), 0, 100)


def under_way() -> tuple[RunState, NodeState]:
    """A map of 100 elements: 10 of them are in a batch, the others ready."""
    state = RunState.fresh(map_reduce_plan())
    evolve(state, RunStarted("r", 0.0))
    node = state.nodes["work"]
    node.arrive(PIECE)
    evolve(state, ProbeBegun("work", (PIECE,)))
    evolve(state, Probed("work", (), (PIECE,)))
    evolve(state, BatchSubmitted(0, "work", (PIECE.cut(0, 10),), 1, 0.0))
    validate(state)
    return state, node


def in_two_places(node: NodeState) -> None:
    node.suspects.append(PIECE.cut(10, 11))


def forgotten(node: NodeState) -> None:
    node.ready.clear()
    node.n_ready = 0


def sealed_too_early(node: NodeState) -> None:
    node.sealed = True


def not_counted(node: NodeState) -> None:
    node.n_ready += 1


def still_open(node: NodeState) -> None:
    node.open.add((0, 0, 0, 7))


def stray_progress(node: NodeState) -> None:
    node.progress[5] = (1.0, 2.0)


def unknown_batch(node: NodeState) -> None:
    node.under_way[3] = node.under_way.pop(0)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (in_two_places, r"work: element 10 of \(0, 0, 0\) is suspects and ready"),
        (forgotten, r"work: of 100 elements 10 wait, 0 are settled, 0 have failed"),
        (sealed_too_early, r"work: it is sealed, and elements are in \['ready', 'under_way'\]"),
        (not_counted, "work: n_ready is 91, and 90 elements are ready"),
        (still_open, r"work: open lacks \[\] and has \[\(0, 0, 0, 7\)\] besides"),
        (stray_progress, r"work: progress of batches \[5\], which aren't under way"),
        (unknown_batch, "work: batch 3 is under way and recorded for None"),
    ],
)
def test_a_contradiction_is_named(breaks: Callable[[NodeState], None], said: str) -> None:
    state, node = under_way()
    breaks(node)

    with pytest.raises(InvalidStateError, match=said):
        validate(state)


def test_the_places_are_those_that_a_state_describes() -> None:
    assert set(PLACES) <= set(NodeState.__slots__)
