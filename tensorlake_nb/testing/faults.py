"""The faults of a store: their rates, and the seeded dice that decide their times."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tensorlake_nb.errors import OptionError

#: How many operations follow a throttled one and are throttled as well.
_BURST = 2


@dataclass(frozen=True)
class Faults:
    """The behaviour of a faulty store. Rates are shares of its operations, between 0 and 1, and at most 1 together.

    Attributes
    ----------
    before
        Fails, and nothing was done.
    after
        Fails although it was done.
    timed_out
        Takes ``slow_s``, then fails, done or not.
    throttled
        Fails, as do the next few operations: the store asks for a rest.
    cut
        A write fails halfway, and leaves a cut object where the real store could leave one: a disk does, an object
        store doesn't.
    stale
        An object that is there is said to be missing.
    lagging
        A listing leaves out what was written within the last ``lag_s``.
    slow
        Takes ``slow_s`` longer.
    seed
        The same seed gives the same faults at the same operations of a process. Worker processes draw for themselves.
    log
        A file to which each fault adds its name as a line; none by default.
    """

    before: float = 0.0
    after: float = 0.0
    timed_out: float = 0.0
    throttled: float = 0.0
    cut: float = 0.0
    stale: float = 0.0
    lagging: float = 0.0
    slow: float = 0.0
    slow_s: float = 0.01
    lag_s: float = 1.0
    seed: int = 0
    log: str = ""

    def __post_init__(self) -> None:
        rates = {name: getattr(self, name) for name in RATES}
        if any(rate < 0 for rate in rates.values()) or sum(rates.values()) > 1:
            raise OptionError(f"rates of faults are shares between 0 and 1, and at most 1 together: {rates}")

    @classmethod
    def all_sorts(cls, rate: float = 0.03, *, seed: int = 0) -> Faults:
        """Return a mixture of faults in ``rate`` of all operations; no lagging listings, which may cost calls."""
        each = rate / 6
        return cls(each, each, each, each / 3, each, each, slow=each, slow_s=0.005, seed=seed)

    def to_query(self) -> dict[str, str]:
        """Those that aren't as by default, as text for a URL."""
        default = Faults()
        given = {name: value for name, value in asdict(self).items() if value != getattr(default, name)}
        return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in given.items()}

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Faults:
        """Return the faults from a query made by `to_query`.

        Raises
        ------
        OptionError
            There is no such fault, or its rate is no number.
        """
        kinds: dict[str, Any] = {field.name: type(field.default) for field in fields(cls)}
        unknown = sorted(set(query) - set(kinds))
        if unknown:
            raise OptionError(f"a faulty store has no {', '.join(unknown)}; there are {', '.join(kinds)}")
        try:
            given: dict[str, Any] = {name: kinds[name](value) for name, value in query.items()}
        except ValueError as error:
            raise OptionError(f"a faulty store's rates are numbers: {error}") from error
        return cls(**given)


def _note(path: str, fate: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, f"{fate}\n".encode())
    finally:
        os.close(handle)


#: Those of `Faults` that are shares of operations.
RATES = ("before", "after", "timed_out", "throttled", "cut", "stale", "lagging", "slow")


class Dice:
    """Decides what becomes of each operation; thread-safe.

    Attributes
    ----------
    counts
        How many operations met what; ``"well"`` for those that met nothing.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._resting = 0
        # A worker process that takes the place of another mustn't meet the same faults in the same order for ever.
        whose = os.getpid() if multiprocessing.parent_process() is not None else ""
        self._draw = random.Random(f"{faults.seed}/{whose}")

    def fate(self, *possible: str) -> str:
        """Choose the fault of an operation among the ``possible`` kinds; ``"well"`` for none."""
        with self._lock:
            draw = self._draw.random()
            fate = "well"
            if self._resting:
                self._resting -= 1
                fate = "throttled"
            else:
                for name in RATES:
                    draw -= getattr(self.faults, name)
                    if draw < 0:
                        fate = name if name in possible else "well"
                        break
                if fate == "throttled":
                    self._resting = _BURST
            self.counts[fate] += 1
        if fate != "well" and self.faults.log:
            _note(self.faults.log, fate)
        return fate

    def share(self) -> float:
        """Somewhere between 0 and 1."""
        with self._lock:
            return self._draw.random()
