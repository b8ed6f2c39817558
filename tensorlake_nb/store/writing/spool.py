"""A local writer's append-only log: what it finished since its last segment survives its process.

Each finished task is one ``write`` to a file opened for appending, some microseconds, not synced. A frame is

    length (u32, little-endian) · kind (1 byte) · body · BLAKE3 of all that, 16 bytes

so a write that was cut short, or anything else that went wrong, is noticed frame by frame. A live writer holds a lock
on its file, which the operating system lets go when the process dies, however it dies: whoever gets the lock may turn
the spool into a segment.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgpack
import numpy as np
import psutil
from blake3 import blake3

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.keys import Digest, TaskKey, one_by_one
from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.codecs.codec import NDARRAY, ZARR_DTYPES, Encoded
from tensorlake_nb.store.codecs.msgpack import packb
from tensorlake_nb.store.filesystems.local import LocalFilesystem, opened
from tensorlake_nb.store.filesystems.retrying import persistently
from tensorlake_nb.store.format.outcomes import Entry, Placed, StoredObject
from tensorlake_nb.store.format.paths import (
    FORMAT_VERSION,
    SPOOL_SUFFIX,
    is_object,
    segment_path,
    spools_path,
    unique_name,
)
from tensorlake_nb.store.format.trust import Keys
from tensorlake_nb.store.format.zarr_arrays import Layout

try:
    import fcntl
except ImportError:  # Windows
    _try_lock: Callable[[int], bool] | None = None
else:

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    _try_lock = _lock

logger = logging.getLogger(__name__)

MAGIC = b"tensorlake_nb spool 1\n"
_HEAD = struct.Struct("<IB")
_CHECK_BYTES = 16
_NOT_INHERITED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
#: Created, and not inherited by what the process starts.
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | _NOT_INHERITED
_HEADER, _BEGUN, _ENTRY, _TURNS, _ENDED, _SIGNED = 1, 2, 3, 4, 5, 6
_STARTED_WITHIN_S = 2.0  # psutil works a process's start out from the clock, which may be set meanwhile
_HEADERLESS_S = 60.0


class Spool:
    """The log that one writer keeps."""

    _handle = -1

    def __init__(self, filesystem: LocalFilesystem, fingerprint: str, writer: str, keys: Keys | None = None) -> None:
        self._filesystem, self._keys = filesystem, keys
        self._relative = f"{spools_path(fingerprint)}/{unique_name(writer)}{SPOOL_SUFFIX}"
        self.path = filesystem.path(self._relative)
        self._fingerprint, self._writer = fingerprint, writer
        self._size = self._kept = 0

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def begun(self, key: bytes) -> None:
        """Note that a task is being computed."""
        self._append(_frame(_BEGUN, key))

    def turns(self, keys: Sequence[bytes]) -> None:
        """Note tasks that are computed one after the other, so that none has to be noted when its turn comes.

        They replace those noted before.
        """
        self._append(_frame(_TURNS, b"".join(keys)))

    def ended(self, key: bytes) -> None:
        """Note that a task has ended and nothing is kept of it."""
        self._append(_frame(_ENDED, key))

    def add(self, entry: Entry) -> None:
        """Note a finished task with its outputs."""
        body = _entry_body(entry)
        frame = _frame(_ENTRY, body)
        if self._keys is not None:
            frame += _frame(_SIGNED, self._keys.sign("spool", self._fingerprint, body))
        self._append(frame)

    def restart(self, begun: Sequence[bytes] = (), turns: Sequence[bytes] = ()) -> None:
        """Forget everything but the tasks still being computed or to come: the rest is in a segment now."""
        if self._handle < 0:
            return
        persistently("write", self.path, lambda: os.ftruncate(self._handle, self._kept))
        self._size = self._kept
        for key in begun:
            self.begun(key)
        if turns:
            self.turns(turns)

    def remove(self) -> None:
        """End the log: nothing in it is needed any more."""
        if self._handle < 0:
            return
        try:
            self._filesystem.remove(self._relative)
        except StoreUnavailableError as error:  # whoever recovers it finds that all of it is in segments
            logger.warning("a spool that has served is left: %s", error)
        self.release()

    def __del__(self) -> None:
        self.release()  # or the lock would keep a forgotten spool from being recovered while this process lives

    def release(self) -> None:
        """Leave the log to whoever recovers it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _append(self, frame: bytes) -> None:
        if self._handle < 0:
            persistently("write", self.path, self._start)
        self._filesystem.append(self._relative, self._handle, self._size, frame)
        self._size += len(frame)

    def _start(self) -> None:
        """Begin the file: one without a whole header would be taken for damaged, so then there is none."""
        handle = opened(self.path, _NEW)
        locked = _try_lock is not None and _try_lock(handle)
        header = {
            "version": FORMAT_VERSION,
            "fingerprint": self._fingerprint,
            "writer": self._writer,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _own_start(os.getpid()),
            "locked": locked,
        }
        first = MAGIC + _frame(_HEADER, msgpack.packb(header))
        try:
            self._filesystem.append(self._relative, handle, 0, first)
        except BaseException:
            os.close(handle)
            self._filesystem.remove(self._relative)
            raise
        self._handle, self._size = handle, len(first)
        self._kept = self._size


