"""Value → digest: 32 bytes that are the same in every process for equal values, and differ for different ones.

One rule per type makes a tagged, length-prefixed encoding; its BLAKE3 hash is the digest. The rules stand in
``digest_plain``, ``digest_arrays``, ``digest_tables`` and ``digest_objects``. A list is hashed over the digests of its
items, so that a stream of outputs can be digested without the outputs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from blake3 import blake3

from tensorlake_nb.core.digest_arrays import array_encoding
from tensorlake_nb.core.digest_objects import CODE_TYPES, rule_for
from tensorlake_nb.core.digest_plain import RULES, SCALARS, list_encoding
from tensorlake_nb.core.encoding import HASHED, INLINE, Refusal, Rule, digest_of, name_of, part_of, type_name
from tensorlake_nb.core.keys import Digest
from tensorlake_nb.core.origin import Origin, origin_of
from tensorlake_nb.errors import UnhashableInputError

RULES = {**RULES, np.ndarray: array_encoding}
_FOUND: WeakKeyDictionary[type, Rule] = WeakKeyDictionary()

#: Containers and instances that are encoded before the encoder starts to remember which it has seen.
_UNWATCHED = 20_000
#: Frames that a deeply nested value may take: three for each of some 300,000 levels.
_DEEP_FRAMES = 1_000_000
_deep = threading.RLock()  # a value may hold code that reaches another deep one

_INSIDE_ITSELF = "contains itself"
_ADVICE = "Give plain data, arrays, frames or picklable objects instead."
_ADVICE_INSIDE_ITSELF = "Give what it was made from, or the bytes that pickle.dumps() or its own package makes of it."

_code_digest: Callable[[Any], bytes] | None = None


def set_code_digest(rule: Callable[[Any], bytes]) -> None:
    """Say how functions and classes that occur as values are digested; ``fingerprint`` does when it is imported."""
    global _code_digest
    _code_digest = rule


class Encoder:
    """Walks one value and asks the rule of each type for its encoding.

    At first it only walks. Once a value proves large or deep it *watches*: it remembers the parts of what it has seen,
    so that a value with shared references costs no more than its distinct parts, and it notices a value inside itself.
    """

    __slots__ = ("_active", "_budget", "_kept", "_parts", "_pickling", "notes", "watching")

    def __init__(self, watching: bool = False) -> None:
        self.watching = watching
        self.notes: dict[str, None] | None = None
        self._budget = _UNWATCHED
        self._pickling = False
        if watching:
            self._watch()

    def _watch(self) -> None:
        self.watching = True
        self._parts: dict[int, bytes] = {}
        self._kept: list[Any] = []  # so that no id is used twice
        self._active: dict[int, int] = {}

    def encode(self, value: Any) -> bytes:
        """The part of a value; raises :class:`Refusal` where something in it has no digest."""
        kind = type(value)
        scalar = SCALARS.get(kind)
        if scalar is not None:
            raw = scalar(value)
        else:
            rule = RULES.get(kind) or self._find(kind)
            if self.watching:
                return self._watched(value, rule)
            self._budget -= 1
            if self._budget < 0:
                self._watch()
            raw = rule(value, self)
        return raw if len(raw) <= INLINE else HASHED + blake3(raw).digest()

    def _find(self, kind: type) -> Rule:
        rule = _FOUND.get(kind)
        if rule is None:
            rule = _FOUND[kind] = rule_for(kind)
        return rule

    def _watched(self, value: Any, rule: Rule) -> bytes:
        key = id(value)
        known = self._parts.get(key)
        if known is not None:
            return known
        if key in self._active:
            return self.inside_itself(value, self._active[key])
        self._active[key] = len(self._active)
        try:
            part = part_of(rule(value, self))
        except Refusal as refusal:
            part = self.refused(value, refusal)
        finally:
            del self._active[key]
        self._parts[key] = part
        self._kept.append(value)
        return part

    def inside_itself(self, value: Any, depth: int) -> bytes:
        """Say what stands for a value that is met again while it is being encoded."""
        raise Refusal(f"this {type_name(value)} {_INSIDE_ITSELF}")

    def refused(self, value: Any, refusal: Refusal) -> bytes:
        """Say what stands for a value that has no digest."""
        raise refusal

    def class_part(self, cls: type) -> bytes:
        """Classes of instances count by module and qualified name."""
        return part_of(b"k" + name_of(cls).encode())

    def code_part(self, value: Any) -> bytes:
        """The project's functions and classes count by their fingerprint when they are values, others by name."""
        if origin_of(value) is not Origin.PROJECT:
            return self.constructor_part(value)
        if _code_digest is None:
            raise Refusal(f"{name_of(value)} is code, and code has no digest here")
        return b"F" + _code_digest(value)

    def constructor_part(self, value: Any) -> bytes:
        """What ``__reduce__`` names as the constructor counts by name."""
        return part_of(b"k" + name_of(value).encode())

    def unordered(self, values: Iterable[Any]) -> list[bytes]:
        """Parts sorted by themselves."""
        return sorted([self.encode(value) for value in values])

    def pickled(self, value: Any, encode_once: Callable[[], bytes]) -> bytes:
        """Encode what pickle makes of a value, twice at the outermost such value, and leave a note."""
        if self._pickling:
            return encode_once()
        self._pickling = True
        try:
            first = encode_once()
            if self.watching:
                self._parts = {}
            second = encode_once()
        finally:
            self._pickling = False
        if first != second:
            raise Refusal(f"{type_name(value)} is pickled differently each time")
        self.notes = self.notes or {}
        self.notes[f"{type_name(value)} has no canonical form: it is known by its pickled state"] = None
        return first


