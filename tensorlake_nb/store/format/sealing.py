"""Bytes ↔ a stored object that shows damage: a line of text with length and digest, then the bytes.

    tensorlake_nb frame 1 zstd 5120 <blake3, 64 hex digits>

The digest covers the object's path as well, so an object that strayed to another place is as bad as a damaged one.
"""

from __future__ import annotations

from blake3 import blake3

from tensorlake_nb.errors import CorruptCheckpointError, StoreVersionError
from tensorlake_nb.store.format.compression import compress, decompress, pays
from tensorlake_nb.store.format.paths import FORMAT_VERSION

_MAGIC = b"tensorlake_nb frame "
_COMPRESS_FROM = 4096


def seal(path: str, data: bytes) -> bytes:
    """Return the object to put at ``path``; compressed where that pays."""
    form, body = b"raw", data
    if len(data) >= _COMPRESS_FROM and pays(data):
        form, body = b"zstd", compress(data)
    about = b"%d %s %d" % (FORMAT_VERSION, form, len(data))
    return b"%s%s %s\n%s" % (_MAGIC, about, _digest(path, about, body), body)


def unseal(path: str, raw: bytes, *, vouched: bool = True) -> bytes:
    """Return the content given to `seal`.

    Parameters
    ----------
    vouched
        The store is trusted: contents may be as large as they say.

    Raises
    ------
    CorruptCheckpointError
        The object is cut, changed or something else.
    StoreVersionError
        It was written in a newer format.
    """
    line, newline, _ = raw[:256].partition(b"\n")
    words = line[len(_MAGIC) :].split(b" ")
    if not line.startswith(_MAGIC) or not newline or len(words) != 4:
        raise CorruptCheckpointError(f"{path} isn't what tensorlake_nb wrote ({len(raw)} bytes of something else)")
    if words[0].isdigit() and int(words[0]) > FORMAT_VERSION:
        raise StoreVersionError(newer(path, int(words[0])))
    body = raw[len(line) + 1 :]
    if words[3] != _digest(path, b" ".join(words[:3]), body):
        raise CorruptCheckpointError(f"{path} is damaged: its {len(body)} bytes don't have the digest they should")
    if not words[2].isdigit() or words[1] not in (b"raw", b"zstd"):
        raise CorruptCheckpointError(f"{path} isn't what tensorlake_nb wrote: {line[:80]!r}")
    size_bytes = int(words[2])
    if words[1] == b"zstd":
        try:
            return decompress(body, size_bytes, vouched=vouched)
        except ValueError as error:
            raise CorruptCheckpointError(f"{path} is damaged: {error}") from error
    return body


def newer(path: str, version: int) -> str:
    """Return the message about something of a newer format."""
    return (
        f"{path} was written in format {version}, and this tensorlake_nb reads formats up to {FORMAT_VERSION}. "
        "Upgrade tensorlake_nb, or use another store."
    )


def _digest(path: str, about: bytes, body: bytes) -> bytes:
    hasher = blake3(b"%s\n%s\n" % (path.encode(), about))
    hasher.update(body)
    return hasher.hexdigest().encode()
