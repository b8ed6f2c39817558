"""Recursion as deep as a value is nested: the one place where the recursion limit is raised.

The limit is the process's: threads that raise it at the same time have to agree on when it goes back.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

#: Stacks to try, with the calls that may be under way on one: it is reserved, and only what is used takes memory.
_STACKS = ((2**31 - 2**16, 1_000_000), (2**29, 250_000), (2**27, 60_000))

_lock = threading.Lock()
_starting = threading.Lock()
_raised: list[int] = []
_usual = 0


@contextmanager
def deep_recursion(frames: int) -> Iterator[None]:
    """Allow so many more calls inside each other, until the last thread that wants many has ended."""
    global _usual
    with _lock:
        if not _raised:
            _usual = sys.getrecursionlimit()
        _raised.append(frames)
        sys.setrecursionlimit(_usual + max(_raised))
    try:
        yield
    finally:
        with _lock:
            _raised.remove(frames)
            sys.setrecursionlimit(_usual + max(_raised, default=0))


def on_a_deep_stack(call: Callable[[], T]) -> T:
    """Make a call on a thread whose stack is large enough for code in C that calls itself for each level of a value.

    Raises
    ------
    RecursionError
        The value is nested more deeply even than that.
    """
    done: list[T] = []
    raised: list[BaseException] = []
    context = contextvars.copy_context()

    def make() -> None:
        try:
            done.append(context.run(call))
        except BaseException as error:
            raised.append(error)

    _run(make)
    if raised:
        raise raised[0]
    return done[0]


def _run(make: Callable[[], None]) -> None:
    for stack_bytes, frames in _STACKS:
        with deep_recursion(frames):
            thread = threading.Thread(target=make, name="tensorlake-nb deep value", daemon=True)
            try:
                with _starting:  # the size counts for any thread that is started meanwhile: it would only reserve more
                    before = threading.stack_size(stack_bytes)
                    try:
                        thread.start()
                    finally:
                        threading.stack_size(before)
            except (RuntimeError, ValueError):  # not that much may be reserved here
                continue
            thread.join()
            return
    make()
