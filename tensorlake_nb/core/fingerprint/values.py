"""Values that a function reaches: digested like any value, except that code in them is followed.

What has no digest counts by its type, and is *unkeyed*: two of them may differ and nothing tells, so the function's
outputs aren't replayed in later runs. Three kinds are not: what holds nothing (a lock), the surroundings that are
never sent (the environment, the running notebook), and a global that a worker gets by importing its module, since
such a one is what the module's text makes of it.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import typing
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorlake_nb.core.origin import Origin, origin_of_class
from tensorlake_nb.core.values.digest import Encoder, encoded
from tensorlake_nb.core.values.encoding import Refusal, digest_of, name_of, part_of, parts, type_name
from tensorlake_nb.core.values.object_rules import CODE_TYPES
from tensorlake_nb.core.values.plain_rules import SCALARS, attribute_parts
from tensorlake_nb.core.values.reducer_rules import READ, SENT, Reducer

if TYPE_CHECKING:
    from tensorlake_nb.core.fingerprint.walk import Reach

#: Packages whose objects are the running notebook or cluster itself, and hold everything else.
_ENVIRONMENT = type(os.environ)
_LIVE = frozenset(("IPython", "ipykernel", "comm", "distributed", "tornado", "asyncio"))
#: Packages whose objects travel, as those of Python's own plain types do.
_PLAIN = frozenset(("collections", "datetime", "decimal", "numpy", "pandas", "pathlib", "polars", "pyarrow", "re"))
#: Types whose instances are all alike, wherever they are made.
_HOLDS_NOTHING = (type(threading.Lock()), type(threading.RLock()), threading.local)
_REPR_CHARS = 2000
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


_travels: Callable[[Any], bool] | None = None


def set_travels(rule: Callable[[Any], bool]) -> None:
    """Say how to find out whether a value can be sent to a worker; ``engine.travel`` does when it is imported."""
    global _travels
    _travels = rule


class ReachEncoder(Encoder):
    """An encoder that follows functions and classes, and gets along with values that have no digest.

    Attributes
    ----------
    unkeyed
        The values without a digest: the type of each, and why.
    is_plain
        False once an instance of a class was met that isn't known to travel.
    """

    __slots__ = ("_label", "_reach", "_whole", "is_plain", "unkeyed")

    def __init__(self, reach: Reach, label: str, whole: Any) -> None:
        super().__init__(watching=True)
        self._reach, self._label, self._whole = reach, label, whole
        self.unkeyed: dict[str, None] = {}
        self.is_plain = True

    def encode(self, value: Any) -> bytes:
        """Return the part of a value; the running notebook's own objects count by their type."""
        value = stripped(value)
        kind = type(value)
        if kind is _ENVIRONMENT or (_is_live(value) and not (_travels is not None and _travels(value))):
            self._note(value)
            return part_of(b"?" + name_of(kind).encode())
        if kind not in SCALARS and kind.__module__ not in ("builtins", "__main__"):
            self._reach.installed(kind.__module__)
            self.is_plain = self.is_plain and kind.__module__.partition(".")[0] in _PLAIN
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

    def reducer(self, cls: type) -> Reducer | None:
        """Return the reducer of a class; an object that can't be sent comes from an import and counts by readable
        state.
        """
        return READ.get(cls) or SENT.get(cls)

    def unordered(self, values: Iterable[Any]) -> list[bytes]:
        """Parts sorted by themselves; code is met in the order of its names, as labels are given on the way."""
        items = list(values)
        if any(type(item) not in SCALARS for item in items):
            items.sort(key=lambda item: (name_of(type(item)), name_of(item) if isinstance(item, CODE_TYPES) else ""))
        return super().unordered(items)

    def refused(self, value: Any, refusal: Refusal) -> bytes:
        """Count a value without a digest by its type, and by its attributes where its class is the project's."""
        part = parts([self.class_part(type(value))])
        if isinstance(value, _HOLDS_NOTHING):
            self._note(value)
            return part_of(b"?" + part)
        held = getattr(value, "__dict__", None)
        if isinstance(held, dict) and origin_of_class(type(value)) is Origin.PROJECT:
            try:
                part += attribute_parts({str(name): item for name, item in held.items()}, self)
            except Refusal:
                self._lose(value)
        else:
            self._lose(value)
        return part_of(b"?" + part)

    def _lose(self, value: Any) -> None:
        self.unkeyed[f"({type_name(value)})" if value is self._whole else f"holds a {type_name(value)} that"] = None

    def _note(self, value: Any) -> None:
        root = _words(self._label)
        if value is not self._whole:
            self._reach.note(f"{root} holds a {type_name(value)} that is known by its type only")
        else:
            self._reach.note(f"{root} ({type_name(value)}) is known by its type only")

    def pickled(self, value: Any, encode_once: Callable[[], bytes]) -> bytes:
        """Encode as any value, with the note where the fingerprint shows it."""
        part = super().pickled(value, encode_once)
        self._reach.note(f"{_words(self._label)}: {type_name(value)} is known by its pickled state")
        return part


