"""Values that a function reaches: digested like any value, except that code in them is followed.

What has no digest (a lock, an open connection) is known by its type, and a note says so.
"""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorlake_nb.core.digest import Encoder, encoded
from tensorlake_nb.core.digest_objects import CODE_TYPES
from tensorlake_nb.core.digest_plain import SCALARS, attribute_parts
from tensorlake_nb.core.encoding import Refusal, digest_of, name_of, part_of, parts, type_name
from tensorlake_nb.core.origin import Origin, origin_of_class

if TYPE_CHECKING:
    from tensorlake_nb.core.reach import Reach

#: Packages whose objects are the running notebook or cluster itself, and hold everything else.
_ENVIRONMENT = type(os.environ)
_LIVE = frozenset(("IPython", "ipykernel", "ipywidgets", "traitlets", "comm", "distributed", "tornado", "asyncio"))
_REPR_CHARS = 2000
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class ReachEncoder(Encoder):
    """An encoder that follows functions and classes, and gets along with values that have no digest."""

    __slots__ = ("_label", "_reach", "_whole")

    def __init__(self, reach: Reach, label: str, whole: Any) -> None:
        super().__init__(watching=True)
        self._reach, self._label, self._whole = reach, label, whole

    def encode(self, value: Any) -> bytes:
        """The part of a value; the running notebook's own objects count by their type."""
        value = stripped(value)
        kind = type(value)
        if kind is _ENVIRONMENT or (kind.__module__.partition(".")[0] in _LIVE and not isinstance(value, CODE_TYPES)):
            self._note(value)
            return part_of(b"?" + name_of(kind).encode())
        if kind not in SCALARS and kind.__module__ not in ("builtins", "__main__"):
            self._reach.installed(kind.__module__)
        return super().encode(value)

    def class_part(self, cls: type) -> bytes:
        """Classes of instances are followed."""
        return part_of(b"k" + self._reach.class_ref(cls).encode())

    def code_part(self, value: Any) -> bytes:
        """Functions and classes that are values are followed."""
        ref = self._reach.code_ref(value)
        if ref is None:
            raise Refusal(f"{type_name(value)} is code of a kind that isn't known")
        return part_of(b"F" + ref.encode())

    def constructor_part(self, value: Any) -> bytes:
        """Constructors are followed."""
        return self.code_part(value) if isinstance(value, CODE_TYPES) else super().constructor_part(value)

    def unordered(self, values: Iterable[Any]) -> list[bytes]:
        """Parts sorted by themselves; code is met in the order of its names, as labels are given on the way."""
        items = list(values)
        if any(type(item) not in SCALARS for item in items):
            items.sort(key=lambda item: (name_of(type(item)), name_of(item) if isinstance(item, CODE_TYPES) else ""))
        return super().unordered(items)

    def refused(self, value: Any, refusal: Refusal) -> bytes:
        """Count a value without a digest by its type, and by its attributes where its class is the project's."""
        part = parts([self.class_part(type(value))])
        held = getattr(value, "__dict__", None)
        if isinstance(held, dict) and origin_of_class(type(value)) is Origin.PROJECT:
            try:
                part += attribute_parts({str(name): item for name, item in held.items()}, self)
            except Refusal:
                self._note(value)
        else:
            self._note(value)
        return part_of(b"?" + part)

    def _note(self, value: Any) -> None:
        kind, _, name = self._label.partition(" ")
        root = f"{kind} `{name}`"
        if value is not self._whole:
            self._reach.note(f"{root} holds a {type_name(value)} that is known by its type only")
        else:
            self._reach.note(f"{root} ({type_name(value)}) is known by its type only")

    def pickled(self, value: Any, encode_once: Callable[[], bytes]) -> bytes:
        """As for any value, with the note where the fingerprint shows it."""
        part = super().pickled(value, encode_once)
        kind, _, name = self._label.partition(" ")
        self._reach.note(f"{kind} `{name}`: {type_name(value)} is known by its pickled state")
        return part


def value_part(reach: Reach, value: Any, label: str) -> bytes:
    """The digest of a value that is reached; ``label`` names it in notes."""
    try:
        part, _ = encoded(value, lambda: ReachEncoder(reach, label, value))
    except Refusal as refusal:
        kind, _, name = label.partition(" ")
        reach.note(f"{kind} `{name}` ({type_name(value)}) is known by its type only: {refusal.reason}")
        part = part_of(b"?" + name_of(type(value)).encode())
    return digest_of(part)


def stripped(value: Any) -> Any:
    """Of pydantic's own wrappers and of types with a name, what they were made of.

    The former also hold the whole namespace that they stand in, and of the latter pickle says no more than the name.
    """
    cls = type(value)
    if cls.__module__ == "pydantic.type_adapter" and cls.__name__ == "TypeAdapter":
        return ("TypeAdapter", value._type, value._config)
    if cls.__module__ == "pydantic._internal._validate_call" and hasattr(value, "function"):
        return ("validate_call", value.function, getattr(value, "validate_return", None))
    if isinstance(value, typing.NewType):  # pickle knows those of typing by their names alone
        return ("NewType", value.__name__, value.__supertype__)
    if isinstance(value, typing.TypeVar):
        flags = (value.__covariant__, value.__contravariant__)
        return ("TypeVar", value.__name__, value.__bound__, value.__constraints__, flags)
    if cls.__name__ == "TypeAliasType" and cls.__module__ in ("typing", "typing_extensions"):
        return ("TypeAliasType", value.__name__, value.__value__, value.__type_params__)
    return value


def short_repr(value: Any) -> str:
    """A repr for people: bounded, and without calling the repr of what may be large."""
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape}" if value.size > 100 else repr(value)
    library = type(value).__module__.partition(".")[0]
    if library in ("pandas", "polars", "pyarrow"):
        return f"{type_name(value)} {getattr(value, 'shape', '')}"
    if isinstance(value, list | tuple | set | frozenset | dict | str | bytes) and len(value) > 200:
        shown = repr(value[:100]) if isinstance(value, str | bytes | list | tuple) else ""
        return f"{type_name(value)} of {len(value)}: {shown:.500}..."
    if isinstance(value, _ENVIRONMENT):
        return "the environment"
    if isinstance(value, set | frozenset):
        return f"{type_name(value)}({', '.join(sorted(map(short_repr, value)))})"
    try:
        shown = _ADDRESS.sub("", repr(value))
    except Exception:
        return f"<{type_name(value)}>"
    return shown if len(shown) <= _REPR_CHARS else shown[:_REPR_CHARS] + "..."
