"""Events folded into a state that is checked on the way."""

from __future__ import annotations

from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.validate import validate

#: A state of fewer chunks and open slices is checked after every event, any other after every so many, and at its end.
_FEW, _EVERY = 20, 200


class Validated:
    """Folds events into a run's state and validates it."""

    def __init__(self) -> None:
        self._folded = 0

    def fold(self, state: RunState, event: Event) -> None:
        evolve(state, event)
        self._folded += 1
        size = sum(len(node.open.orders) + len(node.chunks) for node in state.nodes.values())
        if size < _FEW or self._folded % _EVERY == 0 or state.status is not None:
            validate(state)
