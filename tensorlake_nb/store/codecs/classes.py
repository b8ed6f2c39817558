"""Classes ↔ names: how a stored value finds the class that stands in the notebook now."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from inspect import getattr_static
from typing import Protocol

from tensorlake_nb.core.fingerprint.redefined_classes import are_alike, held_as
from tensorlake_nb.core.moved import module_now
from tensorlake_nb.core.origin import OWN
from tensorlake_nb.errors import UnreadableValueError, UntrustedCheckpointError


class ClassResolver(Protocol):
    """Knows the notebook's own classes, which are not found by importing a module."""

    def name_of(self, cls: type) -> tuple[str, str] | None:
        """Return ``(module, qualname)`` of a class of the notebook, ``None`` for any other."""

    def find(self, module: str, qualname: str) -> type:
        """Return the class now under that name; raise `LookupError` if it is none of the notebook's."""


class ModuleResolver:
    """The classes of ``__main__`` in this process: enough wherever no graph is at work."""

    def name_of(self, cls: type) -> tuple[str, str] | None:
        if cls.__module__ == "__main__" and _is_known_as(cls, _looked_up("__main__", cls.__qualname__)):
            return ("__main__", cls.__qualname__)
        return None

    def find(self, module: str, qualname: str) -> type:
        found = _looked_up(module, qualname) if module == "__main__" else _held_in_main(module, qualname)
        if not isinstance(found, type):
            raise LookupError(f"{module}.{qualname}")
        return found


class ClassTable:
    """Some classes by name: those that a function travelled with."""

    def __init__(self, classes: Mapping[tuple[str, str], type]) -> None:
        self._classes = dict(classes)
        self._names = {cls: name for name, cls in self._classes.items()}

    def name_of(self, cls: type) -> tuple[str, str] | None:
        name = self._names.get(cls)
        if name is None and _is_known_as(cls, self._classes.get((cls.__module__, cls.__qualname__))):
            name = (cls.__module__, cls.__qualname__)
        return name

    def find(self, module: str, qualname: str) -> type:
        return self._classes[module, qualname]


def class_name(cls: type, resolver: ClassResolver) -> tuple[str, str] | None:
    """Return the name under which `find_class` finds this very class again, if there is one."""
    known = resolver.name_of(cls)
    if known is not None:
        return known
    if cls.__module__ != "__main__" and _is_known_as(cls, _looked_up(cls.__module__, cls.__qualname__)):
        return (cls.__module__, cls.__qualname__)
    return None


def find_class(module: str, qualname: str, *, resolver: ClassResolver, trusted: bool) -> type:
    """Return the class of that name: the notebook's own, else an importable one.

    Raises
    ------
    UnreadableValueError
        There is no such class any more.
    UntrustedCheckpointError
        The store isn't trusted, and finding the class would import a module that this process hasn't.
    """
    module = module_now(module)
    try:
        return resolver.find(module, qualname)
    except LookupError:
        pass
    if module not in sys.modules:
        if not trusted:
            raise UntrustedCheckpointError(
                f"a stored value is a {module}.{qualname}; import {module} first: a store that isn't trusted "
                "may not choose what is imported"
            )
        try:
            importlib.import_module(module)
        except Exception as error:
            reason = f"importing {module} fails: {error}"
            raise UnreadableValueError(f"a stored value is a {module}.{qualname}, but {reason}") from error
    runs_code = trusted or module == OWN  # our own public names load when they are asked for
    found = _looked_up(module, qualname, getattr if runs_code else getattr_static)
    if not isinstance(found, type):
        raise UnreadableValueError(f"a stored value is a {module}.{qualname}, and there is no such class now")
    return found


def _is_known_as(cls: type, found: object) -> bool:
    """Return True if a class is the one found under its name, or an earlier or later form of it."""
    return found is cls or (isinstance(found, type) and are_alike(cls, found))


def _held_in_main(module: str, qualname: str) -> type | None:
    """Return the class of a module that the notebook's names stand for: after a reload, the earlier one."""
    return held_as(module, qualname, tuple(vars(sys.modules["__main__"]).values()))


def _looked_up(module: str, qualname: str, look: Callable[[object, str, None], object] = getattr) -> object:
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = look(found, part, None)
    return found
