"""Find the reason why a function can't be sent: the innermost object that it reaches and that can't be pickled.

Objects of any type pass through here: `Any` stops in this file.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from cloudpickle import cloudpickle as internals

from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.engine.travel.pickler import refusal

#: So many steps from the function: deeper, it is the depth itself that can't be pickled.
_DEEPEST = 20


def culprit(obj: Any, name: str) -> tuple[str, Any, Exception] | None:
    """Find the innermost thing that can't be pickled: where it is held, itself, and why not."""
    return _search(obj, name, set(), _DEEPEST)


def _search(obj: Any, where: str, seen: set[int], depth: int) -> tuple[str, Any, Exception] | None:
    if id(obj) in seen:
        return None
    seen.add(id(obj))
    error = refusal(obj)
    if error is None:
        return None
    for label, part in _parts(obj, where) if depth else ():
        found = _search(part, label, seen, depth - 1)
        if found is not None:
            return found
    return where, obj, error


def _parts(obj: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, Function):
        yield where, obj.call
        yield f"accumulate= of {where}", obj.options.accumulate
        yield f"combine= of {where}", obj.options.combine
    elif isinstance(obj, types.FunctionType):
        holder = f"{obj.__name__}()"
        for name in internals._extract_code_globals(obj.__code__):
            if name in obj.__globals__:
                yield f"the global {name!r} of {holder}", obj.__globals__[name]
        for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
            if cell != types.CellType():
                yield f"the closure variable {name!r} of {holder}", cell.cell_contents
        for number, value in enumerate(obj.__defaults__ or ()):
            yield f"default {number + 1} of {holder}", value
        for name, value in {**(obj.__kwdefaults__ or {}), **vars(obj)}.items():
            yield f"{name!r} of {holder}", value
    elif isinstance(obj, type):
        for name, value in vars(obj).items():
            if name not in ("__dict__", "__weakref__"):
                inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
                yield f"{name!r} of class {obj.__qualname__}", inner
    elif isinstance(obj, types.ModuleType):
        for name, value in vars(obj).items():
            if not name.startswith("__"):
                yield f"{name!r} of module {obj.__name__}", value
    elif isinstance(obj, types.MethodType):
        yield f"the object of {obj.__name__}()", obj.__self__
    elif isinstance(obj, dict):
        for key, value in obj.items():
            yield f"{where}[{key!r:.40}]", value
    elif isinstance(obj, (list, tuple, set, frozenset)):
        for number, value in enumerate(obj):
            yield f"{where}[{number}]", value
    else:
        for name, value in getattr(obj, "__dict__", {}).items():
            yield f"{where}.{name}", value
