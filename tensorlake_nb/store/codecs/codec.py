"""Values ↔ bytes or arrays, by type; no I/O.

The first codec that keeps a value exactly is taken:

1. ``ndarray``: plain numeric arrays, which become native Zarr arrays,
2. ``msgpack``: plain data, exactly (`plain`),
3. ``pandas.DataFrame``, ``polars.DataFrame``, …: Arrow, where it loses nothing (`tables`),
4. ``pickle``: anything else, with the notebook's classes by name (`pickled`); never read from an untrusted store.

What comes back equals what went in, with the same types and the same digest, and shares no memory with anything.

Values of any type come through here: `Any` stops in this file.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import pydantic
from blake3 import blake3

from tensorlake_nb.core.keys import Digest
from tensorlake_nb.core.values.digest import digest as digest_of
from tensorlake_nb.errors import (
    CorruptCheckpointError,
    OptionError,
    SerializationError,
    StoreError,
    UnreadableValueError,
    UntrustedCheckpointError,
)
from tensorlake_nb.store.codecs.arrow import from_arrow, to_arrow
from tensorlake_nb.store.codecs.classes import ClassResolver, ModuleResolver
from tensorlake_nb.store.codecs.msgpack_read import unpacker
from tensorlake_nb.store.codecs.msgpack_write import LEAVES, NotPlainError, pack, pack_leaf
from tensorlake_nb.store.codecs.pickles import pickled, unpickled

NDARRAY, MSGPACK, JSON, PICKLE = "ndarray", "msgpack", "json", "pickle"

#: dtypes that Zarr v3 itself defines; all others travel inside msgpack, with numpy's own name for them.
ZARR_DTYPES = frozenset({"bool", "float16", "float32", "float64", "complex64", "complex128"}) | {
    f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}
#: Said wherever something is refused.
HOW_TO_TRUST = (
    "Set TENSORLAKE_NB_SIGNING_KEY to the key that it was signed with; or, if you trust everyone who can write to the "
    "store: configure(trust_store=True) or TENSORLAKE_NB_TRUST_STORE=1."
)
_MODULES = ModuleResolver()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as it is stored.

    Attributes
    ----------
    codec
        How to read it back.
    data
        Bytes, or for ``ndarray`` a C-contiguous little-endian array, possibly the value itself.
    digest
        Digest of the value.
    picture
        Of a figure what shows it without its library; see `pictures`.
    """

    codec: str
    data: bytes | np.ndarray[Any, Any]
    digest: Digest
    picture: Encoded | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.data) if isinstance(self.data, bytes) else self.data.nbytes

    @property
    def is_plain(self) -> bool:
        """True if the bytes hold the whole value: no array, and no code that runs on reading."""
        return type(self.data) is bytes and self.codec != PICKLE

    def detached(self) -> Encoded:
        """Return a copy that doesn't change when the value is changed in place."""
        if isinstance(self.data, bytes):
            return self
        return Encoded(self.codec, self.data.copy(), self.digest)

    def alone(self) -> Encoded:
        """Return a copy without its picture."""
        return self if self.picture is None else dataclasses.replace(self, picture=None)

    def packed(self) -> Encoded:
        """Return a copy as bytes: an array in its msgpack form."""
        if isinstance(self.data, bytes):
            return self
        return Encoded(MSGPACK, _packed(self.data, _MODULES)[0], self.digest)


def encode(value: Any, *, digest: Digest, encoder: str = "auto", resolver: ClassResolver = _MODULES) -> Encoded:
    """Encode one value.

    Parameters
    ----------
    digest
        Digest of the value. With ``encoder="json"``, of what `through_json` makes of it.
    encoder
        ``"auto"`` or ``"cloudpickle"``: the first codec that keeps the value exactly; ``"json"``: JSON text.

    Raises
    ------
    SerializationError
        The value can't be stored; names the part that can't.
    """
    if encoder == "json":
        return Encoded(JSON, _json_text(value).encode("utf-8", "surrogatepass"), digest)
    if encoder not in ("auto", "cloudpickle"):
        raise OptionError(f"encoder {encoder!r} is unknown: use 'json' or 'cloudpickle'")
    if type(value) in LEAVES:
        with suppress(OverflowError):  # an int of more than 64 bits
            return Encoded(MSGPACK, pack_leaf(value), digest)
    if type(value) is np.memmap:
        value = np.asarray(value)
    if type(value) is np.ndarray and _is_native(value):
        return Encoded(NDARRAY, np.ascontiguousarray(value).reshape(value.shape), digest)
    table = to_arrow(value)
    if table is not None:
        kind, stream = table
        return Encoded(kind, stream, digest) if _keeps(kind, stream, digest) else _as_pickle(value, digest, resolver)
    try:
        data, has_tables = _packed(value, resolver)
    except NotPlainError:
        return _as_pickle(value, digest, resolver)
    if has_tables and not _keeps(MSGPACK, data, digest, resolver):
        return _as_pickle(value, digest, resolver)
    return Encoded(MSGPACK, data, digest)


