"""Zstandard, where it pays.

Frames are what Zarr's ``zstd`` codec reads. They are made with ``zstandard`` and not through ``zarr`` or
``numcodecs``, whose imports cost each process a fifth of a second.
"""

from __future__ import annotations

import threading

import zstandard

from tensorlake_nb.store.filesystems.protocol import Buffer

#: Recorded in the arrays' metadata. Higher levels gain little on such data and are slower than the disk.
LEVEL = 1

_SMALLEST = 256
_WORTHWHILE = 0.8
_SLICE = 16 * 1024
_BELIEVED_BYTES = 16 * 2**20
_BELIEVED_RATIO = 100
_PER_THREAD = threading.local()  # a (de)compressor isn't thread-safe, and costs more to make than to use


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_PER_THREAD, "compressor"):
        _PER_THREAD.compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
    made: zstandard.ZstdCompressor = _PER_THREAD.compressor
    return made


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_PER_THREAD, "decompressor"):
        _PER_THREAD.decompressor = zstandard.ZstdDecompressor()
    made: zstandard.ZstdDecompressor = _PER_THREAD.decompressor
    return made


def compress(data: Buffer) -> bytes:
    """One zstd frame that carries its content's size."""
    return _compressor().compress(data)


def is_believable(size_bytes: int, stored_bytes: int) -> bool:
    """Return True if untrusted data of this stored size may expand to that size."""
    return size_bytes <= max(_BELIEVED_BYTES, _BELIEVED_RATIO * stored_bytes)


def decompress(data: Buffer, size_bytes: int, *, vouched: bool = True) -> bytes:
    """Return the content of one frame; raise `ValueError` if it is no frame or isn't ``size_bytes`` long.

    The size is checked first, so that a small frame can't ask for all the memory there is.

    Parameters
    ----------
    vouched
        The user wrote it. Else a size out of all proportion is refused as well.
    """
    if not vouched and not is_believable(size_bytes, len(data)):
        raise ValueError(f"{len(data)} bytes claim to hold {size_bytes}, and nobody vouches for them")
    try:
        if zstandard.frame_content_size(data) != size_bytes:
            raise ValueError(f"a zstd frame doesn't hold the {size_bytes} bytes it should")
        content = _decompressor().decompress(data, max_output_size=size_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"not a zstd frame: {error}") from error
    if len(content) != size_bytes:
        raise ValueError(f"a zstd frame holds {len(content)} bytes instead of {size_bytes}")
    return content


def pays(data: Buffer) -> bool:
    """Return True if data shrinks enough to be worth compressing, judged by four slices of it."""
    view = memoryview(data).cast("B")
    if len(view) < _SMALLEST:
        return False
    if len(view) <= 4 * _SLICE:
        sample = bytes(view)
    else:
        step = (len(view) - _SLICE) // 3
        sample = b"".join(view[i * step : i * step + _SLICE] for i in range(4))
    return len(compress(sample)) < _WORTHWHILE * len(sample)
