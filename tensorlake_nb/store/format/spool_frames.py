"""The frames of a spool, and what is read of them; see `spool` for what they are for."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from blake3 import blake3

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.core.keys import Digest, TaskKey, one_by_one
from tensorlake_nb.store.codecs.codec import NDARRAY, ZARR_DTYPES, Encoded
from tensorlake_nb.store.codecs.msgpack import packb
from tensorlake_nb.store.format.outcomes import Entry, Placed, StoredObject
from tensorlake_nb.store.format.paths import is_object, segment_path
from tensorlake_nb.store.format.trust import Keys
from tensorlake_nb.store.format.zarr_arrays import Layout

MAGIC = b"tensorlake_nb spool 1\n"
_HEAD = struct.Struct("<IB")
_CHECK_BYTES = 16
#: The kinds of frames.
HEADER, BEGUN, ENTRY, TURNS, ENDED, SIGNED = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class SpoolContents:
    """The contents of a spool: every whole frame.

    Attributes
    ----------
    fingerprint, writer
        Whose it is; empty if not even its header can be read.
    entries
        Finished tasks by key, in order, without those that a later one supersedes.
    interrupted
        Keys of tasks begun and not finished.
    vouched
        Keys of finished tasks that bear the user's signature.
    damage
        The problem with it, if any.
    torn_bytes
        The rest of a last frame that its writer didn't live to finish.
    """

    fingerprint: str
    writer: str
    entries: Mapping[TaskKey, Entry] = field(default_factory=dict)
    interrupted: tuple[bytes, ...] = ()
    damage: str | None = None
    torn_bytes: int = 0
    header: Mapping[str, Any] = field(default_factory=dict)
    vouched: frozenset[TaskKey] = frozenset()


def read_spool(raw: bytes, keys: Keys | None = None) -> SpoolContents:
    """Read a spool, skipping what is damaged; never raises for what it finds.

    Parameters
    ----------
    keys
        Whose signatures to look for.
    """
    if not raw.startswith(MAGIC):
        return SpoolContents("", "", damage="it isn't a spool of this format")
    header: dict[str, Any] = {}
    entries: dict[TaskKey, Entry] = {}
    begun: dict[bytes, None] = {}
    turns: Sequence[bytes] = ()
    ended: set[bytes] = set()
    vouched: set[TaskKey] = set()
    last: tuple[TaskKey, bytes] | None = None  # the entry that the frame before was
    damage: str | None = None
    position = len(MAGIC)
    while position < len(raw):
        body_end = position + _HEAD.size
        if body_end > len(raw):
            break
        length, kind = _HEAD.unpack_from(raw, position)
        end = body_end + length + _CHECK_BYTES
        if end > len(raw):
            break
        body = raw[body_end : body_end + length]
        if _check(raw[position : body_end + length]) != raw[body_end + length : end]:
            damage = f"its record at byte {position} is damaged"  # its length may still be right: try what follows
            position = end
            continue
        position = end
        unsigned, last = last, None
        try:
            if kind == HEADER:
                header = dict(msgpack.unpackb(body))
            elif kind == BEGUN:
                begun[body] = None
            elif kind == ENTRY:
                entry = _entry_of(body)
                begun.pop(entry.key, None)
                ended.add(entry.key)
                if entry.key not in entries:
                    entries[entry.key], last = entry, (entry.key, body)
                if entry.supersedes is not None:
                    entries.pop(entry.supersedes, None)
            elif kind == TURNS:
                turns = one_by_one(body)
                ended.difference_update(turns)  # a fold that has gone back makes some of its steps again
            elif kind == ENDED:
                begun.pop(body, None)
                ended.add(body)
            elif kind == SIGNED and unsigned is not None and keys is not None:
                signed, its_body = unsigned
                vouched.update((signed,) if keys.fit(body, "spool", header["fingerprint"], its_body) else ())
        except Exception as error:
            damage = f"its record before byte {position} makes no sense: {error!r:.300}"
    fingerprint, writer = header.get("fingerprint"), header.get("writer")
    if not isinstance(fingerprint, str) or not isinstance(writer, str):
        return SpoolContents("", "", damage=damage or "it has no header")
    torn_bytes = max(0, len(raw) - position)
    for key in turns:
        if key not in ended:
            begun[key] = None  # the one whose turn it was
            break
    return SpoolContents(fingerprint, writer, entries, tuple(begun), damage, torn_bytes, header, frozenset(vouched))


def _check(data: bytes) -> bytes:
    return blake3(data).digest(_CHECK_BYTES)


def frame_of(kind: int, body: bytes) -> bytes:
    """Return a frame: length, kind, body, and the digest of these."""
    data = _HEAD.pack(len(body), kind) + body
    return data + blake3(data).digest(_CHECK_BYTES)


def entry_body(entry: Entry) -> bytes:
    """Return the body of the frame that holds a finished task."""
    values = [_value_body(value) for value in entry.values]
    refers = [[span.segment, span.start, span.stop] for span in entry.refers]
    told = [
        entry.key,
        entry.count,
        values,
        entry.told_routes,
        entry.effects,
        entry.duration_s,
        entry.supersedes,
        refers,
    ]
    return packb(told)


def _value_body(value: Encoded | Placed) -> list[Any]:
    if isinstance(value, Placed):
        objects = [[item.path, item.size_bytes, item.digest] for item in value.objects]
        placed = [value.segment, value.layout.name, value.layout.metadata(), value.row, objects]
        return [value.codec, value.digest, None, placed]
    if isinstance(value.data, bytes):
        return [value.codec, value.digest, value.data]
    return [value.codec, value.digest, value.data.tobytes(), [value.data.dtype.str, list(value.data.shape)]]


def _entry_of(body: bytes) -> Entry:
    key, count, values, told, effects, duration_s, supersedes, *rest = msgpack.unpackb(body)
    targets = None if told is None else [tuple(map(str, each)) for each in told]
    return Entry(
        TaskKey(key),
        count,
        tuple(_value_of(*value) for value in values),
        None if targets is None or count == 0 else Routes.of(targets),
        effects,
        float(duration_s),
        None if supersedes is None else TaskKey(supersedes),
        tuple(Span(str(segment), int(start), int(stop)) for segment, start, stop in (rest[0] if rest else ())),
        targets[0] if targets and count == 0 else None,
    )


def _raw(data: Any) -> bytes:
    if not isinstance(data, bytes):
        raise ValueError(f"{type(data).__name__} where bytes are expected")
    return data


def _value_of(codec: str, digest: bytes, data: bytes | None, form: Any = None) -> Encoded | Placed:
    if data is None:
        segment, name, metadata, row, objects = form
        listed = tuple(StoredObject(str(path), int(size), _raw(its)) for path, size, its in objects)
        layout = Layout.of(str(name), metadata)
        chunks = layout.row_chunks if codec == NDARRAY else layout.byte_chunks
        if not all(is_object(item.path) for item in listed) or chunks > len(listed) or int(row) < 0:
            raise ValueError("a large value of it has no place")
        segment_path(segment)
        return Placed(str(codec), Digest(_raw(digest)), segment, layout, int(row), listed)
    codec, digest, data = str(codec), _raw(digest), _raw(data)
    if form is None:
        return Encoded(codec, data, Digest(digest))
    dtype, shape = form
    if np.dtype(dtype).name not in ZARR_DTYPES:
        raise ValueError(f"an array of it has the dtype {dtype!r:.80}")
    array = np.frombuffer(data, dtype=np.dtype(dtype)).reshape(tuple(shape))
    return Encoded(codec, array, Digest(digest))
