"""A segment's record ↔ its ``zarr.json``: a Zarr group with its arrays, and an attribute that explains them.

The attribute ``tensorlake_nb`` begins with a checksum: BLAKE3 of the whole file with its own digits as zeros.
Numbers per task or per output are packed little-endian arrays in base64: a record of 10,000 tasks parses in a few
milliseconds.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from tensorlake_nb.errors import CorruptCheckpointError, StoreVersionError
from tensorlake_nb.store.format.compression import compress, decompress
from tensorlake_nb.store.format.paths import FORMAT_VERSION
from tensorlake_nb.store.format.sealing import newer
from tensorlake_nb.store.format.trust import Keys

ATTRIBUTE = "tensorlake_nb"

_MARK = b'"checksum":"'
_ZEROS = b"0" * 64
_HEAD = b'{"zarr_format":3,"node_type":"group","attributes":{"tensorlake_nb":{"checksum":"' + _ZEROS + b'",'
_UNSIGNED = b'"signature":"' + _ZEROS + b'",'
_CHECKED_AT = len(_HEAD) - len(_ZEROS) - 2
_SIGNED_AT = len(_HEAD) + len(_UNSIGNED) - len(_ZEROS) - 2
_HEX = re.compile(rb"[0-9a-f]{64}")


def write_record(
    about: Mapping[str, Any], arrays: Mapping[str, Mapping[str, Any]] | None = None, keys: Keys | None = None
) -> bytes:
    """Return a group's ``zarr.json`` with ``about`` as our attribute, and the metadata of its arrays, if any.

    Parameters
    ----------
    keys
        Sign it.
    """
    told = json.dumps({"version": FORMAT_VERSION, **about}, separators=(",", ":"))
    parts = [_HEAD, b"" if keys is None else _UNSIGNED, told[1:].encode(), b"}"]
    if arrays is not None:
        listed = {"kind": "inline", "must_understand": False, "metadata": arrays}
        parts.append(b',"consolidated_metadata":' + json.dumps(listed, separators=(",", ":")).encode())
    parts.append(b"}\n")
    raw = b"".join(parts)
    if keys is not None:
        raw = _filled(raw, _SIGNED_AT, keys.sign("record", raw).hex())
    return _filled(raw, _CHECKED_AT, blake3(raw).hexdigest())


def is_signed(raw: bytes, keys: Keys) -> bool:
    """Return True if one of the keys made the record's signature."""
    digits = raw[_SIGNED_AT : _SIGNED_AT + 64]
    if raw[len(_HEAD) : _SIGNED_AT] != _UNSIGNED[: _SIGNED_AT - len(_HEAD)] or not _HEX.fullmatch(digits):
        return False
    unsigned = _filled(_filled(raw, _CHECKED_AT, _ZEROS.decode()), _SIGNED_AT, _ZEROS.decode())
    return keys.fit(bytes.fromhex(digits.decode()), "record", unsigned)


def _filled(raw: bytes, start: int, digits: str) -> bytes:
    return raw[:start] + digits.encode() + raw[start + 64 :]


def read_record(path: str, raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the checked arguments of `write_record`.

    Raises
    ------
    CorruptCheckpointError
        Cut, changed, or something else.
    StoreVersionError
        A newer format, which may well have another checksum.
    """
    start = raw.find(_MARK, 0, 1024) + len(_MARK)
    if start < len(_MARK) or len(raw) < start + 64:
        _refuse_newer(path, raw)
        raise CorruptCheckpointError(f"{path} isn't a record of tensorlake_nb ({len(raw)} bytes of something else)")
    hasher = blake3(raw[:start])
    hasher.update(_ZEROS)
    hasher.update(memoryview(raw)[start + 64 :])
    if hasher.hexdigest().encode() != raw[start : start + 64]:
        _refuse_newer(path, raw)
        raise CorruptCheckpointError(f"{path} is damaged: its checksum doesn't fit its {len(raw)} bytes")
    try:
        group = json.loads(raw)
        about = group["attributes"][ATTRIBUTE]
        version = about["version"]
        arrays = group["consolidated_metadata"]["metadata"] if "consolidated_metadata" in group else {}
        if not (isinstance(about, dict) and isinstance(arrays, dict) and isinstance(version, int)):
            raise TypeError("parts of other types than expected")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path} isn't a record of tensorlake_nb: {error}") from error
    if version > FORMAT_VERSION:
        raise StoreVersionError(newer(path, version))
    return about, arrays


def _refuse_newer(path: str, raw: bytes) -> None:
    try:
        version = json.loads(raw)["attributes"][ATTRIBUTE]["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise StoreVersionError(newer(path, version))


def base64_of(data: bytes | NDArray[Any]) -> str:
    """Bytes, or the elements of an array, as text."""
    return base64.b64encode(data if isinstance(data, bytes) else data.tobytes()).decode()


def bytes_of(text: str) -> bytes:
    """Return the bytes given to `base64_of`; raise `ValueError` for anything else."""
    return base64.b64decode(text, validate=True)


def numbers_of(text: str, dtype: str) -> NDArray[Any]:
    """Return the array given to `base64_of`."""
    return np.frombuffer(bytes_of(text), dtype=dtype)


def folded(value: Any) -> dict[str, Any]:
    """Sparse details in a compact form that stands in JSON."""
    packed: bytes = msgpack.packb(value)
    return {"size": len(packed), "zstd": base64_of(compress(packed))}


def unfolded(stored: Mapping[str, Any], *, vouched: bool = True) -> Any:
    """Return the value given to `folded`; raise `ValueError` or `KeyError` for anything else."""
    packed = decompress(bytes_of(stored["zstd"]), int(stored["size"]), vouched=vouched)
    return msgpack.unpackb(packed, strict_map_key=False)
