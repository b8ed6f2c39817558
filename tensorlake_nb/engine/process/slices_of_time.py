"""Waits cut into slices: an interrupt that comes just before a wait begins doesn't end it."""

from __future__ import annotations

import time

#: How long an interrupt may go unnoticed (s).
SLICE_S = 0.2


def slice_before(until: float) -> float:
    """Return the next slice (s) of a wait until then, on the monotonic clock."""
    return min(max(until - time.monotonic(), 0.0), SLICE_S)
