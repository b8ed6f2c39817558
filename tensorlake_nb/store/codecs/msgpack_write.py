"""Plain data ↔ msgpack, exactly: the same types come back, not merely equal values.

Only exact types are taken: a subclass of ``dict`` is not a dict, and what has no rule here raises `NotPlainError`,
so that another codec keeps it. Types that msgpack doesn't know travel as extension types, listed in docs/format.md.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import pathlib
import threading
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

from tensorlake_nb.store.codecs.classes import ClassResolver, class_name
from tensorlake_nb.store.codecs.msgpack import packb


class Ext(enum.IntEnum):
    """Extension types. The numbers stand in stored files: never reuse one."""

    TUPLE = 1
    SET = 2
    FROZENSET = 3
    COMPLEX = 4
    INT = 5
    BYTEARRAY = 6
    RANGE = 7
    SLICE = 8
    DATETIME = 9
    DATE = 10
    TIME = 11
    TIMEDELTA = 12
    DECIMAL = 13
    FRACTION = 14
    UUID = 15
    PATH = 16
    ENUM = 17
    NAMEDTUPLE = 18
    DATACLASS = 19
    PYDANTIC = 20
    NDARRAY = 21
    SCALAR = 22
    OBJECTS = 23
    NUMPY_TEXT = 24
    ORDERED = 25
    COUNTER = 26
    DEQUE = 27
    ELLIPSIS = 28
    TIMEZONE = 29
    ZONE = 30
    ARROW = 31


#: Types that msgpack has a form for which is read back as the same type.
LEAVES = frozenset({type(None), bool, int, float, str, bytes})
_EXACTLY: Any = {"strict_types": True, "use_bin_type": True, "unicode_errors": "surrogatepass"}
_HERE = threading.local()
_CONTAINERS = frozenset({list, tuple, dict})
_TAKEN = frozenset({bytearray, memoryview, msgpack.ExtType, msgpack.Timestamp})
_MOST_ITEMS = 1_000_000
#: So many instances and sets, each written once for every reference to it, unless most of them are different ones.
_MOST_WRITTEN = 20_000
#: Types with a rule of their own that hold others.
_NESTING = frozenset({tuple, set, frozenset, OrderedDict, Counter, deque, np.ndarray})
#: Extension types inside each other: each takes 40 KB of a thread's stack when it is read, and 190 all of it.
_DEEPEST = 64

#: Kinds of numpy dtypes whose elements are plain bytes.
PLAIN_KINDS = "biufcSUMm"


class NotPlainError(Exception):
    """A value that this codec has no exact form for; the argument is its type."""


def pack(value: Any, resolver: ClassResolver, *, frames: Callable[[Any], bytes | None]) -> bytes:
    """Return the msgpack form of a value.

    Parameters
    ----------
    frames
        Gives the Arrow form of a table or frame inside the value, ``None`` for anything else.

    Raises
    ------
    NotPlainError
        It holds something without an exact form, is nested too deeply, or is too large for msgpack.
    """
    try:
        return _Packing(resolver, frames).pack(value)
    except (ValueError, OverflowError, RecursionError, TypeError) as error:
        raise NotPlainError(type(value)) from error


def pack_leaf(value: Any) -> bytes:
    """Return the msgpack form of an instance of one of `LEAVES`; raise `OverflowError` for an int over 64 bits."""
    if type(value) in (str, bytes):  # the buffer that is kept would grow with them
        return packb(value, **_EXACTLY)
    if not hasattr(_HERE, "packer"):
        _HERE.packer = msgpack.Packer(**_EXACTLY)
    packed: bytes = _HERE.packer.pack(value)
    return packed


class _Packing:
    def __init__(self, resolver: ClassResolver, frames: Callable[[Any], bytes | None]) -> None:
        self._resolver, self._frames = resolver, frames
        self._shapes: dict[type, tuple[Ext, tuple[str, str], tuple[str, ...]] | None] = {}
        self._depth = 0
        self._written = 0
        self._distinct: set[int] = set()

    def pack(self, value: Any) -> bytes:
        inspection = _Inspection()
        inspection.look(value)
        exact = _exact(value) if inspection.found else value
        if self._depth > _DEEPEST:
            raise NotPlainError(type(value))
        self._depth += 1
        packed = packb(exact, default=self._extension, **_EXACTLY)
        self._depth -= 1
        return packed

    def _ext(self, code: int, content: Any) -> msgpack.ExtType:
        return msgpack.ExtType(code, self.pack(content))

    def _extension(self, value: Any) -> msgpack.ExtType:
        cls = type(value)
        rule = _RULES.get(cls)
        if rule is not None:
            if cls in _NESTING:
                self._count(value)
            return rule(self, value)
        if isinstance(value, np.generic):
            return _scalar(self, value)
        if isinstance(value, dt.tzinfo):
            return _tzinfo(self, value)
        frame = self._frames(value)
        if frame is not None:
            return msgpack.ExtType(Ext.ARROW, frame)
        if cls not in self._shapes:
            self._shapes[cls] = _shape_of(cls, self._resolver)
        shape = self._shapes[cls]
        if shape is None:
            raise NotPlainError(cls)
        code, name, fields = shape
        if code is not Ext.ENUM:
            self._count(value)
        return self._ext(code, [*name, _contents(code, fields, value)])

    def _count(self, value: Any) -> None:
        """Refuse what would be written far more often than it is there."""
        self._written += 1
        self._distinct.add(id(value))
        if self._written > _MOST_WRITTEN and self._written > 8 * len(self._distinct):
            raise NotPlainError(type(value))


class _Inspection:
    """Looks for what msgpack would take without asking, and for sharing that would make a small value huge.

    msgpack writes a bytearray as bytes whatever it is told, and writes an object once for every reference to it.
    """

    def __init__(self) -> None:
        self.found = False
        self._sizes: dict[int, int] = {}
        self._distinct = 0

    def look(self, value: Any) -> int:
        """Return the number of the value's items, with every shared one written out."""
        cls = type(value)
        if cls not in _CONTAINERS:
            if cls in _TAKEN:
                if cls is not bytearray:
                    raise NotPlainError(cls)
                self.found = True
            return 1
        known = self._sizes.get(id(value))
        if known is not None:
            return known
        self._sizes[id(value)] = 1  # a value inside itself ends here, and then in msgpack's limit on nesting
        size = len(value)
        self._distinct += size
        for items in (value.keys(), value.values()) if cls is dict else (value,):
            if not LEAVES.issuperset(map(type, items)):
                size += sum(map(self.look, items))
        if size > _MOST_ITEMS and size > 8 * self._distinct:
            raise NotPlainError(cls)
        self._sizes[id(value)] = size
        return size


