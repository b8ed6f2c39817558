"""Value → digest: 32 bytes that are the same in every process for equal values, and differ for different ones.

One rule per type makes a tagged, length-prefixed encoding; its BLAKE3 hash is the digest. The rules stand in
``digest_plain``, ``digest_arrays``, ``digest_tables`` and ``digest_objects``. A list is hashed over the digests of its
items, so that a stream of outputs can be digested without the outputs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from blake3 import blake3

from tensorlake_nb.core.keys import Digest
from tensorlake_nb.core.origin import Origin, origin_of
from tensorlake_nb.core.values.array_rules import array_encoding
from tensorlake_nb.core.values.encoding import HASHED, INLINE, Refusal, Rule, digest_of, name_of, part_of, type_name
from tensorlake_nb.core.values.object_rules import CODE_TYPES, rule_for
from tensorlake_nb.core.values.plain_rules import RULES, SCALARS, list_encoding
from tensorlake_nb.core.values.reducer_rules import SENT, Reducer
from tensorlake_nb.core.values.value_graphs import Nodes
from tensorlake_nb.errors import UnhashableInputError

RULES = {**RULES, np.ndarray: array_encoding}
_FOUND: WeakKeyDictionary[type, Rule] = WeakKeyDictionary()

#: Containers and instances that are encoded before the encoder starts to remember which it has seen.
_UNWATCHED = 20_000
#: Levels that are encoded one inside the other.
_DEEPEST = 100
#: How many values are being encoded in this thread: one may hold code that reaches another.
_under_way = threading.local()

_FICKLE = "is pickled differently each time"
_ADVICE = "Give plain data, arrays, frames or picklable objects instead."

_code_digest: Callable[[Any], bytes] | None = None


def set_code_digest(rule: Callable[[Any], bytes]) -> None:
    """Say how functions and classes that occur as values are digested; ``fingerprint`` does when it is imported."""
    global _code_digest
    _code_digest = rule


class _IsGraph(Exception):
    """A value is too deep to be walked, or contains itself."""


class Encoder:
    """Walks one value and asks the rule of each type for its encoding.

    At first it only walks. Once a value proves large it *watches*: it remembers the parts of what it has seen, so that
    a value with shared references costs no more than its distinct parts. One that contains itself is taken as a graph.
    """

    __slots__ = ("_active", "_budget", "_depth", "_kept", "_nodes", "_parts", "_pickling", "by_pickle", "watching")

    def __init__(self, watching: bool = False) -> None:
        self.watching = watching
        self.by_pickle: dict[str, None] = {}
        self._budget, self._depth = _UNWATCHED, 0
        self._pickling = False
        self._nodes: Nodes | None = None
        if watching:
            self._watch()

    def _watch(self) -> None:
        self.watching = True
        self._parts: dict[int, bytes] = {}
        self._kept: list[Any] = []  # so that no id is used twice
        self._active: set[int] = set()

    def encode(self, value: Any) -> bytes:
        """Return the part of a value; raise :class:`Refusal` if something in it has no digest."""
        kind = type(value)
        scalar = SCALARS.get(kind)
        if scalar is not None:
            raw = scalar(value)
        else:
            rule = RULES.get(kind) or self._find(kind)
            if self.watching:
                return self._watched(value, rule)
            self._budget -= 1
            self._depth += 1
            if self._budget < 0:
                self._watch()
            elif self._depth > _DEEPEST:
                raise _IsGraph
            raw = rule(value, self)
            self._depth -= 1
        return raw if len(raw) <= INLINE else HASHED + blake3(raw).digest()

    def encode_graph(self, value: Any) -> bytes:
        """Return the part of a value that may contain itself, or be nested to any depth."""
        self._watch()
        self._nodes = Nodes()
        part = self.encode(value)
        return self._nodes.part(self, self.refused) or part

    def _find(self, kind: type) -> Rule:
        rule = _FOUND.get(kind)
        if rule is None:
            rule = _FOUND[kind] = rule_for(kind)
        return rule

    def _watched(self, value: Any, rule: Rule) -> bytes:
        if self._nodes is not None:
            return self._nodes.met(value, rule)
        key = id(value)
        known = self._parts.get(key)
        if known is not None:
            return known
        if key in self._active or len(self._active) > _DEEPEST:
            raise _IsGraph
        self._active.add(key)
        try:
            part = part_of(rule(value, self))
        except Refusal as refusal:
            part = self.refused(value, refusal)
        finally:
            self._active.discard(key)
        self._parts[key] = part
        self._kept.append(value)
        return part

    def refused(self, value: Any, refusal: Refusal) -> bytes:
        """Say what stands for a value that has no digest."""
        raise refusal

    def class_part(self, cls: type) -> bytes:
        """Classes of instances count by module and qualified name."""
        return part_of(b"k" + name_of(cls).encode())

    def code_part(self, value: Any) -> bytes:
        """Encode the project's functions and classes as values, by their fingerprint; others by name."""
        if origin_of(value) is not Origin.PROJECT:
            return self.constructor_part(value)
        if _code_digest is None:
            raise Refusal(f"{name_of(value)} is code, and code has no digest here")
        return b"F" + _code_digest(value)

    def constructor_part(self, value: Any) -> bytes:
        """Encode the constructor that ``__reduce__`` names, by its name."""
        return part_of(b"k" + name_of(value).encode())

    def reducer(self, cls: type) -> Reducer | None:
        """Return the reducer for values that can be sent; others aren't taken apart."""
        return SENT.get(cls)

    def unordered(self, values: Iterable[Any]) -> list[bytes]:
        """Parts sorted by themselves."""
        if self._nodes is not None:
            return self._nodes.unordered(lambda: sorted([self.encode(value) for value in values]))
        return sorted([self.encode(value) for value in values])

    def pickled(self, value: Any, encode_once: Callable[[], bytes]) -> bytes:
        """Encode what pickle makes of a value, twice at the outermost such value, and leave a note."""
        self.by_pickle[type_name(value)] = None
        if self._pickling or self._nodes is not None:  # a graph is gone through twice as a whole
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
            raise Refusal(f"{type_name(value)} {_FICKLE}")
        return first


