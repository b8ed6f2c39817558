"""Outputs that are found damaged when they are read: they are computed again, and read once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.engine.runs.outputs import Outputs
from tensorlake_nb.errors import CheckpointNotFoundError, CorruptCheckpointError, UnreadableValueError

#: How often a read that met damage has what is missing computed again before it gives up.
_MOST_HEALINGS = 3


@dataclass(frozen=True, slots=True)
class Healing:
    """Reads outputs of one node of a run.

    Parameters
    ----------
    read
        Read the values of some spans.
    outputs
        Where the node's outputs lie now.
    can_resume, resume
        Return True if the run stands still and can be resumed; have it compute the missing outputs, to its end.
    """

    node: str
    read: Callable[[Sequence[Span]], list[Any]]
    outputs: Callable[[], Outputs[Any]]
    can_resume: Callable[[], bool]
    resume: Callable[[], object]

    def values(self, spans: Sequence[Span]) -> list[Any]:
        """Read values; what is found damaged is computed again, visibly, and read once more."""
        for _ in range(_MOST_HEALINGS):
            try:
                return self.read(spans)
            except UnreadableValueError:  # there, and whole: computing it again would find it so
                raise
            except (CorruptCheckpointError, CheckpointNotFoundError):
                if not self.can_resume():
                    raise
                start, size = self._place(spans)
                self._put_damage_aside()
                self.resume()
                spans = self.outputs()[start : start + size].spans
        return self.read(spans)

    def _place(self, spans: Sequence[Span]) -> tuple[int, int]:
        """Return the place of some outputs in the node's stream, and their number."""
        position = 0
        wanted = spans[0]
        for span in self.outputs().spans:
            if span.segment == wanted.segment and span.start <= wanted.start < span.stop:
                return position + wanted.start - span.start, sum(len(each) for each in spans)
            position += len(span)
        raise CheckpointNotFoundError(f"{self.node!r} has no output in {wanted.segment} any more")

    def _put_damage_aside(self) -> None:
        """Read all that the node gave, so that everything damaged is known, and one resumption is enough."""
        for span in self.outputs().spans:
            with suppress(CorruptCheckpointError, CheckpointNotFoundError):
                self.read((span,))
