"""Waiting for what has to come about."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0


def wait_until(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds.

    Raises
    ------
    TimeoutError
        It didn't come about.
    """
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it didn't come about")
        time.sleep(0.01)
