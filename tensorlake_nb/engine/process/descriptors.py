"""Capture the output of programs and C libraries (descriptors 1 and 2) for a worker's calls.

While a batch is computed, both descriptors lead to files without a name (`last_words` makes them). They are no pipes: a
C library that fills one, and keeps the interpreter locked meanwhile, would wait for ever for this process to read it.
What a program that a call has left running writes later comes to the same files. A thread looks how they grow: what no
log will take is dropped, and what is no call's goes where it went before.

Python's own ``sys.stdout`` and ``sys.stderr`` are `capture`'s, and don't come here during a call.
"""

from __future__ import annotations

import codecs
import ctypes
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tensorlake_nb.engine.process.last_words import pass_on

Stream = Literal["stdout", "stderr"]
#: Bytes that are read at a time; of a call, more than its log takes.
_READ_BYTES = 512 * 1024
#: How large a file may become while a call writes to it.
_FILE_BYTES = 1024 * 1024
#: How often the files are looked at (s) while calls are made, and otherwise.
_LOOK_EVERY_S, _IDLE_LOOK_EVERY_S = 0.02, 1.0
#: How many pieces of what is no call's may wait for whoever reads it.
_MOST_WAITING = 16


class _File:
    """One of the two descriptors, and the file that it leads to."""

    def __init__(self, stream: Stream, number: int, path: str) -> None:
        self.stream, self.number = stream, number
        self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self.original = os.dup(number)
        self.decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.seen = 0

    def new(self) -> tuple[bytes, int]:
        """Return the bytes written since the last call, and the number left out after them."""
        size = os.lseek(self.fd, 0, os.SEEK_END)
        if size == self.seen:
            return b"", 0
        if size < self.seen:  # `> /dev/stdout` in a shell empties it
            self.seen = 0
        data = os.pread(self.fd, _READ_BYTES, self.seen)
        left_out = size - self.seen - len(data)
        self.seen = size
        # Who has opened it by such a path doesn't append: after it was emptied there is a hole before what comes.
        return data.lstrip(b"\0"), left_out

    def empty(self, above: int = 0) -> None:
        """Drop what was seen, unless something has just come."""
        if self.seen > above and (above or os.lseek(self.fd, 0, os.SEEK_END) == self.seen):
            os.ftruncate(self.fd, 0)
            self.seen = 0
            self.decoder.reset()


class Descriptors:
    """Descriptors 1 and 2 of this process, which makes calls on one thread.

    Parameters
    ----------
    paths
        The files that they lead to while a batch is computed.
    deliver
        Gives a text to the call that it belongs to; ``False`` if there is no such call.

    Raises
    ------
    OSError
        The files can't be opened.
    """

    def __init__(self, paths: Sequence[str], deliver: Callable[[Stream, str], bool]) -> None:
        out, err = paths
        self._files = (_File("stdout", 1, out), _File("stderr", 2, err))
        self._deliver = deliver
        self._lock = threading.RLock()
        self._flush = _flusher()
        self._is_redirected = False
        self._left: deque[tuple[int, bytes, int]] = deque(maxlen=_MOST_WAITING)
        self._passing, self._wakes = threading.Lock(), threading.Event()
        _keep_handlers_out(self._files[1].original)
        threading.Thread(target=self._watch, name="tensorlake-nb descriptors", daemon=True).start()

    def redirect(self) -> None:
        """Take what is written from now on."""
        self._flush()
        with self._lock:
            self._take(is_last=True)
            for file in self._files:
                os.dup2(file.fd, file.number)
            self._is_redirected = True
        self._wakes.set()

    def restore(self) -> None:
        """Let it go where it went before."""
        self.take(is_last=True)
        with self._lock:
            for file in self._files:
                os.dup2(file.original, file.number)
            self._is_redirected = False
        self._pass_on()

    def take(self, *, is_last: bool = False) -> None:
        """Give what has come to the call under way; ``is_last``: the call ends here."""
        self._flush()
        with self._lock:
            self._take(is_last=is_last)

    def _take(self, *, is_last: bool) -> None:
        for file in self._files:
            if os.lseek(file.fd, 0, os.SEEK_END) != file.seen or (is_last and file.seen):
                self._take_from(file, is_last=is_last)

    def _take_from(self, file: _File, *, is_last: bool) -> None:
        data, left_out = file.new()
        text = file.decoder.decode(data, final=is_last)
        is_wanted = not text or self._deliver(file.stream, text)
        if not is_wanted:
            self._left.append((file.original, data or text.encode(), left_out))
        file.empty(_FILE_BYTES if is_wanted and not is_last else 0)

    def _pass_on(self) -> None:
        """Write what is no call's where it would have gone."""
        with self._passing:
            while self._left:
                fd, data, left_out = piece = self._left[0]
                pass_on(fd, data + f"\n[cut: {left_out} bytes more]\n".encode() if left_out else data)
                if self._left[0] is piece:
                    self._left.popleft()

    def _watch(self) -> None:
        while True:
            self._wakes.wait(_LOOK_EVERY_S if self._is_redirected else _IDLE_LOOK_EVERY_S)
            self._wakes.clear()
            try:
                with self._lock:
                    self._take(is_last=not self._is_redirected)
                self._pass_on()
            except OSError:  # a call has closed all descriptors that it found: `capture` hears of it, too
                return


def _flusher() -> Callable[[], None]:
    """Something that writes out what C's ``stdout`` and Python's own streams hold back."""
    # As C libraries keep the interpreter while they write, this does; letting it go would cost far more.
    libc = ctypes.PyDLL(None)
    stdout = ctypes.c_void_p.in_dll(libc, "__stdoutp" if sys.platform == "darwin" else "stdout")
    fflush = libc.fflush
    fflush.argtypes = [ctypes.c_void_p]

    def flush() -> None:
        fflush(stdout)
        try:
            sys.__stdout__.flush()  # type: ignore[union-attr]
            sys.__stderr__.flush()  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):  # there is none, or it is closed
            pass

    return flush


def _keep_handlers_out(fd: int) -> None:
    """Have handlers of logs that write to this process's ``stderr`` go on writing where it leads to now.

    Dask's are of threads of its own, which log while a call is made.
    """
    own: Any = os.fdopen(os.dup(fd), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for each in loggers:
        for handler in getattr(each, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__:
                handler.setStream(own)
