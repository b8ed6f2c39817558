"""An exception → a `Failure` that a person can read: what, on which input, and where in their own code."""

from __future__ import annotations

import dataclasses
import re
import reprlib
import threading
import traceback
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from tensorlake_nb.core.batches.batch import Failure, FailureKind
from tensorlake_nb.engine.process.secrets import holds, without
from tensorlake_nb.engine.process.watchdog import Interrupt, Overrun, raise_in_thread
from tensorlake_nb.errors import RequestException, RouteError, UsageError
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.codecs.pickles import pickled, unpickled

_REPR_LIMIT = 200
_ERROR_LIMIT = 4_000
_TRACEBACK_LIMIT = 20_000
_PICKLE_LIMIT = 64 * 1024
#: How long the ``repr`` of a value or the text of an error may take (s).
_PATIENCE_S = 2.0
#: How much of a long text is looked through for secrets, at each of its ends.
_LOOKED_AT = 100_000
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
_OWN = str(Path(__file__).parents[2])


def kind_of(error: BaseException) -> FailureKind:
    """Classify an exception of a call: may the call be tried again?"""
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
    resolver: ClassResolver | None = None,
) -> Failure:
    """Describe what a call raised; never raises itself. With a resolver the exception goes along, if it can."""
    return Failure(
        offset,
        kind or kind_of(error),
        _cut(without(_in_time(lambda: _message(error), type(error).__qualname__), secrets), _ERROR_LIMIT),
        _cut(without(_short(given, secrets), secrets), _REPR_LIMIT),
        middle_cut(without(_in_time(lambda: _traceback_text(error), ""), secrets), _TRACEBACK_LIMIT),
        _pickled(error, secrets, resolver) if resolver is not None else b"",
    )


def rebuilt(raised: bytes, resolver: ClassResolver) -> BaseException | None:
    """Rebuild an exception from the bytes that a worker of this kernel's own run sent; ``None`` if that fails."""
    try:
        error = unpickled(raised, resolver)
    except Exception:  # of a class that isn't here
        return None
    return error if isinstance(error, BaseException) else None


def _pickled(error: BaseException, secrets: Sequence[str], resolver: ClassResolver) -> bytes:
    """Pickle an exception for the driver; empty if it can't be pickled, is large, or holds a secret."""

    def look() -> str:
        try:
            data = pickled(error, resolver)
        except Exception:
            return ""
        is_told = any(
            secret.encode(errors="surrogatepass") in data or holds(data, secret) for secret in secrets if secret
        )
        is_fit = len(data) <= _PICKLE_LIMIT and not is_told
        return b64encode(data).decode() if is_fit else ""

    return b64decode(_in_time(look, ""))


def error_text(error: BaseException) -> str:
    """``"TypeName: message"``, bounded."""
    return _cut(_in_time(lambda: _message(error), type(error).__qualname__), _ERROR_LIMIT)


def _message(error: BaseException) -> str:
    name = type(error).__qualname__
    try:
        message = str(error)
    except Exception:
        message = "(its message can't be shown)"
    return f"{name}: {message}" if message else name


