"""Function → fingerprint, with the parts that it is made of by name, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class FunctionPrint:
    """What names the outputs of a function, and why.

    Attributes
    ----------
    fingerprint
        64 hex digits: equal for functions that do the same, as far as can be seen without running them.
    parts
        Name → hex digest, version or label: ``"code"``, ``"helper clean"``, ``"global LIMIT"``, ``"package numpy"``.
    sources
        Name → canonical source or short repr, for people.
    opaque
        What couldn't be seen, a sentence each.
    classes
        The project's own classes that were reached, by module and qualified name.
    """

    fingerprint: str
    parts: Mapping[str, str]
    sources: Mapping[str, str]
    opaque: tuple[str, ...]
    classes: Mapping[tuple[str, str], type]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two fingerprints."""

    part: str
    what: Literal["changed", "added", "removed"]
    diff: str


def fingerprint(
    function: Any, *, options: Mapping[str, str] | None = None, arriving: Iterable[type] = ()
) -> FunctionPrint:
    """Fingerprint a function."""
    raise NotImplementedError


def explain(
    old_parts: Mapping[str, str],
    old_sources: Mapping[str, str],
    new_parts: Mapping[str, str],
    new_sources: Mapping[str, str],
) -> list[Change]:
    """Say what differs between two fingerprints, own code first."""
    raise NotImplementedError
