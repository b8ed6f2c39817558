"""Capture a call's prints, warnings and logs, apart from those of other calls in the same process.

A context variable says whose output it is, so calls on several threads and coroutines on one event loop are told
apart. Output of a thread that the function started goes to the only call under way, if there is only one. So does what
programs and C libraries write, on workers that `take_descriptors`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextvars import ContextVar, Token
from multiprocessing import parent_process
from typing import Any, Literal, TextIO

from tensorlake_nb.core.batches.receipt import LogLine
from tensorlake_nb.engine.process.descriptors import Descriptors
from tensorlake_nb.engine.process.secrets import without

logger = logging.getLogger(__name__)

#: Characters kept of one call, and of all calls of a batch together.
CALL_LIMIT = 64 * 1024
BATCH_LIMIT = 256 * 1024

Stream = Literal["stdout", "stderr", "log", "warning"]
_current: ContextVar[Captured | None] = ContextVar("tensorlake_nb_captured", default=None)


class Captured:
    """The output of one call, in the order in which it came.

    A context manager: what the thread or coroutine inside writes is taken for the output of the call, ``of`` a node.

    Attributes
    ----------
    is_lacking
        A program or a C library has written something that may be this call's, or another's.
    """

    def __init__(self, limit: int = CALL_LIMIT, *, of: str = "") -> None:
        self._limit, self.of = limit, of
        self._left = limit + 4096  # a little more, so that a secret at the very end is seen whole
        self._parts: list[tuple[Stream, list[str]]] = []
        self._lock = threading.Lock()
        self._token: Token[Captured | None]
        self.is_lacking = False

    def __enter__(self) -> Captured:
        if _active:
            _take()
        self._token = _current.set(self)
        with _lock:
            _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _take(is_last=len(_active) == 1)
        with _lock:
            _active.remove(self)
        _current.reset(self._token)

    def add(self, stream: Stream, text: str) -> None:
        with self._lock:
            if self._left <= 0 or not text:
                return
            text = text[: self._left]
            self._left -= len(text)
            if not self._parts or self._parts[-1][0] != stream:
                self._parts.append((stream, []))
            self._parts[-1][1].append(text)

    def lines(self, offset: int, secrets: Sequence[str] = ()) -> tuple[LogLine, ...]:
        """Everything so far, secrets blotted out; says so where something was cut off."""
        if not self._parts:
            return ()
        lines: list[LogLine] = []
        left = self._limit
        with self._lock:
            parts = [(stream, "".join(texts)) for stream, texts in self._parts]
        for stream, text in parts:
            text = without(text, secrets, is_cut=self._left <= 0)
            if len(text) > left:
                note = f"{text[:left]}\n[cut: more than {self._limit} characters]"
                lines.append(LogLine(offset, stream, note))
                break
            left -= len(text)
            lines.append(LogLine(offset, stream, text))
        return tuple(lines)


class BatchLog:
    """The output of all calls of a batch, bounded."""

    def __init__(self, limit: int = BATCH_LIMIT) -> None:
        self._lines: list[LogLine] = []
        self._limit = self._left = limit

    def extend(self, lines: Sequence[LogLine]) -> None:
        for line in lines:
            if self._left <= 0:
                return
            text = line.text
            if len(text) > self._left:
                text = f"{text[: self._left]}\n[cut: the batch wrote more than {self._limit} characters]"
            self._left -= len(line.text)
            self._lines.append(LogLine(line.offset, line.stream, text))

    def forget(self, offsets: range) -> None:
        """Leave out what some elements have written: they are called again."""
        self._lines = [line for line in self._lines if line.offset not in offsets]

    def lines(self) -> tuple[LogLine, ...]:
        return tuple(self._lines)


class _Redirected(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr``: writes to the current call, or where it always went."""

    def __init__(self, stream: Literal["stdout", "stderr"], original: TextIO) -> None:
        self._stream: Stream = stream
        self.original = original

    def write(self, text: str) -> int:
        captured = _receiver()
        if captured is None:
            return self.original.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        _take()
        captured.add(self._stream, text)
        return len(text)

    def flush(self) -> None:
        if _receiver() is None:
            self.original.flush()

    def fileno(self) -> int:
        return self.original.fileno()

    def writable(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.original, "encoding", None) or "utf-8"


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        captured = _receiver()
        if captured is not None:
            _take()
            try:
                text = self.format(record)
            except Exception:  # wrong arguments to a log call: show what there is
                text = f"{record.levelname}:{record.name}:{record.msg}"
            captured.add("log", text + "\n")
            return
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and self._is_alone(logging.getLogger(record.name)):
            last.handle(record)

    def _is_alone(self, logger: logging.Logger | None) -> bool:
        """Return True if this is a logger's only handler: without it `logging.lastResort` would print its lines."""
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent
        return True


