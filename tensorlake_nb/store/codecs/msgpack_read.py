"""msgpack ↔ plain data, the way back: see `plain` for the way there.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import operator
import os
import pathlib
import uuid
import zoneinfo
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np
import pydantic

from tensorlake_nb.errors import CheckpointNotFoundError
from tensorlake_nb.store.codecs.classes import ClassResolver, find_class
from tensorlake_nb.store.codecs.msgpack_write import PLAIN_KINDS, Ext, has_own_state


def unpacker(resolver: ClassResolver, *, trusted: bool, frames: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return a function that unpacks values of `msgpack_write.pack`, with the classes now in the notebook."""
    return _Unpacking(resolver, trusted, frames).unpack


class _Unpacking:
    def __init__(self, resolver: ClassResolver, trusted: bool, frames: Callable[[bytes], Any]) -> None:
        self._resolver, self._trusted, self._frames = resolver, trusted, frames
        self._classes: dict[tuple[str, str], type] = {}
        self._depth = 0

    def unpack(self, data: bytes) -> Any:
        if self._depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        self._depth += 1
        try:
            return msgpack.unpackb(
                data, ext_hook=self._extended, strict_map_key=False, raw=False, unicode_errors="surrogatepass"
            )
        finally:
            self._depth -= 1

    def _extended(self, code: int, data: bytes) -> Any:
        match code:
            case Ext.INT:
                return int.from_bytes(data, "little", signed=True)
            case Ext.BYTEARRAY:
                return bytearray(data)
            case Ext.UUID:
                return uuid.UUID(bytes=data)
            case Ext.ELLIPSIS:
                return ...
            case Ext.ARROW:
                return self._frames(data)
        content = self.unpack(data)
        if type(content) not in _FORMS.get(code, (list,)):  # a range, say, would make a tuple of any length
            raise ValueError(f"extension type {code} holds a {type(content).__name__}")
        if code in (Ext.ENUM, Ext.NAMEDTUPLE, Ext.DATACLASS, Ext.PYDANTIC):
            return self._instance(code, *content)
        return _MADE[code](self, content)

    def _instance(self, code: int, module: str, qualname: str, content: Any) -> Any:
        name = (module, qualname)
        if name not in self._classes:
            self._classes[name] = find_class(module, qualname, resolver=self._resolver, trusted=self._trusted)
        cls: Any = self._classes[name]
        try:
            return _REMADE[code](cls, content)
        except (_ChangedError, KeyError, ValueError) as error:
            raise CheckpointNotFoundError(
                f"a stored {module}.{qualname} doesn't fit that class any more: run its graph again, or define the "
                "class as it was"
            ) from error


#: More than the writer makes, and less than what ends the process: see `plain`.
_DEEPEST = 128
#: The contents of extension types that hold no list.
_FORMS: dict[int, tuple[type, ...]] = {
    Ext.DECIMAL: (str,),
    Ext.ZONE: (str,),
    Ext.NUMPY_TEXT: (str, bytes),
    Ext.ORDERED: (dict,),
    Ext.COUNTER: (dict,),
}


class _ChangedError(Exception):
    """The class of a stored value isn't what it was."""


def _require(unchanged: bool) -> None:
    if not unchanged:
        raise _ChangedError


def _enum(cls: Any, content: Any) -> Any:
    _require(issubclass(cls, enum.Enum))
    is_flag, member = content
    _require(type(member) is (int if is_flag else str))
    if is_flag:
        return cls(member)
    found, shown = cls[member], getattr(cls, member, None)  # a reload may leave the member before under its name
    return shown if isinstance(shown, enum.Enum) and shown._value_ == found._value_ else found


def _namedtuple(cls: Any, content: Any) -> Any:
    _require(issubclass(cls, tuple) and type(content) is dict and tuple(content) == getattr(cls, "_fields", None))
    return tuple.__new__(cls, content.values())


def _dataclass(cls: Any, content: Any) -> Any:
    _require(dataclasses.is_dataclass(cls) and not has_own_state(cls, object) and type(content) is dict)
    _require([field.name for field in dataclasses.fields(cls)] == list(content))
    made = object.__new__(cls)
    for name, value in content.items():
        object.__setattr__(made, name, value)
    return made


