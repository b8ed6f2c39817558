"""Elements that fail: where they stand in their stream, and who learns of those that won't be tried again."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlake_nb.core.batches.batch import Failure
from tensorlake_nb.core.batches.positions import Slice, take
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.planning.events import ElementFailed
from tensorlake_nb.core.planning.instructions import Submit
from tensorlake_nb.core.streams.tables import Streams
from tensorlake_nb.engine.desk.claimant import Claimant
from tensorlake_nb.engine.desk.lookup import Prober

#: A function of the graph, and which element of its input stream.
Place = tuple[str, int]
#: Of so many failures it is remembered what was raised.
_MOST_RAISED = 256


class Failing:
    """Places what failed in one run, and gives it up where no attempt is left.

    Parameters
    ----------
    raised
        Filled with what calls have raised, as pickles.
    """

    def __init__(
        self, plan: Plan, streams: Streams, prober: Prober, claimant: Claimant, raised: dict[Place, bytes] | None = None
    ) -> None:
        self._raised = {} if raised is None else raised
        self._plan, self._streams, self._prober, self._claimant = plan, streams, prober, claimant

    def placed(self, name: str, slices: tuple[Slice, ...], failure: Failure) -> ElementFailed:
        """Return the failure of one element of some slices, with its place in the stream."""
        (where,) = take(slices, failure.offset, failure.offset + 1)
        position = self._streams.position(name, where)
        if failure.raised and len(self._raised) < _MOST_RAISED:
            self._raised[self._plan.nodes[name].of, position] = failure.raised
        return ElementFailed(where, failure.kind, failure.error, failure.input_repr, failure.traceback_text, position)

    def give_up(self, name: str, failures: Sequence[ElementFailed]) -> None:
        """Elements that have failed for good won't give anything to those that equal them: others may try."""
        node = self._plan.nodes[name]
        lost = [each.slice for each in failures if not node.tries_again(each.kind, each.slice.attempt)]
        for piece in lost:
            self._prober.failed(name, piece)
        self._claimant.failed(name, tuple(lost))

    def give_up_fold(self, order: Submit, failures: Sequence[ElementFailed]) -> None:
        """Release a fold that has failed for good, so that other runs may continue it."""
        if any(not self._plan.nodes[order.node].tries_again(each.kind, order.attempt) for each in failures):
            self._claimant.failed(order.node, (failures[0].slice,))
