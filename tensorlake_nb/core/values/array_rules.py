"""Encodings of numpy arrays and scalars: dtype, shape, then the elements in C order.

``x`` and ``x.T`` differ, a Fortran-ordered copy of ``x`` does not. Byte order is part of a dtype. Padding never
enters: neither that between the fields of a structured dtype nor that inside an extended-precision float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from blake3 import blake3

from tensorlake_nb.core.values.encoding import HASHED, INLINE, Encoding, Refusal, count, digest_of, field, parts

#: From this size on, several threads hash faster than one (measured: 4.6 against 3.0 GB/s on 2 cores).
_MANY_THREADS_BYTES = 1 << 20
#: The size of the piece brought into C order at a time, in bytes.
_BLOCK_BYTES = 16 << 20
#: Bytes of an extended-precision float that carry its value; the rest of its 12 or 16 is padding.
_X87_BYTES = 10 if np.finfo(np.longdouble).nmant == 63 else None


def dtype_encoding(dtype: np.dtype[Any], enc: Encoding) -> bytes:
    """Everything about a dtype that makes two arrays of it differ, its metadata included."""
    if dtype.metadata:
        return b"@" + parts([enc.encode(dict(dtype.metadata))]) + _plain_dtype(dtype, enc)
    return _plain_dtype(dtype, enc)


def _plain_dtype(dtype: np.dtype[Any], enc: Encoding) -> bytes:
    if dtype.names is not None and dtype.fields is not None:
        out = b"{" + count(len(dtype.names)) + count(dtype.itemsize) + field(dtype.type.__name__.encode())
        for name in dtype.names:
            inner, offset, *title = dtype.fields[name]
            out += field(name.encode("utf-8", "surrogatepass")) + count(offset) + field(dtype_encoding(inner, enc))
            out += b"".join(b"t" + field(str(each).encode("utf-8", "surrogatepass")) for each in title)
        return out
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return b"(" + field(repr(shape).encode()) + field(dtype_encoding(base, enc))
    if dtype.kind == "T":  # strings of any length, whose na_object and coercion show in the repr alone
        return f"T{dtype!r}".encode()
    return f"{dtype.str}/{dtype.name}".encode()


def array_encoding(value: np.ndarray[Any, Any], enc: Encoding) -> bytes:
    """Encode an exact ``ndarray``; a long one is hashed already."""
    header = b"a" + field(dtype_encoding(value.dtype, enc)) + count(value.ndim) + b"".join(map(count, value.shape))
    if value.dtype.names is not None:
        columns = []
        for name in value.dtype.names:
            try:
                columns.append(enc.encode(np.asarray(value[name])))
            except Refusal as refusal:
                refusal.inside(f"[{name!r}]")
                raise
        return header + parts(columns)
    if value.dtype.hasobject or value.dtype.kind == "T":
        return header + _objects(value, enc)
    if len(header) + value.nbytes <= INLINE:
        return header + bytes(_significant(value))
    hasher = blake3(header, max_threads=blake3.AUTO if value.nbytes >= _MANY_THREADS_BYTES else 1)
    if value.flags.c_contiguous or value.ndim == 0 or value.nbytes <= _BLOCK_BYTES:
        hasher.update(_significant(value))
    else:
        rows = max(1, _BLOCK_BYTES * len(value) // value.nbytes)
        for start in range(0, len(value), rows):
            hasher.update(_significant(value[start : start + rows]))
    return HASHED + bytes(hasher.digest())


def _objects(value: np.ndarray[Any, Any], enc: Encoding) -> bytes:
    out = []
    for item in value.flat:
        try:
            out.append(digest_of(enc.encode(item)))
        except Refusal as refusal:
            refusal.inside(str([int(i) for i in np.unravel_index(len(out), value.shape)]))
            raise
    return b"".join(out)


def _significant(value: np.ndarray[Any, Any]) -> Any:
    """Return the elements' bytes in C order, without a copy where they lie so already."""
    flat = np.ascontiguousarray(value).reshape(-1)
    if flat.size == 0:
        return b""
    raw = flat.view(np.uint8)
    if flat.dtype.kind in "fc" and _X87_BYTES is not None and flat.dtype.char in "gG":
        width = np.dtype(np.longdouble).itemsize
        return raw.reshape(-1, width)[:, :_X87_BYTES].tobytes()
    return raw.data if len(raw) > INLINE else raw.tobytes()


def _scalar(value: np.generic, enc: Encoding) -> bytes:
    """Numpy's scalars count as arrays without dimensions, under their own tag: they aren't Python's numbers."""
    return b"n" + parts([enc.encode(np.asarray(value))])


def _masked(value: np.ma.MaskedArray[Any, Any], enc: Encoding) -> bytes:
    if value is np.ma.masked:  # the one value of its class
        return b"A" + parts([enc.class_part(type(value))])
    mask = np.ma.getmaskarray(value)
    shown = np.array(value.data)
    if mask.dtype.names is None:
        shown[mask] = np.zeros((), shown.dtype)  # what lies below a mask isn't part of the value
    fill = enc.encode(np.asarray(value.fill_value))
    made = b"A" + parts([enc.class_part(type(value)), enc.encode(shown), enc.encode(mask), fill])
    flags = (b"-" if value.mask is np.ma.nomask else b"") + (b"h" if value.hardmask else b"")
    return made + b"?" + flags if flags else made


def _subclass(value: np.ndarray[Any, Any], enc: Encoding) -> bytes:
    state = dict(getattr(value, "__dict__", {}))
    return b"A" + parts([enc.class_part(type(value)), enc.encode(np.asarray(value)), enc.encode(state)])


def array_rule(cls: type) -> Any:
    """Return the rule for an array or scalar class of numpy or below one, else None."""
    if cls is np.ndarray:
        return array_encoding
    if cls is np.memmap:  # how an array is read is no part of it
        return lambda value, enc: array_encoding(np.asarray(value), enc)
    if issubclass(cls, np.ma.MaskedArray):
        return _masked
    if issubclass(cls, np.ndarray):
        return _subclass
    if issubclass(cls, np.generic):
        return _scalar
    if issubclass(cls, np.dtype):
        return lambda value, enc: b"nd" + dtype_encoding(value, enc)
    return None