def _exact(value: Any) -> Any:
    """Return the value with bytearrays as extension types."""
    if type(value) is bytearray:
        return msgpack.ExtType(Ext.BYTEARRAY, bytes(value))
    if type(value) is list:
        return [_exact(item) for item in value]
    if type(value) is dict:
        return {name: _exact(item) for name, item in value.items()}
    return value


def _shape_of(cls: type, resolver: ClassResolver) -> tuple[Ext, tuple[str, str], tuple[str, ...]] | None:
    """Return the way to take apart instances of a class, if it is known to lose nothing."""
    name = class_name(cls, resolver)
    if name is None:
        return None
    if issubclass(cls, enum.Enum):
        return (Ext.ENUM, name, ())
    if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple) and not has_own_state(cls, tuple):
        return (Ext.NAMEDTUPLE, name, tuple(cls._fields))  # type: ignore[attr-defined]
    if issubclass(cls, pydantic.BaseModel):
        if has_own_state(cls, pydantic.BaseModel) or cls.__setstate__ is not pydantic.BaseModel.__setstate__:
            return None
        return (Ext.PYDANTIC, name, tuple(cls.model_fields))
    if dataclasses.is_dataclass(cls) and not has_own_state(cls, object):
        return (Ext.DATACLASS, name, tuple(field.name for field in dataclasses.fields(cls)))
    return None


def has_own_state(cls: Any, base: Any) -> bool:
    """Return True if a class has its own way to make or pickle its instances."""
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        return True
    if base is tuple:
        return False  # made by tuple.__new__ from its items, whatever its own __new__ does on the way in
    made_by_dataclass = "__slots__" in vars(cls) and "__getstate__" in vars(cls) and dataclasses.is_dataclass(cls)
    return cls.__new__ is not base.__new__ or (cls.__getstate__ is not base.__getstate__ and not made_by_dataclass)


def _contents(code: Ext, fields: tuple[str, ...], value: Any) -> Any:
    match code:
        case Ext.ENUM:
            if isinstance(value, enum.Flag):
                return [True, value.value]
            return [False, value.name]
        case Ext.NAMEDTUPLE:
            if getattr(value, "__dict__", None):
                raise NotPlainError(type(value))
            return dict(zip(fields, value, strict=True))
        case Ext.DATACLASS:
            if not set(getattr(value, "__dict__", ())) <= set(fields):
                raise NotPlainError(type(value))
            try:
                return {name: getattr(value, name) for name in fields}
            except AttributeError as error:
                raise NotPlainError(type(value)) from error
        case _:
            state = value.__getstate__()
            if not set(state["__dict__"]) <= set(fields):
                raise NotPlainError(type(value))
            fields_set = sorted(state["__pydantic_fields_set__"])
            return [state["__dict__"], state["__pydantic_extra__"], fields_set, state["__pydantic_private__"]]