def value_part(reach: Reach, value: Any, label: str, home: str | None = None) -> bytes:
    """Return the digest of a reached value; ``label`` names it in notes, ``home`` is the module it is a global of."""
    made = list[ReachEncoder]()

    def encoder() -> Encoder:
        made.append(ReachEncoder(reach, label, value))
        return made[-1]

    try:
        part, _ = encoded(value, encoder)
        unkeyed = {what: None for each in made for what in each.unkeyed}
        is_plain = all(each.is_plain for each in made)
    except Refusal as refusal:
        unkeyed, is_plain = {f"({type_name(value)}, {refusal.reason})": None}, False
        part = part_of(b"?" + name_of(type(value)).encode())
    if is_plain and not unkeyed:
        return digest_of(part)
    if home is None or not _is_left_to_import(reach, value, home):
        for what in unkeyed:
            reach.unkey(f"{_words(label)} {what} has no content that can be compared")
    return digest_of(part)


def _words(label: str) -> str:
    """Return a label in the form that begins a sentence."""
    kind, _, name = label.partition(" ")
    return f"{kind} `{name}`" if name else f"its {kind}"


def _is_live(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in _LIVE and not isinstance(value, CODE_TYPES)


def _is_left_to_import(reach: Reach, value: Any, module: str) -> bool:
    """Return True if a worker gets a global by importing its module, whose text then counts."""
    if _travels is None or module == "__main__" or isinstance(value, _HOLDS_NOTHING) or _travels(value):
        return False
    return reach.imports.need_text(module)


def stripped(value: Any) -> Any:
    """Return the objects that pydantic's own wrappers, or types with a name, were made of.

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
        of_it = ("TypeVar", value.__name__, _lazily(value, "__bound__"), _lazily(value, "__constraints__"), flags)
        return of_it if not _has_default(value) else (*of_it, _lazily(value, "__default__"))
    if isinstance(value, typing.ParamSpec | typing.TypeVarTuple) and _has_default(value):
        return (cls.__name__, value.__name__, _lazily(value, "__default__"))
    if cls.__name__ == "TypeAliasType" and cls.__module__ in ("typing", "typing_extensions"):
        return ("TypeAliasType", value.__name__, _lazily(value, "__value__"), value.__type_params__)
    if isinstance(value, typing.ForwardRef) and sys.version_info >= (3, 14):  # it holds the place that it stands in
        return ("ForwardRef", value.__forward_arg__)
    return value


def _has_default(parameter: Any) -> bool:
    return hasattr(parameter, "has_default") and bool(parameter.has_default())


def _lazily(value: Any, attribute: str) -> Any:
    """Evaluate a lazy attribute, possibly before all the names in it are defined."""
    try:
        return getattr(value, attribute)
    except NameError as error:
        return ("undefined", error.name)


def short_repr(value: Any) -> str:
    """Return a bounded repr for people, without calling the repr of possibly large objects."""
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