def _model(cls: Any, content: Any) -> Any:
    _require(issubclass(cls, pydantic.BaseModel) and not has_own_state(cls, pydantic.BaseModel))
    _require(cls.__setstate__ is pydantic.BaseModel.__setstate__)
    fields, extra, fields_set, private = content
    _require(type(fields) is dict and type(fields_set) is list and set(fields) <= set(cls.model_fields))
    made = cls.__new__(cls)
    made.__setstate__(
        {
            "__dict__": fields,
            "__pydantic_extra__": extra,
            "__pydantic_fields_set__": set(fields_set),
            "__pydantic_private__": private,
        }
    )
    return made


_REMADE: dict[int, Callable[[Any, Any], Any]] = {
    Ext.ENUM: _enum,
    Ext.NAMEDTUPLE: _namedtuple,
    Ext.DATACLASS: _dataclass,
    Ext.PYDANTIC: _model,
}


def _remade_scalar(_: _Unpacking, content: Any) -> Any:
    dtype, data = content
    return np.frombuffer(data, dtype=_safe_dtype(dtype))[0]


def _remade_array(_: _Unpacking, content: Any) -> Any:
    dtype, shape, data = content
    return np.ndarray(tuple(shape), dtype=_safe_dtype(dtype), buffer=data).copy()


def _remade_objects(_: _Unpacking, content: Any) -> Any:
    shape, items = content
    array = np.empty(len(_listed(items)), dtype=object)
    for position, item in enumerate(items):  # assigning a slice would take nested lists apart
        array[position] = item
    return array.reshape(tuple(shape))


def _listed(items: Any) -> Any:
    if type(items) is not list:
        raise ValueError("its items are a list")
    return items


def _safe_dtype(name: Any) -> np.dtype[Any]:
    if type(name) is not str:
        raise ValueError("a dtype is a text")
    dtype = np.dtype(name)
    if dtype.kind not in PLAIN_KINDS or not dtype.itemsize:  # an object dtype would read addresses out of stored bytes
        raise ValueError(f"dtype {name!r:.80} isn't plain")
    return dtype


_PATHS: dict[str, type[pathlib.PurePath]] = {
    # A concrete path of the other system comes back as a pure one: it can't be opened here anyway.
    "PosixPath": pathlib.PurePosixPath if os.name == "nt" else pathlib.PosixPath,
    "WindowsPath": pathlib.WindowsPath if os.name == "nt" else pathlib.PureWindowsPath,
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
}

_MADE: dict[int, Callable[[_Unpacking, Any], Any]] = {
    Ext.TUPLE: lambda _, c: tuple(c),
    Ext.SET: lambda u, c: {u.unpack(item) for item in c},
    Ext.FROZENSET: lambda u, c: frozenset(u.unpack(item) for item in c),
    Ext.COMPLEX: lambda _, c: complex(*c),
    Ext.RANGE: lambda _, c: range(*c),
    Ext.SLICE: lambda _, c: slice(*c),
    Ext.DATETIME: lambda _, c: dt.datetime(*c[:7]).replace(fold=c[7], tzinfo=c[8]),
    Ext.DATE: lambda _, c: dt.date(*c),
    Ext.TIME: lambda _, c: dt.time(*c[:4]).replace(fold=c[4], tzinfo=c[5]),
    Ext.TIMEDELTA: lambda _, c: dt.timedelta(*c),
    Ext.TIMEZONE: lambda _, c: dt.UTC if c == [dt.timedelta(0)] else dt.timezone(*c),
    Ext.ZONE: lambda _, c: zoneinfo.ZoneInfo(c),
    Ext.DECIMAL: lambda _, c: Decimal(c),
    Ext.FRACTION: lambda _, c: Fraction(*map(operator.index, c)),  # a text could ask for 10**(10**9)
    Ext.PATH: lambda _, c: _PATHS[c[0]](c[1]),
    Ext.NDARRAY: _remade_array,
    Ext.SCALAR: _remade_scalar,
    Ext.OBJECTS: _remade_objects,
    Ext.NUMPY_TEXT: lambda _, c: np.str_(c) if isinstance(c, str) else np.bytes_(c),
    Ext.ORDERED: lambda _, c: OrderedDict(c),
    Ext.COUNTER: lambda _, c: Counter(c),
    Ext.DEQUE: lambda _, c: deque(_listed(c[0]), maxlen=c[1]),
}