class _Short(reprlib.Repr):
    """A short ``repr``; secrets are blotted out before anything is cut, which would leave halves of them."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 120
        self.maxlevel = 4
        self._secrets = secrets

    def repr_str(self, value: Any, level: int) -> str:
        # Whatever lies beyond is cut away, but for the last characters, which are shown.
        shown = value if len(value) <= 2 * _LOOKED_AT else value[:_LOOKED_AT] + value[-_LOOKED_AT:]
        return super().repr_str(without(shown, self._secrets), level)

    def repr_bytes(self, value: Any, level: int) -> str:
        shown = value if len(value) <= 2 * _LOOKED_AT else value[:_LOOKED_AT] + value[-_LOOKED_AT:]
        text = without(repr(bytes(shown)), self._secrets)
        half = self.maxstring // 2
        return text if len(text) <= self.maxstring else f"{text[:half]}{self.fillvalue}{text[-half:]}"

    def repr_bytearray(self, value: Any, level: int) -> str:
        return f"bytearray({self.repr_bytes(value, level)})"

    def repr_instance(self, value: Any, level: int) -> str:
        # One with fields may hold anything, and would show all of it.
        fields = _fields_of(value)
        if fields is None or level <= 0:
            text = f"<{type(value).__qualname__}>" if fields is not None else without(repr(value), self._secrets)
        else:
            named = [f"{name}={self.repr1(item, level - 1)}" for name, item in fields[: self.maxdict]]
            text = f"{type(value).__qualname__}({', '.join([*named, *['...'] * (len(fields) > self.maxdict)])})"
        half = self.maxother // 2
        return text if len(text) <= self.maxother else f"{text[:half]}{self.fillvalue}{text[-half:]}"

    def repr_ndarray(self, value: Any, level: int) -> str:
        return f"<ndarray {value.dtype} {value.shape}>"

    def repr_DataFrame(self, value: Any, level: int) -> str:
        return f"<{type(value).__module__.partition('.')[0]} DataFrame {value.shape}>"

    def repr_Series(self, value: Any, level: int) -> str:
        return f"<{type(value).__module__.partition('.')[0]} Series of {len(value)}>"


def short_repr(value: Any) -> str:
    """Return a ``repr`` of at most 200 characters on one line; never raise."""
    return _cut(_short(value), _REPR_LIMIT)


def _fields_of(value: Any) -> list[tuple[str, Any]] | None:
    """Return the fields in the ``repr`` of a dataclass or a model; ``None`` if its class has its own ``__repr__``."""
    cls: Any = type(value)
    if isinstance(value, pydantic.BaseModel) and cls.__repr__ is pydantic.BaseModel.__repr__:
        return [(name, item) for name, item in value.__repr_args__() if name is not None]
    if dataclasses.is_dataclass(cls) and getattr(cls.__repr__, "__wrapped__", None) is not None:
        return [(each.name, getattr(value, each.name, None)) for each in dataclasses.fields(cls) if each.repr]
    return None


def _short(value: Any, secrets: Sequence[str] = ()) -> str:
    def look() -> str:
        try:
            with np.printoptions(threshold=20, edgeitems=2):
                return re.sub(r"\s+", " ", _Short(secrets).repr(value))
        except Exception:
            return f"<{type(value).__qualname__}, its repr fails>"

    if type(value) in _PLAIN:
        return look()
    return _in_time(look, f"<{type(value).__qualname__}, its repr takes too long>")


def _in_time(look: Callable[[], str], otherwise: str) -> str:
    """Return the text of a user's ``__repr__`` or ``__str__``, unless it takes too long."""
    found: list[str] = []

    def run() -> None:
        with suppress(Interrupt):
            found.append(look().encode(errors="backslashreplace").decode())  # no message holds a lone surrogate

    thread = threading.Thread(target=run, name="tensorlake-nb repr", daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    if not found and thread.ident is not None and thread.is_alive():
        raise_in_thread(thread.ident, Overrun)
    return found[0] if found else otherwise


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _traceback_text(error: BaseException) -> str:
    try:
        summary = traceback.TracebackException(type(error), error, error.__traceback__, max_group_width=5)
        frames = _drop_own_frames(summary, set())
        return "".join(summary.format()) if frames else ""  # else it says the message once more, and nothing else
    except Exception:  # a broken __str__, or a source that can't be read
        return _message(error)


def middle_cut(text: str, limit: int) -> str:
    """Cut out the middle of a text that is longer than a limit."""
    return text if len(text) <= limit else f"{text[: limit // 2]}\n  ...\n{text[-limit // 2 :]}"


def _drop_own_frames(summary: traceback.TracebackException, seen: set[int]) -> int:
    """Leave the frames that the author knows: ours, which called the function, go, here and in its causes.

    Returns
    -------
    frames
        How many there are left.
    """
    if id(summary) in seen:
        return 0
    seen.add(id(summary))
    kept = list(summary.stack)
    while kept and kept[0].filename.startswith(_OWN):
        del kept[0]
    summary.stack = traceback.StackSummary.from_list(kept)
    causes = (summary.__cause__, summary.__context__, *(summary.exceptions or ()))
    return len(kept) + sum(_drop_own_frames(cause, seen) for cause in causes if cause is not None)
