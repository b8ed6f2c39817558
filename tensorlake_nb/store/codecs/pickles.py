"""Anything else ↔ cloudpickle, with the notebook's classes by name instead of by value.

A class pickled by value comes back as a copy, and ``isinstance`` fails on what a checkpoint gives back. So classes that
the resolver knows are written as names, and found again where they stand now.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any
from weakref import WeakSet

import cloudpickle

from tensorlake_nb.core.deep_stack import on_a_deep_stack
from tensorlake_nb.core.moved import module_now
from tensorlake_nb.errors import SerializationError
from tensorlake_nb.store.codecs.classes import ClassResolver, find_class
from tensorlake_nb.store.codecs.reducers import bare as by_attributes
from tensorlake_nb.store.codecs.reducers import reducer_of

_CLASS = "tensorlake_nb class"
#: Up to this size every pickle is read back when it is made.
_SMALL_BYTES = 1 << 20
_read_back: WeakSet[type] = WeakSet()
_DEEPEST = 6
_WIDEST = 1000


def pickled(value: Any, resolver: ClassResolver, is_same: Callable[[Any], bool] = lambda _: False) -> bytes:
    """Pickle a value; raise `SerializationError` naming the part that can't be pickled or read back.

    Many an object can be pickled and not be read: in the store it would look like damage for ever. So what is small is
    read back at once, and what is large if it holds anything of a class that wasn't yet. What can't be read back as it
    takes itself apart is pickled by its attributes, if that gives the same.

    Parameters
    ----------
    is_same
        A test whether the value read back equals the original.
    """
    try:
        data, classes = _pickle(value, resolver)
        if len(data) <= _SMALL_BYTES or not all(cls in _read_back for cls in classes):
            unpickled(data, resolver)
            _read_back.update(classes)
        return data
    except Exception as error:
        with suppress(Exception):
            data, _ = _pickle(value, resolver, by_attributes=True)
            if is_same(unpickled(data, resolver)):
                return data
        path, part, reason = _culprit(value, "value", resolver, error, _DEEPEST)
        raise SerializationError(
            f"{path} is a {type(part).__module__}.{type(part).__qualname__}, which can't be stored "
            f"({type(reason).__name__}: {str(reason)[:300]}). Return what it was made from instead, "
            "and make it again where it is needed."
        ) from error


def unpickled(data: bytes, resolver: ClassResolver) -> Any:
    """Load a pickle made by `pickled`. Runs code that the pickle names: only for trusted stores."""
    try:
        return _Unpickler(io.BytesIO(data), resolver).load()
    except RecursionError:  # pickle itself knows no depth: a constructor or `__setstate__` has called itself
        return on_a_deep_stack(lambda: _Unpickler(io.BytesIO(data), resolver).load())


class _Rules:
    """Mix-in for picklers: the values that are pickled in another way than cloudpickle's."""

    def __init__(self, file: io.BytesIO, resolver: ClassResolver, by_attributes: bool, kept: dict[int, bool]) -> None:
        super().__init__(file, protocol=5)  # type: ignore[call-arg]
        self._resolver, self._by_attributes, self._kept = resolver, by_attributes, kept
        self.classes: set[type] = set()

    def persistent_id(self, value: Any) -> Any:
        self.classes.add(type(value))
        if isinstance(value, type):
            name = self._resolver.name_of(value)
            if name is not None:
                return (_CLASS, *name)
        return None

    def reducer_override(self, value: Any) -> Any:
        rule = reducer_of(type(value))
        reduced = NotImplemented if rule is None else rule(value, self._can_be_kept)
        if reduced is NotImplemented:
            reduced = super().reducer_override(value)  # type: ignore[misc]
        if reduced is NotImplemented and self._by_attributes:
            return by_attributes(value)
        if isinstance(value, type) and isinstance(reduced, tuple) and len(reduced) > 2:
            attributes, slots = reduced[2]  # cloudpickle forgets where a class was made
            return *reduced[:2], ({**attributes, "__qualname__": value.__qualname__}, slots), *reduced[3:]
        return reduced

    def _can_be_kept(self, value: Any) -> bool:
        known = self._kept.get(id(value))
        if known is not None:
            return known
        self._kept[id(value)] = True  # where it leads back to itself
        try:
            _pickle(value, self._resolver, self._by_attributes, self._kept)
        except Exception:
            self._kept[id(value)] = False
        return self._kept[id(value)]


class _Pickler(_Rules, cloudpickle.Pickler):  # type: ignore[misc]
    dump = pickle.Pickler.dump


class _PythonPickler(pickle._Pickler):
    """cloudpickle on top of the pickler that is written in Python: its calls take no stack of C's."""

    dispatch_table = cloudpickle.Pickler.dispatch_table
    reducer_override = cloudpickle.Pickler.reducer_override
    _function_reduce = cloudpickle.Pickler._function_reduce
    _dynamic_function_reduce = cloudpickle.Pickler._dynamic_function_reduce
    _function_getnewargs = cloudpickle.Pickler._function_getnewargs

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.globals_ref: dict[int, dict[str, Any]] = {}


class _DeepPickler(_Rules, _PythonPickler):
    pass


#: Python 3.12 and 3.13 limit calls in C to some thousands, whatever the stack; the others by the recursion limit, or by
#: the stack itself.
_DEEP: type[Any] = _DeepPickler if sys.version_info[:2] in ((3, 12), (3, 13)) else _Pickler


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, resolver: ClassResolver) -> None:
        super().__init__(file)
        self._resolver = resolver

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module_now(module), name)

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) != 3 or pid[0] != _CLASS:
            raise pickle.UnpicklingError("a persistent id of somebody else")
        return find_class(pid[1], pid[2], resolver=self._resolver, trusted=True)


def _pickle(
    value: Any, resolver: ClassResolver, by_attributes: bool = False, kept: dict[int, bool] | None = None
) -> tuple[bytes, set[type]]:
    """Return the pickle of a value nested to any depth, and the classes of all that is in it.

    ``kept`` holds what is known already of parts that would be left out if they couldn't be pickled, by ``id``.
    """

    def by(pickler_type: type[Any]) -> tuple[bytes, set[type]]:
        file = io.BytesIO()
        pickler = pickler_type(file, resolver, by_attributes, {} if kept is None else kept)
        pickler.dump(value)
        return file.getvalue(), pickler.classes

    try:
        return by(_Pickler)
    except RecursionError:
        return on_a_deep_stack(lambda: by(_DEEP))


def _culprit(
    value: Any, path: str, resolver: ClassResolver, error: Exception, depth: int
) -> tuple[str, Any, Exception]:
    """Find the innermost part that fails by itself by trying the parts one after the other."""
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
