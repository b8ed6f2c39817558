"""An exception → a `Failure` that a person can read: what, on which input, and where in their own code."""

from __future__ import annotations

import re
import reprlib
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensorlake_nb.core.batch import Failure, FailureKind
from tensorlake_nb.engine.secrets import without
from tensorlake_nb.errors import RequestException, RouteError, UsageError

_REPR_LIMIT = 200
_ERROR_LIMIT = 4_000
_TRACEBACK_LIMIT = 20_000
_OWN = str(Path(__file__).parent.parent)


def kind_of(error: BaseException) -> FailureKind:
    """What an exception of a call means: whether it may be tried again."""
    if isinstance(error, RequestException):
        return FailureKind.REQUEST
    if isinstance(error, (UsageError, RouteError)):
        return FailureKind.USAGE
    return FailureKind.ERROR


def failure_of(
    offset: int,
    error: BaseException,
    given: Any,
    *,
    kind: FailureKind | None = None,
    secrets: Sequence[str] = (),
) -> Failure:
    """Describe what a call raised; never raises itself."""
    return Failure(
        offset,
        kind or kind_of(error),
        _cut(without(_message(error), secrets), _ERROR_LIMIT),
        _cut(without(_short(given), secrets), _REPR_LIMIT),
        _middle_cut(without(_traceback_text(error), secrets), _TRACEBACK_LIMIT),
    )


def error_text(error: BaseException) -> str:
    """``"TypeName: message"``, bounded."""
    return _cut(_message(error), _ERROR_LIMIT)


def _message(error: BaseException) -> str:
    name = type(error).__qualname__
    try:
        message = str(error)
    except Exception:
        message = "(its message can't be shown)"
    return f"{name}: {message}" if message else name


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 120
        self.maxlevel = 4

    def repr_ndarray(self, value: Any, level: int) -> str:
        return f"<ndarray {value.dtype} {value.shape}>"

    def repr_DataFrame(self, value: Any, level: int) -> str:
        return f"<{type(value).__module__.partition('.')[0]} DataFrame {value.shape}>"

    def repr_Series(self, value: Any, level: int) -> str:
        return f"<{type(value).__module__.partition('.')[0]} Series of {len(value)}>"


def short_repr(value: Any) -> str:
    """A ``repr`` of at most 200 characters on one line; never raises."""
    return _cut(_short(value), _REPR_LIMIT)


def _short(value: Any) -> str:
    try:
        with np.printoptions(threshold=20, edgeitems=2):
            return re.sub(r"\s+", " ", _Short().repr(value))
    except Exception:
        return f"<{type(value).__qualname__}, its repr fails>"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _traceback_text(error: BaseException) -> str:
    try:
        summary = traceback.TracebackException(type(error), error, error.__traceback__, max_group_width=5)
        _drop_own_frames(summary, set())
        return "".join(summary.format())
    except Exception:  # a broken __str__, or a source that can't be read
        return _message(error)


def _middle_cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]}\n  ...\n{text[-limit // 2 :]}"


def _drop_own_frames(summary: traceback.TracebackException, seen: set[int]) -> None:
    """Leave the frames that the author knows: ours, which called the function, go, here and in its causes."""
    if id(summary) in seen:
        return
    seen.add(id(summary))
    kept = list(summary.stack)
    while kept and kept[0].filename.startswith(_OWN):
        del kept[0]
    summary.stack = traceback.StackSummary.from_list(kept)
    for cause in (summary.__cause__, summary.__context__, *(summary.exceptions or ())):
        if cause is not None:
            _drop_own_frames(cause, seen)
