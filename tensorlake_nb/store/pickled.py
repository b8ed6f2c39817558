"""Anything else ↔ cloudpickle, with the notebook's classes by name instead of by value.

A class pickled by value comes back as a copy, and ``isinstance`` fails on what a checkpoint gives back. So classes that
the resolver knows are written as names, and found again where they stand now.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from weakref import WeakSet

import cloudpickle

from tensorlake_nb.errors import SerializationError
from tensorlake_nb.store.classes import ClassResolver, find_class

_CLASS = "tensorlake_nb class"
#: Up to this size every pickle is read back when it is made.
_SMALL_BYTES = 1 << 20
_read_back: WeakSet[type] = WeakSet()
_DEEPEST = 6
_WIDEST = 1000


def pickled(value: Any, resolver: ClassResolver) -> bytes:
    """The pickle of a value; `SerializationError` names the part of it that can't be pickled or read back.

    Many an exception with arguments of its own can be pickled and not be read: in the store it would look like damage
    for ever. So what is small is read back at once, and what is large if it holds anything of a class that wasn't yet.
    """
    try:
        data, classes = _pickle(value, resolver)
        if len(data) <= _SMALL_BYTES or not all(cls in _read_back for cls in classes):
            unpickled(data, resolver)
            _read_back.update(classes)
        return data
    except Exception as error:
        path, part, reason = _culprit(value, "value", resolver, error, _DEEPEST)
        raise SerializationError(
            f"{path} is a {type(part).__module__}.{type(part).__qualname__}, which can't be stored "
            f"({type(reason).__name__}: {str(reason)[:300]}). Return what it was made from instead, "
            "and make it again where it is needed."
        ) from error


def unpickled(data: bytes, resolver: ClassResolver) -> Any:
    """What `pickled` was given. Runs code that the pickle names: only for trusted stores."""
    return _Unpickler(io.BytesIO(data), resolver).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, resolver: ClassResolver) -> None:
        super().__init__(file, protocol=5)
        self._resolver = resolver
        self.classes: set[type] = set()

    def persistent_id(self, value: Any) -> Any:
        self.classes.add(type(value))
        if isinstance(value, type):
            name = self._resolver.name_of(value)
            if name is not None:
                return (_CLASS, *name)
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, resolver: ClassResolver) -> None:
        super().__init__(file)
        self._resolver = resolver

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) != 3 or pid[0] != _CLASS:
            raise pickle.UnpicklingError("a persistent id of somebody else")
        return find_class(pid[1], pid[2], resolver=self._resolver, trusted=True)


def _pickle(value: Any, resolver: ClassResolver) -> tuple[bytes, set[type]]:
    """The pickle, and the classes of all that is in it."""
    file = io.BytesIO()
    pickler = _Pickler(file, resolver)
    pickler.dump(value)
    return file.getvalue(), pickler.classes


def _culprit(
    value: Any, path: str, resolver: ClassResolver, error: Exception, depth: int
) -> tuple[str, Any, Exception]:
    """The innermost part that fails by itself, found by trying the parts one after the other."""
    if depth:
        for step, part in islice(_parts(value), _WIDEST):
            try:
                unpickled(_pickle(part, resolver)[0], resolver)
            except Exception as reason:
                return _culprit(part, path + step, resolver, reason, depth - 1)
    return path, value, error


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"[{repr(key)[:40]}]", item
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield f"[{position}]", item
    elif isinstance(value, set | frozenset):
        yield from ((f"{{{repr(item)[:40]}}}", item) for item in value)
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict) and not isinstance(value, type):
        for name, item in list(state.items()):
            yield f".{name}", item
    for name in getattr(type(value), "__slots__", ()):
        if isinstance(name, str) and hasattr(value, name):
            yield f".{name}", getattr(value, name)