@dataclass(frozen=True, slots=True)
class SpoolContents:
    """What a spool holds: every frame that is whole.

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
        What is wrong with it, if anything.
    torn_bytes
        What is left of a last frame that its writer didn't live to finish.
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
            if kind == _HEADER:
                header = dict(msgpack.unpackb(body))
            elif kind == _BEGUN:
                begun[body] = None
            elif kind == _ENTRY:
                entry = _entry_of(body)
                begun.pop(entry.key, None)
                ended.add(entry.key)
                if entry.key not in entries:
                    entries[entry.key], last = entry, (entry.key, body)
                if entry.supersedes is not None:
                    entries.pop(entry.supersedes, None)
            elif kind == _TURNS:
                turns = one_by_one(body)
                ended.difference_update(turns)  # a fold that has gone back makes some of its steps again
            elif kind == _ENDED:
                begun.pop(body, None)
                ended.add(body)
            elif kind == _SIGNED and unsigned is not None and keys is not None:
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


class AbandonedSpool:
    """A spool of a dead writer, held so that nobody else recovers it meanwhile; ``with`` lets it go."""

    def __init__(self, handle: int, contents: SpoolContents) -> None:
        self._handle = handle
        self.contents = contents

    def __enter__(self) -> AbandonedSpool:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def take_over(path: str, keys: Keys | None = None) -> AbandonedSpool | None:
    """Take hold of a spool whose writer is dead; ``None`` if it lives, or somebody else has it."""
    try:
        handle = os.open(path, os.O_RDWR | _NOT_INHERITED)
    except OSError:
        return None
    keep = False
    try:
        locked = _try_lock is not None and _try_lock(handle)
        if _try_lock is not None and not locked:
            return None
        raw = _read_all(handle)
        contents = read_spool(raw, keys)
        if _is_alive(contents, os.fstat(handle).st_mtime, locked):
            return None
        if os.name != "nt" and not _is_still(handle, path):
            return None
        keep = True
        return AbandonedSpool(handle, contents)
    except OSError:
        return None
    finally:
        if not keep:
            os.close(handle)


def _is_alive(contents: SpoolContents, touched: float, locked: bool) -> bool:
    if not contents.writer:  # between being created and having a header
        return time.time() - touched < _HEADERLESS_S
    if contents.header.get("locked") and locked:
        return False  # its writer held the lock while it lived
    if contents.header.get("host") != socket.gethostname():
        return True  # can't be told from here; its entries can be read all the same
    pid = contents.header.get("pid")
    started = contents.header.get("started")
    if not isinstance(pid, int) or not isinstance(started, float):
        return False
    return abs(_started(pid) - started) < _STARTED_WITHIN_S


def _is_still(handle: int, path: str) -> bool:
    """Whether the file is still the one under that name, and not recovered and removed since it was opened."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return found.st_ino == os.fstat(handle).st_ino


@cache
def _own_start(pid: int) -> float:  # by process, since a fork keeps what was cached before it
    return _started(pid)


def _started(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _read_all(handle: int) -> bytes:
    parts = []
    while part := os.read(handle, 2**24):
        parts.append(part)
    return b"".join(parts)


def _check(data: bytes) -> bytes:
    return blake3(data).digest(_CHECK_BYTES)


def _frame(kind: int, body: bytes) -> bytes:
    data = _HEAD.pack(len(body), kind) + body
    return data + blake3(data).digest(_CHECK_BYTES)


def _entry_body(entry: Entry) -> bytes:
    values = [_value_body(value) for value in entry.values]
    refers = [[span.segment, span.start, span.stop] for span in entry.refers]
    told = [entry.key, entry.count, values, entry.routes, entry.effects, entry.duration_s, entry.supersedes, refers]
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
    key, count, values, routes, effects, duration_s, supersedes, *rest = msgpack.unpackb(body)
    return Entry(
        TaskKey(key),
        count,
        tuple(_value_of(*value) for value in values),
        None if routes is None else tuple(tuple(map(str, targets)) for targets in routes),
        effects,
        float(duration_s),
        None if supersedes is None else TaskKey(supersedes),
        tuple(Span(str(segment), int(start), int(stop)) for segment, start, stop in (rest[0] if rest else ())),
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
