"""Take apart values that pickle alone can't: as cloudpickle sends them, or by their readable state.

A reducer gives a constructor, which stands for the form, and its arguments. Those in ``SENT`` travel, and what is sent
is what counts. Those in ``READ`` don't: a worker has them by importing the module where they stand. cloudpickle is pure
Python without requirements of its own, and a worker can't do without it.
"""

from __future__ import annotations

import contextvars
import csv
import functools
import gc
import hashlib
import io
import json
import operator
import re
import struct
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from cloudpickle import cloudpickle

#: A function that takes a value apart: to a constructor and its arguments, or to a name.
Reducer = Callable[[Any], Any]

_CLOUDPICKLE: dict[type, Reducer] = cloudpickle.Pickler._dispatch_table
_VIEWS: tuple[type, ...] = tuple(cls for cls in _CLOUDPICKLE if cls.__name__.startswith(("dict_", "odict_")))


def _as_sent(cls: type) -> Reducer:
    """Encode cloudpickle's arguments, without the name of its own function, on which no key should depend."""
    return lambda value: (cls, _CLOUDPICKLE[cls](value)[1])


def _ufunc(value: np.ufunc) -> Any:
    """One of a package by its name; one that ``np.frompyfunc`` has made by the function below it."""
    made_of = [held for held in gc.get_referents(value) if isinstance(held, types.FunctionType)]
    made_of += [held for held in gc.get_referents(value) if not made_of and callable(held)]
    return (np.frompyfunc, (made_of[0], value.nin, value.nout, value.identity)) if made_of else value.__name__


def _comparing(value: Any) -> Any:
    """Encode ``functools.cmp_to_key``'s result, or a key that it made: the function, and the wrapped value."""
    return functools.cmp_to_key, tuple(held for held in gc.get_referents(value) if held is not type(value))


def _context_variable(value: contextvars.ContextVar[Any]) -> Any:
    missing = object()
    held = value.get(missing)
    return contextvars.ContextVar, (*gc.get_referents(value), *(() if held is missing else ("now", held)))


def _by_names(*names: str) -> Reducer:
    return lambda value: (type(value), tuple(getattr(value, name) for name in names))


def _random_state(value: np.random.RandomState) -> Any:
    """NumPy's global one by its name, like all that packages remember: distributions of SciPy hold it."""
    return "_rand" if value is np.random.mtrand._rand else value.__reduce__()


#: Values that travel, by what is sent.
SENT: dict[type, Reducer] = {
    np.random.RandomState: _random_state,
    **{cls: _as_sent(cls) for cls in (*_VIEWS, io.TextIOWrapper, types.CellType)},
    weakref.WeakSet: lambda value: (weakref.WeakSet, (set(value),)),
}

#: Values that don't travel, by what can be read of them.
READ: dict[type, Reducer] = {
    struct.Struct: _by_names("format"),
    np.ufunc: _ufunc,
    type(functools.cmp_to_key(operator.sub)): _comparing,
    contextvars.ContextVar: _context_variable,
    re.Match: _by_names("re", "string", "pos", "endpos", "regs"),
    type(vars(json.JSONDecoder())["scan_once"]): _by_names(
        "strict", "object_hook", "object_pairs_hook", "parse_float", "parse_int", "parse_constant"
    ),
    type(csv.get_dialect("excel")): _by_names(
        "delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting", "skipinitialspace", "strict"
    ),
    type(hashlib.sha256()): lambda value: (type(value), (value.name, value.digest())),
    weakref.ReferenceType: lambda value: (weakref.ref, (value(),)),
    weakref.WeakKeyDictionary: lambda value: (weakref.WeakKeyDictionary, (dict(value),)),
    weakref.WeakValueDictionary: lambda value: (weakref.WeakValueDictionary, (dict(value),)),
}
