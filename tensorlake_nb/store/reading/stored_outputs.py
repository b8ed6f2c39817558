"""The part of a store that reading arrays and pictures needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.store.format.segment import Segment


class StoredOutputs(Protocol):
    """A store as those see it who read outputs from it; ``url`` is absolute."""

    @property
    def url(self) -> str: ...

    def segment(self, name: str) -> Segment:
        """Return the verified record of a segment."""

    def read(self, spans: Iterable[Span]) -> list[Any]:
        """Return the values of some outputs."""

    def stored_object(self, segment: Segment, path: str) -> bytes:
        """One object of a segment, verified."""
