"""Fold events into a state that is checked on the way."""

from __future__ import annotations

from itertools import count

from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.validate import validate

#: A state of fewer chunks and open slices is checked after every event, any other after every so many, and at its end.
_FEW, _EVERY = 20, 200

_folded = count(1)


def evolve_validated(state: RunState, event: Event) -> None:
    """Fold an event as `evolve` does, and hold the invariants against what comes of it."""
    evolve(state, event)
    size = sum(len(node.open.orders) + len(node.chunks) for node in state.nodes.values())
    if size < _FEW or next(_folded) % _EVERY == 0 or state.status is not None:
        validate(state)
