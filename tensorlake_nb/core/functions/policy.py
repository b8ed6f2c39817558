"""Policies that don't change a result: when to try again, and where to run. Neither ever enters a key."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

from tensorlake_nb.errors import OptionError


def whole_number(owner: str, option: str, value: object, least: int) -> int:
    """Check an option that counts something; ``owner`` stands in the message of the :class:`OptionError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{owner}: {option}={value!r} isn't allowed. Give a whole number, {least} or more.")
    return value


def amount(owner: str, option: str, value: object, *, zero: bool = False, unit: str = "") -> float:
    """Check an option that measures something: finite, and above 0 (or 0 itself, where ``zero`` allows it)."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or value < 0 or (value == 0 and not zero):  # type: ignore[operator]
        what = f"a number{f' of {unit}' if unit else ''}, {'0 or more' if zero else 'above 0'}"
        raise OptionError(f"{owner}: {option}={value!r} isn't allowed. Give {what}.")
    return float(value)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Retries:
    """The number and delays of further attempts after a failed call.

    Parameters
    ----------
    max_retries
        Further attempts after the first; 0 means that a failure is final.
    initial_delay, max_delay
        Seconds before the first retry; seconds that no delay exceeds.
    delay_multiplier
        By how much each delay is longer than the one before it; 1.0 keeps them equal.
    jitter
        Share of the delay, 0 to 1, by which it varies at random to both sides.

    Raises
    ------
    OptionError
        When a value is out of its range.
    """

    max_retries: int = 0
    initial_delay: float = 1.0
    max_delay: float = 60.0
    delay_multiplier: float = 2.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        whole_number("Retries", "max_retries", self.max_retries, 0)
        amount("Retries", "initial_delay", self.initial_delay, zero=True, unit="seconds")
        amount("Retries", "max_delay", self.max_delay, zero=True, unit="seconds")
        amount("Retries", "delay_multiplier", self.delay_multiplier)
        if amount("Retries", "jitter", self.jitter, zero=True) > 1:
            raise OptionError(f"Retries: jitter={self.jitter!r} isn't allowed. Give a share of the delay, 0 to 1.")

    @classmethod
    def read(cls, owner: str, given: object) -> Retries:
        """Read the value given for ``retries=``; a number stands for that many retries.

        Raises
        ------
        OptionError
            It is neither a number nor a `Retries`; ``owner`` stands in the message.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(whole_number(owner, "retries", given, 0))
        raise OptionError(f"{owner}: retries={given!r} isn't allowed. Give how many, or Retries(max_retries=...).")

    @property
    def max_attempts(self) -> int:
        """The largest number of attempts, the first included."""
        return self.max_retries + 1

    def delay_before(self, attempt: int, draw: float) -> float:
        """Seconds to wait before an attempt.

        Parameters
        ----------
        attempt
            Number of the attempt that follows the wait; 2 is the first retry.
        draw
            Where in the jitter's range the delay falls, from 0 (shortest) to below 1 (longest).
        """
        if attempt < 2:
            return 0.0
        try:
            grown = self.initial_delay * self.delay_multiplier ** (attempt - 2)
        except OverflowError:
            grown = self.max_delay if self.initial_delay else 0.0
        delay = min(grown, self.max_delay)
        return min(delay * (1 + self.jitter * (2 * draw - 1)), self.max_delay)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU and how many of them; model ``""`` is any GPU."""

    model: str
    count: int

    def __str__(self) -> str:
        return f"{self.model}:{self.count}"


_GPU = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)(?::([0-9]+))?")


def _gpus(owner: str, value: object) -> tuple[Gpu, ...]:
    """Read ``"T4"``, ``"A100:2"`` or a list of such texts, the first the most wanted."""
    if value is None:
        return ()
    wanted: list[Gpu] = []
    for text in [value] if isinstance(value, str) else value if isinstance(value, Sequence) else [None]:
        match = _GPU.fullmatch(text) if isinstance(text, str) else None
        if match is None or match[2] == "0":
            raise OptionError(
                f'{owner}: gpu={value!r} isn\'t allowed. Give "MODEL" or "MODEL:COUNT", or a list of them.'
            )
        wanted.append(Gpu(match[1], int(match[2] or 1)))
    return tuple(wanted)


@dataclass(frozen=True, slots=True)
class Placement:
    """A function's needs of a worker. Binding where the cluster declares such resources, else advice.

    Attributes
    ----------
    cpu
        Cores; 0.5 is half a core.
    memory, ephemeral_disk
        Gigabytes.
    gpu
        Kinds that will do, the most wanted first; empty when none is needed.
    region
        Name of a region, or None for anywhere.
    """

    cpu: float = 1.0
    memory: float = 1.0
    ephemeral_disk: float = 2.0
    gpu: tuple[Gpu, ...] = ()
    region: str | None = None

    @classmethod
    def parse(cls, owner: str, options: Mapping[str, object]) -> Placement:
        """Read the placement options of a function; ``owner`` names it in an :class:`OptionError`."""
        region = options.get("region")
        if region is not None and (not isinstance(region, str) or not region):
            raise OptionError(f"{owner}: region={region!r} isn't allowed. Give the name of a region, or None.")
        return cls(
            cpu=amount(owner, "cpu", options.get("cpu", 1.0), unit="cores"),
            memory=amount(owner, "memory", options.get("memory", 1.0), unit="gigabytes"),
            ephemeral_disk=amount(owner, "ephemeral_disk", options.get("ephemeral_disk", 2.0), unit="gigabytes"),
            gpu=_gpus(owner, options.get("gpu")),
            region=region,
        )

    @property
    def asked(self) -> Mapping[str, float | str]:
        """The differences from the defaults, as plain data under the options' names."""
        asked: dict[str, float | str] = {}
        for option in fields(self):
            value = getattr(self, option.name)
            if value != option.default:
                asked[option.name] = ",".join(map(str, value)) if option.name == "gpu" else value
        return MappingProxyType(asked)


# as users import them, and as stored data names them, wherever the file lies
Retries.__module__ = "tensorlake_nb"
