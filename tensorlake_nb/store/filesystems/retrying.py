"""Asking a store again: how long, at what intervals, and what is said when it stays away.

There are two reasons to ask again. Some errors pass by themselves, and whoever asks waits a few seconds for that: a
busy object store, a network directory that loses its server for a moment. And where a computed result would be lost,
everything else is waited for as well, for minutes: a full disk, a permission that was taken away. The engine says where
that is (`patient`); to open a store, or to look into one, no caller waits for a disk to be emptied.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tensorlake_nb.errors import StoreUnavailableError

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How long to wait before asking again after an error that may pass by itself (s), each wait shortened by up to a
#: half. Drivers of object stores are patient too, but not with everything, and some for less than a second in all.
WAITS_S: Sequence[float] = (0.2, 0.6, 2.0, 5.0)
#: How long to wait before looking again for an object that has to be there (s), and for one that may never have been.
LOOKS_S: Sequence[float] = (0.02, 0.05)
_GLANCES_S = (0.01, 0.03)
_LONGEST_WAIT_S = 10.0
#: How soon a wait notices that it is over (s).
_SLICE_S = 0.1
#: Errors that no retry changes.
FINAL = (FileExistsError, NotImplementedError, TypeError, ValueError, MemoryError)
_FINAL_NUMBERS = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EXDEV})
_PASSING_NAMES = "EIO ESTALE ETIMEDOUT EAGAIN EINTR EBUSY ENOLCK EREMOTEIO ECONNRESET ENOTCONN ESHUTDOWN EHOSTDOWN"
_PASSING_NUMBERS = frozenset(
    getattr(errno, name)
    for name in f"{_PASSING_NAMES} EHOSTUNREACH ENETDOWN ENETUNREACH EMFILE ENFILE".split()
    if hasattr(errno, name)
)


class Patience:
    """The deadline of a wait for a store where work would be lost.

    Parameters
    ----------
    most_s
        Seconds in all since it was last well, beside the few that errors which pass by themselves are given anyway.
    is_over
        Called during the wait: True ends it, since its result isn't wanted any more.
    on_wait
        Called before each wait with how long it may take (s).
    clock, sleep
        The time (s), and the way to let it pass.
    """

    def __init__(
        self,
        most_s: float = 0.0,
        *,
        is_over: Callable[[], bool] = lambda: False,
        on_wait: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.most_s = most_s
        self._is_over, self._on_wait, self._clock, self._sleep = is_over, on_wait, clock, sleep
        self._unwell_since: float | None = None

    @property
    def waited_s(self) -> float:
        """For how long the store has been unwell."""
        return 0.0 if self._unwell_since is None else self._clock() - self._unwell_since

    def well(self) -> None:
        """Note that the store answered; the next outage gets a full deadline."""
        self._unwell_since = None

    def wait_s(self, tries: int, waits_s: Sequence[float]) -> float | None:
        """Return the delay before the next try, shortened at random by up to a half; ``None`` for no more tries.

        Parameters
        ----------
        waits_s
            The waits that are granted in any case; none if the error won't pass by itself.
        """
        if self._unwell_since is None:
            self._unwell_since = self._clock()
        shortened = random.uniform(0.5, 1.0)
        if tries < len(waits_s):
            return shortened * waits_s[tries]
        wait_s = shortened * (WAITS_S[tries] if tries < len(WAITS_S) else _LONGEST_WAIT_S)
        left_s = self.most_s - self.waited_s
        return min(wait_s, left_s) if left_s > 0 and not self._is_over() else None

    def wait(self, seconds: float) -> None:
        """Let some time pass, or until it is over."""
        self._on_wait(seconds)
        until = self._clock() + seconds
        while not self._is_over() and (left_s := until - self._clock()) > 0:
            self._sleep(min(left_s, _SLICE_S))


_NONE = Patience()
_in_force: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patient(patience: Patience) -> Iterator[None]:
    """Whatever is asked of a store in this thread meanwhile is asked with that much patience."""
    token = _in_force.set(patience)
    try:
        yield
    finally:
        _in_force.reset(token)


def passes(error: Exception) -> bool:
    """Return True if an operating system's error may pass by itself."""
    return isinstance(error, OSError) and error.errno in _PASSING_NUMBERS


def persistently(
    doing: str,
    where: str,
    ask: Callable[[], T],
    *,
    missing: tuple[type[Exception], ...] = (),
    passing: Callable[[Exception], bool] = passes,
) -> T:
    """Ask a filesystem for something until it answers or patience ends.

    Parameters
    ----------
    doing, where
        The words of an error: ``"read"``, ``"write"``, and the object's whole path.
    ask
        One try. It has to be right to make another one after it has failed, even if it was done all the same.
    missing
        Errors that are answers, and let through.
    passing
        Return True if an error may pass by itself.

    Raises
    ------
    StoreUnavailableError
        The last error, and for how long it was the same.
    """
    tries = 0
    while True:
        try:
            answer = ask()
        except StoreUnavailableError:
            raise
        except Exception as error:
            if isinstance(error, missing):
                raise
            patience = _in_force.get() or _NONE
            wait_s = None if is_final(error) else patience.wait_s(tries, WAITS_S if passing(error) else ())
            if wait_s is None:
                raise unavailable(doing, where, error, patience.waited_s if tries else 0.0) from error
            tries += 1
            if tries == 1:  # a cell shows what is logged: once is enough
                most_s = max(patience.most_s, sum(WAITS_S))
                logger.warning("%s Retrying for up to %.0f s.", unavailable(doing, where, error), most_s)
            else:
                logger.debug("%s Retrying in %.1f s.", unavailable(doing, where, error), wait_s)
            patience.wait(wait_s)
        else:
            if tries:
                (_in_force.get() or _NONE).well()
            return answer


def expected(get: Callable[[], T], missing: type[Exception] = FileNotFoundError) -> T:
    """Look for something that has to be there: a directory on a network, or a cache on the way, may lag behind."""
    for wait_s in LOOKS_S:
        try:
            return get()
        except missing:
            time.sleep(wait_s)
    return get()


def listed(get_many: Callable[[Sequence[str]], list[bytes | None]], paths: Sequence[str]) -> list[bytes | None]:
    """Look once more for objects that a listing makes likely; those that are being made may be missing all the same."""
    found = get_many(paths)
    for wait_s in _GLANCES_S:
        missing = [position for position, data in enumerate(found) if data is None]
        if not missing:
            break
        time.sleep(wait_s)
        for position, data in zip(missing, get_many([paths[position] for position in missing]), strict=True):
            found[position] = data
    return found


def is_final(error: Exception) -> bool:
    """Return True if a retry can't change the error."""
    return isinstance(error, FINAL) or (isinstance(error, OSError) and error.errno in _FINAL_NUMBERS)


def unavailable(doing: str, where: str, error: Exception, waited_s: float = 0.0) -> StoreUnavailableError:
    """Return the error to raise for a filesystem's exception."""
    said = _advice(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    asked = f" It was retried for {waited_s:.0f} s." if waited_s >= 1 else ""
    return StoreUnavailableError(f"can't {doing} {where}: {said.rstrip('.')}.{asked}")


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "no space is left. Free some, or use another store"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{error.strerror}. Make it writable for this user, or use another store"
        case errno.ENAMETOOLONG:
            return f"{error.strerror}. Put the store into a directory with a shorter path"
        case _:
            return str(error)