def encoded(value: Any, make: Callable[[], Encoder]) -> tuple[bytes, Encoder]:
    """Return the part of a value, nested or cyclic to any depth, and the encoder that made it.

    ``make()`` gives a fresh encoder. Raises :class:`Refusal`.
    """
    is_inner = getattr(_under_way, "is_any", False)
    _under_way.is_any = True
    try:
        encoder = make()
        try:
            return encoder.encode(value), encoder
        except (_IsGraph, RecursionError):
            encoder = make()
            part = encoder.encode_graph(value)
        if encoder.by_pickle and make().encode_graph(value) != part:
            raise Refusal(f"{', '.join(encoder.by_pickle)} {_FICKLE}")
        return part, encoder
    except RecursionError:
        if is_inner:  # whoever asked may have left no room: it takes its own value as a graph, and asks once more
            raise
        raise Refusal("nested too deeply") from None
    finally:
        _under_way.is_any = is_inner


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
        part, encoder = encoded(value, Encoder)
    except Refusal as refusal:
        raise UnhashableInputError(f"{refusal_text(refusal, 'value')}. {_ADVICE}") from refusal
    notes = [f"{name} has no canonical form: it is known by its pickled state" for name in encoder.by_pickle]
    return Digest(digest_of(part)), tuple(notes)


def list_digest(digests: bytes) -> Digest:
    """Digest a list from the digests of its items end to end (n times 32 bytes)."""
    return Digest(digest_of(part_of(list_encoding(digests))))


def inputs_digest(inputs: Mapping[str, Any]) -> Digest:
    """Digest named inputs. Their order doesn't matter; that of a dict inside them doesn't either."""
    return digest({name: inputs[name] for name in sorted(inputs)})


__all__ = ["CODE_TYPES", "Encoder", "digest", "digest_with_notes", "encoded", "inputs_digest", "list_digest"]
