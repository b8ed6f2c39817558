"""Arithmetic on lists of `Span`: cut, pick and join ranges of stored outputs without touching their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches.batch import Span

Ints = NDArray[np.int64]


def total(spans: Iterable[Span]) -> int:
    """Return the number of outputs in all spans."""
    return sum(span.stop - span.start for span in spans)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same outputs with neighbouring ranges of one segment joined, and empty ones left out."""
    merged: list[Span] = []
    for span in spans:
        if span.start == span.stop:
            continue
        last = merged[-1] if merged else None
        if last is not None and last.segment == span.segment and last.stop == span.start:
            merged[-1] = Span(last.segment, last.start, span.stop)
        else:
            merged.append(span)
    return tuple(merged)


def cut(spans: Sequence[Span], start: int, stop: int) -> tuple[Span, ...]:
    """Return outputs ``start`` to ``stop - 1`` of all that the spans hold end to end."""
    kept: list[Span] = []
    position = 0
    for span in spans:
        size = span.stop - span.start
        low, high = max(start - position, 0), min(stop - position, size)
        if low < high:
            kept.append(Span(span.segment, span.start + low, span.start + high))
        position += size
        if position >= stop:
            break
    return tuple(kept)


def pick(spans: Sequence[Span], positions: Ints) -> tuple[Span, ...]:
    """Return the outputs at the given positions (of all that the spans hold end to end), in that order."""
    if len(positions) == 0:
        return ()
    sizes = np.array([span.stop - span.start for span in spans], dtype=np.int64)
    ends = np.cumsum(sizes)
    owner = np.searchsorted(ends, positions, side="right")
    starts = np.array([span.start for span in spans], dtype=np.int64)
    within = positions - (ends - sizes)[owner] + starts[owner]
    breaks = np.flatnonzero((np.diff(owner) != 0) | (np.diff(within) != 1)) + 1
    firsts = np.concatenate(([0], breaks))
    lasts = np.concatenate((breaks, [len(positions)])) - 1
    return tuple(
        Span(spans[owner[first]].segment, int(within[first]), int(within[last]) + 1)
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
    )
