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
from collections.abc import Sequence

import msgpack

from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.filesystems.local import LocalFilesystem, opened
from tensorlake_nb.store.filesystems.retrying import persistently
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.paths import FORMAT_VERSION, SPOOL_SUFFIX, spools_path, unique_name
from tensorlake_nb.store.format.spool_frames import (
    BEGUN,
    ENDED,
    ENTRY,
    HEADER,
    MAGIC,
    SIGNED,
    TURNS,
    entry_body,
    frame_of,
)
from tensorlake_nb.store.format.trust import Keys
from tensorlake_nb.store.writing.abandoned_spools import NOT_INHERITED, own_start, try_lock

logger = logging.getLogger(__name__)

#: Created, and not inherited by what the process starts.
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | NOT_INHERITED


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
        self._append(frame_of(BEGUN, key))

    def turns(self, keys: Sequence[bytes]) -> None:
        """Note tasks that are computed one after the other, so that none has to be noted when its turn comes.

        They replace those noted before.
        """
        self._append(frame_of(TURNS, b"".join(keys)))

    def ended(self, key: bytes) -> None:
        """Note that a task has ended and nothing is kept of it."""
        self._append(frame_of(ENDED, key))

    def add(self, entry: Entry) -> None:
        """Note a finished task with its outputs."""
        body = entry_body(entry)
        frame = frame_of(ENTRY, body)
        if self._keys is not None:
            frame += frame_of(SIGNED, self._keys.sign("spool", self._fingerprint, body))
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
        locked = try_lock is not None and try_lock(handle)
        header = {
            "version": FORMAT_VERSION,
            "fingerprint": self._fingerprint,
            "writer": self._writer,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": own_start(os.getpid()),
            "locked": locked,
        }
        first = MAGIC + frame_of(HEADER, msgpack.packb(header))
        try:
            self._filesystem.append(self._relative, handle, 0, first)
        except BaseException:
            os.close(handle)
            self._filesystem.remove(self._relative)
            raise
        self._handle, self._size = handle, len(first)
        self._kept = self._size
