"""Check names, and suggest the one that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from tensorlake_nb.errors import OptionError

_NAME = re.compile(r"[a-zA-Z0-9!_\-.*'()]+")
_LONGEST = 200


def checked_name(what: str, name: object) -> str:
    """Return ``name`` if graphs, functions and versions may be called so; these names stand in paths and URLs.

    Raises
    ------
    OptionError
        For anything but 1 to 200 letters, digits and ``! - _ . * ' ( )``.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in {".", ".."}:
        raise OptionError(f"{what} {name!r} isn't allowed. Use letters, digits and ! - _ . * ' ( ), at least one.")
    if len(name) > _LONGEST:
        raise OptionError(f"{what} {name[:20]!r}… has {len(name)} characters. Use at most {_LONGEST}.")
    return name


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest known name, ``""`` when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def missing_attribute(owner: object, name: str) -> AttributeError:
    """Return the error of a missing attribute, with a suggestion if a similar one exists."""
    hint = "" if name.startswith("_") else did_you_mean(name, (each for each in dir(owner) if not each.startswith("_")))
    # With its name alone: else Python's own traceback would guess once more.
    return AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}{hint}", name=name)


def listed(names: Iterable[str], nothing: str = "none") -> str:
    """Join names for a message, each in quotes."""
    return ", ".join(map(repr, names)) or nothing
