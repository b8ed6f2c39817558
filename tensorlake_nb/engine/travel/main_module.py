"""Functions and classes of a notebook, where `pickle` looks for them on a worker: under their names in ``__main__``.

`pickle`, and with it a pool of processes, refers to both by name. On a worker they come out of a function's own
pickle, and ``__main__`` knows none of them.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from tensorlake_nb.core.functions.function import Function

_MAIN = "__main__"


def names_in_main(function: Function, classes: Mapping[tuple[str, str], type]) -> dict[str, Any]:
    """Return the names in ``__main__`` that a function reaches, as they stood where it was written.

    Parameters
    ----------
    classes
        The classes of the notebook that it knows, by module and qualified name.
    """
    named: dict[str, Any] = {qualname: cls for (module, qualname), cls in classes.items() if module == _MAIN}
    for code in functions_of(function.code):
        if code.__globals__.get("__name__") == _MAIN:
            named.update((name, value) for name, value in code.__globals__.items() if _is_found_as(value, name))
    return {name: value for name, value in named.items() if "." not in name}


def place(named: Mapping[str, Any]) -> None:
    """Let ``__main__`` of this process, a worker, have them; of two notebooks' those that came last."""
    vars(sys.modules[_MAIN]).update(named)


def names_seen(function: Function) -> Iterator[Any]:
    """Give what the names stand for that a function sees: its closure's, then its module's."""
    spaces: dict[int, dict[str, Any]] = {}
    for code in functions_of(function.code):
        for cell in code.__closure__ or ():
            if cell != types.CellType():
                yield cell.cell_contents
        spaces[id(code.__globals__)] = code.__globals__
    for space in spaces.values():
        yield from tuple(space.values())


def functions_of(code: Any) -> Iterator[types.FunctionType]:
    """Yield the plain functions of a node's code: the function and those it wraps, or those of a class's methods."""
    if isinstance(code, type):
        for value in vars(code).values():
            yield from functions_of(getattr(value, "__func__", value))
    else:
        yield from unwrapped(code)


def unwrapped(code: Any) -> Iterator[types.FunctionType]:
    """Yield a plain function and those that it wraps; of a partial, the function that it calls."""
    while code is not None:
        if isinstance(code, types.FunctionType):
            yield code
        code = getattr(code, "__wrapped__", None) or getattr(code, "func", None)


def _is_found_as(value: Any, name: str) -> bool:
    return isinstance(value, (types.FunctionType, type)) and (value.__module__, value.__qualname__) == (_MAIN, name)
