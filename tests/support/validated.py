"""Events folded into a state that is checked on the way."""

from __future__ import annotations

from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.validate import validate

#: So many open slices cost as much to check as one event to fold.
_OPEN_PER_EVENT = 20


class Validated:
    """Folds events and validates the state: after each event while it is small, less often as it grows."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._unchecked = 0

    def fold(self, event: Event) -> None:
        evolve(self.state, event)
        self._unchecked += 1
        n_open = sum(len(node.open.orders) for node in self.state.nodes.values())
        n_chunks = sum(len(node.chunks) for node in self.state.nodes.values())
        if self._unchecked * _OPEN_PER_EVENT >= n_open + n_chunks or self.state.status is not None:
            validate(self.state)
            self._unchecked = 0