def encode_by_pickle(value: Any, *, resolver: ClassResolver = _MODULES) -> Encoded:
    """Encode a value that has no digest of its own: it gets that of its pickle's bytes, which may differ next time.

    Raises
    ------
    SerializationError
        It can't be pickled and read back.
    """
    data = pickled(value, resolver)
    return Encoded(PICKLE, data, Digest(blake3(b"tensorlake_nb pickle\n" + data).digest()))


def decode(
    codec: str, data: bytes | np.ndarray[Any, Any], *, resolver: ClassResolver = _MODULES, trusted: bool = True
) -> Any:
    """Decode a value, a fresh one for each call.

    Raises
    ------
    UntrustedCheckpointError
        A pickle, and the store isn't trusted.
    UnreadableValueError
        The value's class, or the library that it needs, isn't there any more.
    CorruptCheckpointError
        The data can't have been made by `encode`.
    """
    if codec == PICKLE and not trusted:
        raise UntrustedCheckpointError(
            "a pickled value is code that runs when it is read, and this one isn't signed with your key. "
            + HOW_TO_TRUST
        )
    try:
        return _decode(codec, data, resolver, trusted)
    except StoreError:
        raise
    except MemoryError as error:
        if trusted:
            raise
        raise _unreadable(codec, error) from error
    except Exception as error:
        if codec == PICKLE:  # whole by its digest: what it needs to come to life has gone
            raise UnreadableValueError(f"a pickled value can't be read back here{_lacking(error)}") from error
        raise _unreadable(codec, error) from error


def decode_all(
    codecs: Sequence[str], parts: Sequence[bytes], *, resolver: ClassResolver = _MODULES, trusted: bool = True
) -> list[Any]:
    """`decode` for many values that aren't arrays; small ones cost a fraction of what they do one by one."""
    unpack_next = unpacker(resolver, trusted=trusted, frames=_frames)
    values = []
    for codec, data in zip(codecs, parts, strict=True):
        if codec == MSGPACK:
            try:
                values.append(unpack_next(data))
            except StoreError:
                raise
            except MemoryError as error:
                if trusted:
                    raise
                raise _unreadable(codec, error) from error
            except Exception as error:
                raise _unreadable(codec, error) from error
        else:
            values.append(decode(codec, data, resolver=resolver, trusted=trusted))
    return values


def _unreadable(codec: str, error: Exception) -> CorruptCheckpointError:
    return CorruptCheckpointError(f"stored {codec!r:.80} data can't be read ({type(error).__name__}: {error!s:.300})")


def _lacking(error: Exception) -> str:
    """Say why a pickle can't be loaded, and what to install if a package is missing."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return f" ({type(error).__name__}: {error})"
    package = error.name.partition(".")[0]
    if package in sys.modules:  # so only a part of it is missing
        return f": it needs {error.name}, which isn't in the {package} installed here. Another version made it."
    return f": it needs {package}, which isn't installed here. Install it to load the value."


def _frames(part: bytes) -> Any:
    return from_arrow(*msgpack.unpackb(part))


def through_json(value: Any) -> Any:
    """Return a value as it crosses a JSON edge: pydantic models and dataclasses as dicts, tuples as lists.

    Raises
    ------
    SerializationError
        It isn't JSON.
    """
    return json.loads(_json_text(value))


def _json_text(value: Any) -> str:
    try:
        return json.dumps(value, default=_json_default, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(
            f"a {type(value).__module__}.{type(value).__qualname__} can't be encoded as JSON: {error}. "
            "Return plain data, or use output_encoder='cloudpickle'."
        ) from error


def _json_default(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not JSON serializable")


def _is_native(array: np.ndarray[Any, Any]) -> bool:
    dtype = array.dtype
    return dtype.name in ZARR_DTYPES and dtype.str[0] in "<|" and dtype.metadata is None and array.size > 0


def _packed(value: Any, resolver: ClassResolver) -> tuple[bytes, bool]:
    has_tables = False

    def tables(part: Any) -> bytes | None:
        nonlocal has_tables
        table = to_arrow(part)
        if table is None:
            return None
        has_tables = True
        packed: bytes = msgpack.packb(table)
        return packed

    return pack(value, resolver, frames=tables), has_tables


def _as_pickle(value: Any, digest: Digest, resolver: ClassResolver) -> Encoded:
    return Encoded(PICKLE, pickled(value, resolver, lambda read: digest_of(read) == digest), digest)


def _keeps(codec: str, data: bytes, digest: Digest, resolver: ClassResolver = _MODULES) -> bool:
    """Return True if Arrow kept everything: it changes some dtypes and indexes silently."""
    try:
        return digest_of(_decode(codec, data, resolver, True)) == digest
    except Exception:
        return False


def _decode(codec: str, data: bytes | np.ndarray[Any, Any], resolver: ClassResolver, trusted: bool) -> Any:
    if not isinstance(data, bytes):
        return data.copy()
    match codec:
        case "msgpack":
            return unpacker(resolver, trusted=trusted, frames=_frames)(data)
        case "json":
            return json.loads(data.decode("utf-8", "surrogatepass"))
        case "pickle":
            return unpickled(data, resolver)
        case _:
            return from_arrow(codec, data)
