"""Send by value the wrappers that ``functools``, ``typing`` and pydantic make of the project's functions.

Pickle sends these by name, or not at all: a worker would look for them in a ``__main__`` or a module of its own, find
nothing, or what stood there before an edit. ``validate_call`` even holds the whole notebook.

Objects of any type pass through here: `Any` stops in this file.
"""

from __future__ import annotations

import copyreg
import functools
import operator
import struct
import types
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorlake_nb.core.code.reflection_names import CACHE_NAMES, DISPATCH_NAMES
from tensorlake_nb.core.origin import Origin, origin_of, origin_of_module
from tensorlake_nb.core.values.object_rules import CACHED
from tensorlake_nb.core.values.reducer_rules import READ


def reduced(obj: Any) -> tuple[Any, ...] | None:
    """Return the ``__reduce__`` form of a library's wrapper; ``None`` for anything else, or none of the project's."""
    if isinstance(obj, CACHED):
        made_of = getattr(obj, "__wrapped__", None)
        if made_of is None or origin_of(made_of) is not Origin.PROJECT:
            return None
        return _cached, (made_of, *obj.cache_parameters().values()), _kept(obj, CACHE_NAMES), None, None, _keep
    if isinstance(obj, functools.cached_property):
        held = {name: value for name, value in vars(obj).items() if name != "lock"}
        return copyreg.__newobj__, (type(obj),), held, None, None, _fill_property  # type: ignore[attr-defined]
    if isinstance(obj, types.FunctionType) and hasattr(obj, "registry") and hasattr(obj, "dispatch"):
        state = (dict(obj.registry), _kept(obj, DISPATCH_NAMES))
        return _dispatching, (obj.registry[object],), state, None, None, _register
    if isinstance(obj, typing.NewType) and origin_of_module(str(obj.__module__)) is Origin.PROJECT:
        return typing.NewType, (obj.__name__, obj.__supertype__), {"__module__": obj.__module__}
    if type(obj).__module__ == "pydantic._internal._validate_call" and hasattr(obj, "config_wrapper"):
        made_of = obj.function
        made_with = (made_of, _hints(made_of), obj.config_wrapper.config_dict, obj.validate_return)
        return copyreg.__newobj__, (type(obj),), made_with, None, None, _validating  # type: ignore[attr-defined]
    return _made_by_c(obj)


def _made_by_c(obj: Any) -> tuple[Any, ...] | None:
    """Take apart what C makes and doesn't pickle, where it can be made again of what it was made of."""
    if type(obj) is struct.Struct:
        return struct.Struct, (obj.format,)
    if type(obj) in (np.ufunc, _COMPARING):
        taken = READ[type(obj)](obj)
        match taken:
            case (np.frompyfunc, (function, n_in, n_out, identity)):
                return functools.partial(np.frompyfunc, identity=identity), (function, n_in, n_out)
            case (functools.cmp_to_key, (_,)):
                return taken  # type: ignore[no-any-return]
    return None


_COMPARING = type(functools.cmp_to_key(operator.sub))


def _hints(function: Any) -> dict[str, Any]:
    """Annotations with those resolved that are text, where their names are known here."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # a partial, or a name that isn't defined
        return dict(getattr(function, "__annotations__", {}))


def _validating(obj: Any, made_with: tuple[Any, ...]) -> None:
    function, hints, config, validates_return = made_with
    if isinstance(function, types.FunctionType):
        function.__annotations__ = hints
    obj.__init__(function, config, validates_return, None)


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _kept(obj: Any, own: frozenset[str]) -> dict[str, Any]:
    """Return the attributes that were set on a function of ``functools``."""
    return {name: value for name, value in vars(obj).items() if name not in own}


def _keep(obj: Any, held: dict[str, Any]) -> None:
    vars(obj).update(held)


def _fill_property(obj: functools.cached_property[Any], held: dict[str, Any]) -> None:
    # Until Python 3.12 it holds a lock. `__set_name__` isn't called there, so its name comes along.
    vars(obj).update(vars(functools.cached_property(len)) | held)


def _dispatching(default: Callable[..., Any]) -> Any:
    return functools.singledispatch(default)


def _register(function: Any, state: tuple[dict[type, Callable[..., Any]], dict[str, Any]]) -> None:
    implementations, held = state
    _keep(function, held)
    for cls, implementation in implementations.items():
        if cls is not object:
            function.register(cls, implementation)