_lock = threading.RLock()
_active: list[Captured] = []
_installed: list[contextlib.ExitStack] = []
_users = 0
_descriptors: Descriptors | None = None
_is_fork = False


def take_descriptors(paths: Sequence[str]) -> None:
    """From now on take what is written to descriptors 1 and 2, too, by way of some files.

    Only for a process that makes its calls on one thread, and where another process reads what is left in the files
    when this one has ended.

    Raises
    ------
    OSError
        The files can't be opened.
    """
    global _descriptors
    _descriptors = Descriptors(paths, _deliver)
    os.register_at_fork(after_in_child=_become_fork)


def _become_fork() -> None:
    """Send Python's output through the descriptors too, in a process that a call has forked."""
    global _descriptors, _is_fork
    _descriptors, _is_fork = None, True


def _take(*, is_last: bool = False) -> None:
    global _descriptors
    if _descriptors is None:
        return
    try:
        _descriptors.take(is_last=is_last)
    except OSError as error:  # a call has closed all that it found open
        _descriptors = None
        logger.critical("what programs and C libraries write on this worker is in no log any more: %s", error)


def _deliver(stream: Stream, text: str) -> bool:
    calls = list(_active)
    if len(calls) == 1:
        calls[0].add(stream, text)
        return True
    for call in calls:
        call.is_lacking = True
    return False


def _receiver() -> Captured | None:
    """Return the call that keeps Python's output here, ``None`` if that goes to the descriptors."""
    return None if _is_fork else whose()


def whose() -> Captured | None:
    """Return the call whose output arrives now, ``None`` if it belongs to none."""
    captured = _current.get()
    if captured is None and len(_active) == 1 and parent_process() is not None:
        return _active[0]  # in a process of its own, another thread can only be one that the call has started
    return captured


def call_under_way() -> str | None:
    """Return the node being called here, ``""`` if it isn't known; ``None`` if there is no call.

    Here is this thread, or this coroutine; in a worker's own process all that the calls may have started.
    """
    captured = whose()
    if captured is not None:
        return captured.of.partition("~")[0]  # not the part of a combine tree
    return "" if _active and parent_process() is not None else None


@contextlib.contextmanager
def redirected() -> Iterator[None]:
    """Redirect this process's output for the duration of a batch; what belongs to no call goes where it always went."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _installed.append(_install())
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _installed.pop().close()


def _install() -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    out, err = _Redirected("stdout", sys.stdout), _Redirected("stderr", sys.stderr)
    sys.stdout, sys.stderr = out, err
    if _descriptors is not None:
        _descriptors.redirect()
    handler = _Handler()
    handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    logging.getLogger().addHandler(handler)
    shown_before = warnings.showwarning

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        captured = _receiver()
        if captured is None or file is not None:
            shown_before(message, category, filename, lineno, file, line)
        else:
            _take()
            captured.add("warning", warnings.formatwarning(message, category, filename, lineno, line))

    warnings.showwarning = show

    def restore() -> None:
        if sys.stdout is out:
            sys.stdout = out.original
        if sys.stderr is err:
            sys.stderr = err.original
        logging.getLogger().removeHandler(handler)
        if warnings.showwarning is show:
            warnings.showwarning = shown_before
        if _descriptors is not None:
            _descriptors.restore()

    stack.callback(restore)
    return stack