def _scalar(packing: _Packing, value: np.generic) -> msgpack.ExtType:
    dtype = value.dtype
    if dtype.kind not in PLAIN_KINDS or dtype.type is not type(value) or np.dtype(dtype.str).type is not type(value):
        raise NotPlainError(type(value))
    if isinstance(value, np.str_ | np.bytes_):
        return packing._ext(Ext.NUMPY_TEXT, value[:])  # str() and bytes() would cut trailing zeros off
    return packing._ext(Ext.SCALAR, [dtype.str, value.tobytes()])


def _ndarray(packing: _Packing, value: Any) -> msgpack.ExtType:
    dtype = value.dtype
    if dtype.metadata is not None or dtype.itemsize == 0:
        raise NotPlainError(type(value))
    if dtype.kind == "O":
        return packing._ext(Ext.OBJECTS, [list(value.shape), list(value.ravel())])
    if dtype.kind not in PLAIN_KINDS:
        raise NotPlainError(type(value))
    return packing._ext(Ext.NDARRAY, [dtype.str, list(value.shape), value.tobytes()])


def _datetime(packing: _Packing, value: Any) -> msgpack.ExtType:
    return packing._ext(Ext.DATETIME, [*value.timetuple()[:6], value.microsecond, value.fold, value.tzinfo])


def _time(packing: _Packing, value: Any) -> msgpack.ExtType:
    parts = [value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo]
    return packing._ext(Ext.TIME, parts)


def _tzinfo(packing: _Packing, value: Any) -> msgpack.ExtType:
    if type(value) is dt.timezone:
        return packing._ext(Ext.TIMEZONE, list(value.__getinitargs__()))  # type: ignore[attr-defined]
    if type(value) is zoneinfo.ZoneInfo and value.key is not None:
        return packing._ext(Ext.ZONE, value.key)
    raise NotPlainError(type(value))


def _path(packing: _Packing, value: Any) -> msgpack.ExtType:
    return packing._ext(Ext.PATH, [type(value).__name__, str(value)])


def _sorted_items(packing: _Packing, value: Any) -> list[msgpack.ExtType]:
    # Each element packed by itself, so that equal sets are equal bytes in every process.
    return sorted(packing.pack(item) for item in value)


_RULES: dict[type, Callable[[_Packing, Any], msgpack.ExtType]] = {
    tuple: lambda p, v: p._ext(Ext.TUPLE, list(v)),
    set: lambda p, v: p._ext(Ext.SET, _sorted_items(p, v)),
    frozenset: lambda p, v: p._ext(Ext.FROZENSET, _sorted_items(p, v)),
    complex: lambda p, v: p._ext(Ext.COMPLEX, [v.real, v.imag]),
    int: lambda p, v: msgpack.ExtType(Ext.INT, v.to_bytes(v.bit_length() // 8 + 1, "little", signed=True)),
    range: lambda p, v: p._ext(Ext.RANGE, [v.start, v.stop, v.step]),
    slice: lambda p, v: p._ext(Ext.SLICE, [v.start, v.stop, v.step]),
    dt.datetime: _datetime,
    dt.date: lambda p, v: p._ext(Ext.DATE, [v.year, v.month, v.day]),
    dt.time: _time,
    dt.timedelta: lambda p, v: p._ext(Ext.TIMEDELTA, [v.days, v.seconds, v.microseconds]),
    Decimal: lambda p, v: p._ext(Ext.DECIMAL, str(v)),
    Fraction: lambda p, v: p._ext(Ext.FRACTION, [v.numerator, v.denominator]),
    uuid.UUID: lambda p, v: msgpack.ExtType(Ext.UUID, v.bytes),
    pathlib.PosixPath: _path,
    pathlib.WindowsPath: _path,
    pathlib.PurePosixPath: _path,
    pathlib.PureWindowsPath: _path,
    np.ndarray: _ndarray,
    OrderedDict: lambda p, v: p._ext(Ext.ORDERED, dict(v)),
    Counter: lambda p, v: p._ext(Ext.COUNTER, dict(v)),
    deque: lambda p, v: p._ext(Ext.DEQUE, [list(v), v.maxlen]),
    type(...): lambda p, v: msgpack.ExtType(Ext.ELLIPSIS, b""),
}
