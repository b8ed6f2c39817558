"""Apply a notebook's patches of others' classes, functions and modules on a worker, and undo them again.

Values of any type are put there: `Any` stops in this file.
"""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np

from tensorlake_nb.core.code.patches import Patch
from tensorlake_nb.core.origin import Origin, origin_of, origin_of_module
from tensorlake_nb.errors import SerializationError

#: Module, qualified name of the class in it or nothing, and the attribute.
Place = tuple[str, str, str]
#: Functions that pickle sends as a name: Python's, C's and NumPy's.
FOUND_BY_NAME = (types.FunctionType, types.BuiltinFunctionType, np.ufunc, type(np.ptp))

_MISSING: Any = object()
_lock = threading.Lock()
#: In a kernel: every place where there was a patch, and where there is one now.
_ever: set[Place] = set()
_now: set[Place] = set()
#: On a worker: what stood in a place before it was patched.
_originals: dict[tuple[Any, str], Any] = {}


def notice(patches: Iterable[Patch]) -> None:
    """Take note of all the patches that there are in this kernel."""
    global _now
    _now = {(patch.module, patch.owner, patch.name) for patch in patches}
    _ever.update(_now)


def gone() -> tuple[Place, ...]:
    """Return the places whose patches are gone: workers may still have them."""
    return tuple(sorted(_ever - _now))


def place(patches: Iterable[tuple[Place, Any]], gone: Iterable[Place]) -> None:
    """Apply patches in this process, a worker, and restore the originals of those that are gone.

    Raises
    ------
    SerializationError
        There is no such module or class here.
    """
    with _lock:
        for module, owner, name in gone:
            if any(name == each for _, each in _originals):
                held = _owner(module, owner)
                original = _originals.pop((held, name), held)
                if original is _MISSING:
                    delattr(held, name)
                elif original is not held:
                    setattr(held, name, original)
        for (module, owner, name), value in patches:
            held = _owner(module, owner)
            before = vars(held).get(name, _MISSING)
            if isinstance(held, types.FunctionType):  # its code and defaults stand in no namespace
                before = getattr(held, name, _MISSING)
            _originals.setdefault((held, name), before)
            setattr(held, name, value)


def original(module: str, qualname: str) -> Any:
    """Return a package's own object of a name, whether or not it is patched here."""
    owner, _, name = qualname.rpartition(".")
    held = _owner(module, owner)
    found = _originals.get((held, name), _MISSING)
    return getattr(held, name) if found is _MISSING else found


def claims_another_module(function: types.FunctionType) -> bool:
    """Return True if a project function claims a package's module, as with ``functools.wraps(json.dumps)``."""
    home, claimed = function.__globals__.get("__name__"), function.__module__
    if claimed == home or not isinstance(home, str) or not isinstance(claimed, str):
        return False
    return origin_of_module(home) is Origin.PROJECT and origin_of_module(claimed) is not Origin.PROJECT


def hidden_name(function: Any) -> tuple[str, str] | None:
    """Return the name of a package's own function that the project has replaced."""
    module, qualname = function.__module__, getattr(function, "__qualname__", function.__name__)
    if not isinstance(module, str) or "<" in qualname:
        return None
    is_python = isinstance(function, types.FunctionType)
    if (origin_of(function) if is_python else origin_of_module(module)) is Origin.PROJECT:
        return None
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    found = getattr(found, "__func__", found)
    while not isinstance(found, types.FunctionType) and found is not None:
        found = getattr(found, "__wrapped__", None) or getattr(found, "func", None)
    is_hidden = found is not None and found is not function and origin_of(found) is Origin.PROJECT
    return (module, qualname) if is_hidden else None


def _owner(module: str, qualname: str) -> Any:
    try:
        found: Any = import_module(module)
        for name in filter(None, qualname.split(".")):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise SerializationError(
            f"a cell has patched {'.'.join(filter(None, (module, qualname)))}, which a worker doesn't have "
            f"({error}). Install the same package where the workers run."
        ) from error
    return found
