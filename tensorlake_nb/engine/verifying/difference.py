"""Two values that ought to be equal → where they differ, in a few words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls.failure_text import short_repr
from tensorlake_nb.errors import UnhashableInputError

#: How far into a value a difference is followed.
_DEEPEST = 8
#: How much of a long text is shown before and after the place where it begins to differ.
_BEFORE, _AFTER = 20, 60


def differing(before: Any, now: Any) -> str:
    """Describe the first difference of two values, with both contents there; never raise."""
    try:
        path, old, new = _followed(before, now)
        return f"at {path}, {_told(old, new)}" if path else _told(old, new)
    except Exception:  # users' types: what can't be looked into is shown as it is
        return _shown(before, now)


def _followed(before: Any, now: Any) -> tuple[str, Any, Any]:
    """Go to the innermost parts that differ; the way there as one would write it."""
    path = ""
    for _ in range(_DEEPEST):
        if type(before) is not type(now):
            break
        found = next((part for part in _parts(before, now) if _differ(*part[1:])), None)
        if found is None:
            break
        step, before, now = found
        path += step
    return path, before, now


def _parts(before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the parts of two values of one type at the same places; none if their places differ."""
    if isinstance(now, dict):
        if before.keys() == now.keys():
            yield from ((f"[{key!r}]", before[key], now[key]) for key in now)
    elif isinstance(now, (list, tuple)):
        if len(before) == len(now):
            yield from ((f"[{i}]", old, new) for i, (old, new) in enumerate(zip(before, now, strict=True)))
    elif dataclasses.is_dataclass(now) or hasattr(type(now), "model_fields"):
        names = getattr(type(now), "model_fields", None) or [field.name for field in dataclasses.fields(now)]
        yield from ((f".{name}", getattr(before, name), getattr(now, name)) for name in names)
    elif _is_frame(now) and before.shape == now.shape and list(before.columns) == list(now.columns):
        yield from ((f"[{name!r}]", np.asarray(before[name]), np.asarray(now[name])) for name in now.columns)


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "shape")


def _differ(before: Any, now: Any) -> bool:
    try:
        return digest(before) != digest(now)
    except UnhashableInputError:
        return True


def _told(before: Any, now: Any) -> str:
    if type(before) is not type(now):
        return f"{short_repr(now)}, a {type(now).__name__}; before {short_repr(before)}, a {type(before).__name__}"
    if isinstance(now, np.ndarray):
        return _arrays(before, now)
    if isinstance(now, str):
        return _texts(before, now)
    return _shown(before, now)


def _arrays(before: Any, now: Any) -> str:
    if (before.shape, before.dtype) != (now.shape, now.dtype):
        return f"shape {now.shape} of {now.dtype}; before {before.shape} of {before.dtype}"
    unequal = before != now
    if now.dtype.kind in "fc":
        unequal &= ~(np.isnan(before) & np.isnan(now))
    count = f"{int(np.count_nonzero(unequal))} of {now.size} elements differ"
    if now.dtype.kind not in "iufc" or not unequal.any():
        return count
    apart = np.abs(now[unequal].astype(np.complex128) - before[unequal].astype(np.complex128))
    return f"{count}, by {float(np.max(apart)):.3g} at most"


def _texts(before: str, now: str) -> str:
    unequal = (i for i, (old, new) in enumerate(zip(before, now, strict=False)) if old != new)
    place = next(unequal, min(len(before), len(now)))
    if len(now) <= _AFTER or place <= _BEFORE:
        return _shown(before, now)
    was, is_now = (short_repr(text[place - _BEFORE : place + _AFTER]) for text in (before, now))
    return f"from character {place} on, …{is_now}; before …{was}"


def _shown(before: Any, now: Any) -> str:
    old, new = short_repr(before), short_repr(now)
    return f"{new}; before {old}" if old != new else f"{new}, whose contents differ from before"
