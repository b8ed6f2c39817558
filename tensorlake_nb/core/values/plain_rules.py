"""Encodings of Python's own data: scalars, containers, dates, paths.

Decisions that a key depends on:

- The order of a dict is part of its value: a function can see it. The order of a set isn't.
- ``-0.0`` and ``0.0`` differ, and so do NaNs of different bits: floats count by their 8 bytes.
- ``Decimal("1.0")`` and ``Decimal("1.00")`` differ, as do equal instants in different time zones: both can be seen.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import struct
import types
import uuid
from collections.abc import Callable
from typing import Any

from tensorlake_nb.core.values.encoding import Encoding, Refusal, Rule, count, digest_of, field, parts

_pack_float = struct.Struct("<d").pack
_pack_two = struct.Struct("<dd").pack


def _int(value: int) -> bytes:
    return b"i" + value.to_bytes((value.bit_length() >> 3) + 1, "little", signed=True)


def _str(value: str) -> bytes:
    return b"s" + value.encode("utf-8", "surrogatepass")


#: Types whose encoding needs nothing but the value.
SCALARS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _int,
    float: lambda value: b"f" + _pack_float(value),
    complex: lambda value: b"c" + _pack_two(value.real, value.imag),
    str: _str,
    bytes: lambda value: b"b" + value,
    bytearray: lambda value: b"B" + value,
    type(...): lambda value: b".",
    type(NotImplemented): lambda value: b"!",
    datetime.date: lambda value: b"Dd" + value.isoformat().encode(),
    datetime.timedelta: lambda value: b"Dl%d,%d,%d" % (value.days, value.seconds, value.microseconds),
    decimal.Decimal: lambda value: b"Nd" + str(value).encode(),
    uuid.UUID: lambda value: b"Nu" + value.bytes,
    range: lambda value: b"Nr" + repr((value.start, value.stop, value.step)).encode(),
    pathlib.PurePosixPath: lambda value: b"Pp" + str(value).encode("utf-8", "surrogatepass"),
    pathlib.PureWindowsPath: lambda value: b"Pw" + str(value).encode("utf-8", "surrogatepass"),
    pathlib.PosixPath: lambda value: b"PP" + str(value).encode("utf-8", "surrogatepass"),
    pathlib.WindowsPath: lambda value: b"PW" + str(value).encode("utf-8", "surrogatepass"),
}


def list_encoding(digests: bytes) -> bytes:
    """Encode a list from the digests of its items end to end."""
    return b"l" + count(len(digests) // 32) + digests


def _list(value: list[Any], enc: Encoding) -> bytes:
    encode, out = enc.encode, list[bytes]()
    try:
        for item in value:
            out.append(digest_of(encode(item)))
    except Refusal as refusal:
        refusal.inside(f"[{len(out)}]")
        raise
    return list_encoding(b"".join(out))


def tuple_parts(value: tuple[Any, ...], enc: Encoding) -> bytes:
    """Count and parts of a sequence's items, in order."""
    encode, out = enc.encode, list[bytes]()
    try:
        for item in value:
            out.append(encode(item))
    except Refusal as refusal:
        refusal.inside(f"[{len(out)}]")
        raise
    return count(len(out)) + parts(out)


def dict_parts(value: Any, enc: Encoding) -> bytes:
    """Count and parts of a mapping's keys and values, in its order."""
    encode, out, key = enc.encode, list[bytes](), None
    try:
        for key, item in value.items():
            out.append(encode(key))
            out.append(encode(item))
    except Refusal as refusal:
        refusal.inside(f"[{key!r:.60}]")
        raise
    return count(len(out) // 2) + parts(out)


def attribute_parts(value: dict[str, Any], enc: Encoding) -> bytes:
    """Count and parts of an object's attributes, by name: the order they were set in is no part of an object."""
    out = list[bytes]()
    name = ""
    try:
        for name in sorted(value):
            out.append(_name_part(name))
            out.append(enc.encode(value[name]))
    except Refusal as refusal:
        refusal.inside(f".{name}")
        raise
    return count(len(out) // 2) + parts(out)


def _name_part(name: str) -> bytes:
    plain = name.encode("utf-8", "surrogatepass")
    return plain if len(plain) < 32 else b"#" + digest_of(_str(name))


def _set(value: Any, enc: Encoding) -> bytes:
    tag = b"z" if type(value) is set else b"Z"
    try:
        items = enc.unordered(value)
    except Refusal as refusal:
        refusal.inside("{...}")
        raise
    return tag + count(len(items)) + parts(items)


def _datetime(value: datetime.datetime, enc: Encoding) -> bytes:
    wall = value.replace(tzinfo=None).isoformat().encode()
    return b"Dt" + field(wall) + b"%d" % value.fold + parts([enc.encode(value.tzinfo)])


def _time(value: datetime.time, enc: Encoding) -> bytes:
    wall = value.replace(tzinfo=None).isoformat().encode()
    return b"Dh" + field(wall) + b"%d" % value.fold + parts([enc.encode(value.tzinfo)])


def _memoryview(value: memoryview, enc: Encoding) -> bytes:
    return b"m" + field(value.format.encode()) + field(repr(value.shape).encode()) + value.tobytes()


#: Types whose encoding asks for that of others.
RULES: dict[type, Rule] = {
    list: _list,
    tuple: lambda value, enc: b"t" + tuple_parts(value, enc),
    dict: lambda value, enc: b"d" + dict_parts(value, enc),
    types.MappingProxyType: lambda value, enc: b"x" + dict_parts(value, enc),
    set: _set,
    frozenset: _set,
    slice: lambda value, enc: b"Ns" + tuple_parts((value.start, value.stop, value.step), enc),
    fractions.Fraction: lambda value, enc: b"Nf" + tuple_parts((value.numerator, value.denominator), enc),
    datetime.datetime: _datetime,
    datetime.time: _time,
    memoryview: _memoryview,
}
