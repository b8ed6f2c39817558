"""Count the functions that a piece of work calls: its cost, measured without a clock."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable


def calls_of(work: Callable[[], object]) -> int:
    """Do it, and count the calls of functions, those of C included."""
    counted = Counter[str]()
    sys.setprofile(lambda frame, event, arg: counted.update((event,)))
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted["call"] + counted["c_call"]
