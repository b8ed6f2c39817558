"""Secrets of runs on a worker: values that stand in the environment only while a call that asked for them runs."""

from __future__ import annotations

import json
import os
import threading
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from urllib.parse import quote, quote_plus

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.store.format.trust import KEY_VARIABLE, Keys, hide_own_keys, keys_of, own_keys

#: A text of so many characters or more isn't there by accident.
_TELLING = 8

_lock = threading.RLock()
_by_run: dict[RunId, dict[str, str]] = {}
#: Name → how many calls have it shown now, and what stood in the environment before.
_shown: dict[str, tuple[int, str | None]] = {}
#: Names that were taken out of the environment of this process, which is a worker.
_hidden: set[str] = set()


def install_secrets(run_id: RunId, values: Mapping[str, str], *, hide: bool = False) -> None:
    """Keep a run's secrets in the memory of this process.

    Parameters
    ----------
    hide
        Take the names out of the process's environment: a worker inherits that of the kernel which started it.
    """
    with _lock:
        _by_run[run_id] = dict(values)
        if hide:
            hide_own_keys()
            _hidden.update(values)
            for name in values:
                if name in _shown:  # a call of another run has it on show, and will restore what stood there before
                    _shown[name] = (_shown[name][0], None)
                else:
                    os.environ.pop(name, None)


def is_hidden(name: str) -> bool:
    """Return True if a variable is a run's secret, hidden from the environment of this process."""
    with _lock:
        return name in _hidden


def forget_secrets(run_id: RunId) -> None:
    """Drop a run's secrets."""
    with _lock:
        _by_run.pop(run_id, None)


def signing_keys_of(run_id: RunId) -> Keys:
    """Return the keys that a run's driver has sent, else this process's own."""
    with _lock:
        text = _by_run.get(run_id, {}).get(KEY_VARIABLE)
    return own_keys() if text is None else keys_of(text)


def with_signing_keys(values: Mapping[str, str], keys: Keys | None) -> dict[str, str]:
    """Return a run's secrets, with the keys for its workers' signatures if there are any."""
    return dict(values) if keys is None else {**values, KEY_VARIABLE: keys.reveal()}


_NOTHING: AbstractContextManager[tuple[str, ...]] = nullcontext(())


def shown(run_id: RunId, names: Sequence[str]) -> AbstractContextManager[tuple[str, ...]]:
    """Put secrets into ``os.environ`` for the duration of a call; gives their values, which logs must not show.

    A name that the run brought no value for is left as the worker's own environment has it.
    """
    return _shown_for(run_id, names) if names else _NOTHING


@contextmanager
def _shown_for(run_id: RunId, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    with _lock:
        values = {name: value for name, value in _by_run.get(run_id, {}).items() if name in names}
        for name, value in values.items():
            count, before = _shown.get(name, (0, os.environ.get(name)))
            _shown[name] = (count + 1, before)
            os.environ[name] = value
        inherited = [os.environ[name] for name in names if name in os.environ and name not in values]
    try:
        yield tuple(value for value in (*values.values(), *inherited) if value)
    finally:
        with _lock:
            for name in values:
                count, before = _shown[name]
                if count > 1:
                    _shown[name] = (count - 1, before)
                    continue
                del _shown[name]
                if before is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = before


def _forms(secret: str) -> Iterator[str]:
    lines = [line.strip() for line in secret.splitlines()] if "\n" in secret.strip() else []
    for part in (secret, secret.strip(), " ".join(secret.split()), *(line for line in lines if len(line) >= _TELLING)):
        if part:
            yield part
            yield repr(part)[1:-1]
            yield ascii(part)[1:-1]
            yield json.dumps(part)[1:-1]
            if len(part) >= _TELLING:
                raw = part.encode("utf-8", "surrogatepass")
                yield from (quote(raw, safe=""), quote(raw), quote_plus(raw))
                yield from (encoded(raw).decode().rstrip("=") for encoded in (b64encode, urlsafe_b64encode))


def holds(data: bytes, secret: str) -> bool:
    """Return True if bytes to be stored hold a secret; a short one may occur by accident."""
    return any(
        form.encode("utf-8", "surrogatepass") in data for form in set(_forms(secret)) if len(form) >= 2 * _TELLING
    )


def without(text: str, secrets: Sequence[str], *, is_cut: bool = False) -> str:
    """Replace every secret in a text by ``***``; where the text ends because it was cut, half a secret too.

    A secret is also found as it stands in a ``repr``, in JSON, in a URL or in base64, and each line of a long one.
    """
    if not secrets:
        return text
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    for form in forms:
        text = text.replace(form, "***")
    if is_cut:
        for secret in forms:
            for size in range(len(secret) - 1, 2, -1):
                if text.endswith(secret[:size]):
                    return text[:-size] + "***"
    return text
