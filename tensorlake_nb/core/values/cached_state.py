"""Find an object's caches, which aren't part of its value.

A cached property is seen by its kind. The caches that packages fill elsewhere stand in one table, and in it only what
follows from the rest of the object.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tensorlake_nb.core.values.tensor_rules import tied_parameters


class _Caches(NamedTuple):
    """The places of the caches in a class's instances."""

    #: Attributes that say nothing.
    dropped: frozenset[str] = frozenset()
    #: Attributes that a property fills unless they were set: what the property would give counts.
    filled: tuple[tuple[str, str], ...] = ()
    #: Attributes that are None until they are read, then an empty dict.
    emptied: frozenset[str] = frozenset()
    #: Places in a state that is a tuple.
    places: slice = slice(0, 0)
    #: Gives what counts beside the attributes, by a name that none of them has.
    more: Callable[[Any], dict[str, Any]] | None = None

    def with_those_of(self, base: _Caches) -> _Caches:
        """Both; a state has places once."""
        places = self.places if self.places.stop else base.places
        filled, emptied = self.filled + base.filled, self.emptied | base.emptied
        return _Caches(self.dropped | base.dropped, filled, emptied, places, self.more or base.more)


_XARRAY = _Caches(dropped=frozenset(("_cache", "_close")), emptied=frozenset(("_attrs", "_encoding")))
_TREE = _Caches(places=slice(7, 11))  # how often it was searched
#: By package and class; accessors, and what closes a file, say nothing about an xarray.
_TABLE: dict[tuple[str, str], _Caches] = {
    ("httpx", "Response"): _Caches(dropped=frozenset(("_text", "_cookies")), filled=(("_encoding", "encoding"),)),
    ("httpx", "Headers"): _Caches(filled=(("_encoding", "encoding"),)),
    ("matplotlib", "CallbackRegistry"): _Caches(dropped=frozenset(("_cid_gen",))),  # counts how often it was pickled
    ("matplotlib", "TransformNode"): _Caches(dropped=frozenset(("_parents",))),  # by addresses: who depends on it
    ("sklearn", "BinaryTree32"): _TREE,
    ("sklearn", "BinaryTree64"): _TREE,
    ("sklearn", "_VectorizerMixin"): _Caches(dropped=frozenset(("_stop_words_id",))),  # an address
    ("torch", "Module"): _Caches(more=tied_parameters),
    ("xarray", "Dataset"): _XARRAY,
    ("xarray", "DataArray"): _XARRAY,
    ("xarray", "DataTree"): _XARRAY,
    ("xarray", "NamedArray"): _XARRAY,
}
#: Kinds of properties that keep what they gave under their own name, as ``functools.cached_property`` does.
_PROPERTIES = frozenset(("cached_property", "cachedproperty", "lazy_property", "lazyproperty", "reify"))
#: One that keeps it in a dict ``_cache`` of its object: pandas' ``cache_readonly``.
_IN_A_DICT = "CachedProperty"
_FOUND: WeakKeyDictionary[type, _Caches | None] = WeakKeyDictionary()


def attributes(value: Any, held: dict[str, Any] | None, slots: dict[str, Any] | None) -> dict[str, Any]:
    """Attributes of an instance, by what pickle takes, without its caches."""
    everything = {**(held or {}), **(slots or {})}
    caches = _caches_of(type(value))
    if caches is None:
        return everything
    shown = {name: item for name, item in everything.items() if name not in caches.dropped}
    for name in caches.emptied & shown.keys():
        shown[name] = {} if shown[name] is None else shown[name]
    for name, asked in caches.filled:
        with suppress(Exception):  # a reply that wasn't read yet
            shown[name] = getattr(copy.copy(value), asked)
    if caches.more is not None:
        shown |= caches.more(value)
    return shown


def items(value: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the state of an instance that is a tuple, without its caches."""
    caches = _caches_of(type(value))
    if caches is None or len(state) < caches.places.stop:
        return state
    return (*state[: caches.places.start], *state[caches.places.stop :])


def _caches_of(cls: type) -> _Caches | None:
    if cls in _FOUND:
        return _FOUND[cls]
    found = {name: item for base in reversed(cls.__mro__) for name, item in vars(base).items()}
    dropped = {name for name, item in found.items() if _is_cached_property(item)}
    if any(type(item).__name__ == _IN_A_DICT for item in found.values()):
        dropped.add("_cache")
    caches = _Caches(frozenset(dropped))
    for base in cls.__mro__:
        listed = _TABLE.get((base.__module__.partition(".")[0], base.__name__))
        caches = caches.with_those_of(listed) if listed is not None else caches
    _FOUND[cls] = None if caches == _Caches() else caches
    return _FOUND[cls]


def _is_cached_property(item: Any) -> bool:
    if isinstance(item, functools.cached_property):
        return True
    is_set_apart = hasattr(item, "__set__") and not isinstance(item, property)  # then what is kept may be data
    return not is_set_apart and any(base.__name__ in _PROPERTIES for base in type(item).__mro__)
