"""Fingerprint and input digests → the keys that name outputs, elements, folds and streams.

A digest is 32 bytes (BLAKE3, 256 bit). Everything here is a hash of length-prefixed, tagged fields, so no two
different field lists can meet in one key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NewType

from blake3 import blake3

#: Hash of a value's contents, 32 bytes.
Digest = NewType("Digest", bytes)
#: Names the output of one call, 32 bytes.
TaskKey = NewType("TaskKey", bytes)
#: Hash of a function and all that it reaches, 64 hex digits (it stands in paths).
Fingerprint = NewType("Fingerprint", str)
#: Names one execution of a graph.
RunId = NewType("RunId", str)

DIGEST_SIZE = 32


def one_by_one(digests: bytes) -> list[Digest]:
    """Digests or keys that stand end to end, one by one."""
    return [Digest(digests[i : i + DIGEST_SIZE]) for i in range(0, len(digests), DIGEST_SIZE)]


def _hash(tag: bytes, fields: Iterable[bytes]) -> bytes:
    hasher = blake3(len(tag).to_bytes(8, "little") + tag)
    for field in fields:
        hasher.update(len(field).to_bytes(8, "little"))
        hasher.update(field)
    return hasher.digest()


def task_key(fingerprint: Fingerprint, given: Digest) -> TaskKey:
    """Name the output of one call by the function's fingerprint and the digest of what it is given."""
    return TaskKey(blake3(b"task/1" + bytes.fromhex(fingerprint) + given).digest())


def task_keys(fingerprint: Fingerprint, given: bytes) -> bytes:
    """Name many calls at once: ``given`` is n digests end to end, the answer n keys end to end."""
    prefix = b"task/1" + bytes.fromhex(fingerprint)
    keys = bytearray(len(given))  # filled in place: a million keys are no million objects
    for i in range(0, len(given), DIGEST_SIZE):
        keys[i : i + DIGEST_SIZE] = blake3(prefix + given[i : i + DIGEST_SIZE]).digest()
    return bytes(keys)


def confined(fingerprint: Fingerprint, run: RunId, node: str) -> Fingerprint:
    """Return the fingerprint of a ``cacheable=False`` function at one node of one run, which replays there only."""
    return Fingerprint(_hash(b"confined/2", [bytes.fromhex(fingerprint), run.encode(), node.encode()]).hex())


def level(fingerprint: Fingerprint, name: str) -> Fingerprint:
    """Return the fingerprint of one level of a reducer's combine tree; each level folds other values."""
    return Fingerprint(_hash(b"level/1", [bytes.fromhex(fingerprint), name.encode()]).hex())


def row_digest(columns: Iterable[tuple[str, Digest]]) -> Digest:
    """Digest a joined call's arguments: one digest per parameter name, in any order."""
    return Digest(_hash(b"row/1", (part for name, value in sorted(columns) for part in (name.encode(), value))))


def fold_start() -> Digest:
    """Return the rolling digest of a fold before its first element."""
    return Digest(_hash(b"fold/1", []))


def fold_next(rolling: Digest, element: Digest) -> Digest:
    """Return the rolling digest of a fold after one more element.

    A fold's accumulator is decided by the code and by the elements so far, in order, so this digest names it.
    """
    return Digest(blake3(b"fold/1" + rolling + element).digest())


def stream_digest(digests: Iterable[bytes]) -> Digest:
    """Digest a whole stream: its elements' digests, in order.

    Each item may hold one digest or many end to end: only their concatenation counts.
    """
    hasher = blake3(b"stream/1")
    for part in digests:
        hasher.update(part)
    return Digest(hasher.digest())


def group_digests(tag: str, digests: Iterable[Digest]) -> Digest:
    """Digest a tagged sequence of digests."""
    return Digest(_hash(tag.encode(), digests))


def picture_key(shows: Digest) -> TaskKey:
    """Names the pictures of an output, by its digest."""
    return TaskKey(group_digests("picture/1", [shows]))