def encoded(value: Any, make: Callable[[bool], Encoder]) -> tuple[bytes, Encoder]:
    """The part of a value and the encoder that made it; deep nesting is no limit.

    ``make(deep)`` gives a fresh encoder. Raises :class:`Refusal`.
    """
    encoder = make(False)
    try:
        return encoder.encode(value), encoder
    except RecursionError:
        pass
    # Python's own calls take no C stack, so many frames are safe; foreign code isn't called at such depths.
    with _deep:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(before + _DEEP_FRAMES)
        try:
            encoder = make(True)
            return encoder.encode(value), encoder
        except RecursionError:
            raise Refusal("nested too deeply") from None
        finally:
            sys.setrecursionlimit(before)


def _plain_encoder(deep: bool) -> Encoder:
    return Encoder(deep)


def refusal_text(refusal: Refusal, root: str) -> str:
    """One line that leads from ``root`` to the culprit and says why it has no digest."""
    steps = refusal.path[::-1]
    if len(steps) > 12:
        steps = [*steps[:6], " ... ", *steps[-6:]]
    return f"{root}{''.join(steps)}: {refusal.reason}"


def digest(value: Any) -> Digest:
    """Digest a value.

    Parameters
    ----------
    value
        Plain data, arrays, frames, tables, dataclasses, pydantic models, instances that can be pickled.

    Raises
    ------
    UnhashableInputError
        Something in the value has no digest: the message leads there, as in ``value[3].model``.
    """
    return digest_with_notes(value)[0]


def digest_with_notes(value: Any) -> tuple[Digest, tuple[str, ...]]:
    """Digest a value, and say which parts of it are known by their pickled state only."""
    scalar = SCALARS.get(type(value))
    if scalar is not None:
        return Digest(blake3(scalar(value)).digest()), ()
    try:
        part, encoder = encoded(value, _plain_encoder)
    except Refusal as refusal:
        advice = _ADVICE_INSIDE_ITSELF if refusal.reason.endswith(_INSIDE_ITSELF) else _ADVICE
        raise UnhashableInputError(f"{refusal_text(refusal, 'value')}. {advice}") from refusal
    return Digest(digest_of(part)), tuple(encoder.notes or ())


def list_digest(digests: bytes) -> Digest:
    """The digest of a list, from the digests of its items end to end (n times 32 bytes)."""
    return Digest(digest_of(part_of(list_encoding(digests))))


def inputs_digest(inputs: Mapping[str, Any]) -> Digest:
    """The digest of named inputs; the order they were given in doesn't matter, as that of a dict inside them does."""
    return digest({name: inputs[name] for name in sorted(inputs)})


__all__ = ["CODE_TYPES", "Encoder", "digest", "digest_with_notes", "encoded", "inputs_digest", "list_digest"]
