"""Find references from outside to the mutable parts of a value, through which it could change later.

References are counted: those to each part from within the value, and all that there are. A surplus is somebody else's.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

#: Code, and what is kept by name, isn't changed by what a function does with its values.
_CODE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, CodeType, property, Enum)
#: Immutable types that hold nothing: most parts of values, skipped at once.
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, range})


def is_held(box: list[Any]) -> bool:
    """Return True if anything but the box holds its value; checks the value itself, not its parts."""
    if sys.getrefcount(box[0]) <= _ALONE or not _can_change(box[0]):
        return False
    gc.collect(0)  # garbage that refers to itself holds things, too
    return sys.getrefcount(box[0]) > _ALONE


def is_held_anywhere(box: list[Any]) -> bool:
    """Return True if anything outside holds the value in a box, or a mutable part of it.

    Parts that can't change (their hash follows from their content) may be shared. Not seen are references from C
    libraries, and weak ones.
    """
    if not _surplus(box):
        return False
    gc.collect()
    return _surplus(box)


def _surplus(box: list[Any]) -> bool:
    within: dict[int, int] = {}
    found: list[Any] = []
    waiting: list[Any] = _parts(box)
    while waiting:
        part = waiting.pop()
        key = id(part)
        known = within.get(key)
        if known is not None:
            within[key] = known + 1
            continue
        within[key] = 1
        found.append(part)
        waiting.extend(_parts(part))
    del waiting
    part = None
    counts = [within[id(each)] for each in found]
    for place, count in enumerate(counts):
        if sys.getrefcount(found[place]) - count > _ALONE and _can_change(found[place]):
            return True
    return False


def _parts(value: Any) -> list[Any]:
    """Return a value's parts, each as often as it holds it, without immutable ones and code."""
    held: Iterable[Any]
    if isinstance(value, np.ndarray):  # which the collector can't look into
        held = [value.base] if value.base is not None else []
        if value.dtype.hasobject:
            held = [*held, *(value.ravel().tolist() if value.dtype.kind == "O" else ())]
    else:
        held = gc.get_referents(value)
    return [part for part in held if type(part) not in _ATOMS and not isinstance(part, _CODE)]


def _can_change(value: Any) -> bool:
    by: object = type(value).__hash__
    return by is None or by is object.__hash__


def _references(box: list[Any]) -> int:
    """Return the number of references counted where a list alone holds its only item."""
    return sys.getrefcount(box[0])


_ALONE = _references([[]])
