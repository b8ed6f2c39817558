"""Classes ↔ names: how a stored value finds the class that stands in the notebook now."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from inspect import getattr_static
from typing import Protocol

from tensorlake_nb.errors import CheckpointNotFoundError, UntrustedCheckpointError


class ClassResolver(Protocol):
    """Knows the notebook's own classes, which are not found by importing a module."""

    def name_of(self, cls: type) -> tuple[str, str] | None:
        """``(module, qualname)`` of a class of the notebook, ``None`` for any other."""

    def find(self, module: str, qualname: str) -> type:
        """The class now under that name; `LookupError` if it is none of the notebook's."""


class ModuleResolver:
    """The classes of ``__main__`` in this process: enough wherever no graph is at work."""

    def name_of(self, cls: type) -> tuple[str, str] | None:
        if cls.__module__ == "__main__" and _looked_up("__main__", cls.__qualname__) is cls:
            return ("__main__", cls.__qualname__)
        return None

    def find(self, module: str, qualname: str) -> type:
        found = _looked_up(module, qualname) if module == "__main__" else None
        if not isinstance(found, type):
            raise LookupError(f"{module}.{qualname}")
        return found


def class_name(cls: type, resolver: ClassResolver) -> tuple[str, str] | None:
    """The name under which `find_class` finds this very class again, if there is one."""
    known = resolver.name_of(cls)
    if known is not None:
        return known
    if cls.__module__ != "__main__" and _looked_up(cls.__module__, cls.__qualname__) is cls:
        return (cls.__module__, cls.__qualname__)
    return None


def find_class(module: str, qualname: str, *, resolver: ClassResolver, trusted: bool) -> type:
    """The class of that name: the notebook's own, else an importable one.

    Raises
    ------
    CheckpointNotFoundError
        There is no such class any more.
    UntrustedCheckpointError
        The store isn't trusted, and finding the class would import a module that this process hasn't.
    """
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
            raise CheckpointNotFoundError(f"a stored value is a {module}.{qualname}, but {reason}") from error
    found = _looked_up(module, qualname, getattr if trusted else getattr_static)  # which runs no code of the module
    if not isinstance(found, type):
        raise CheckpointNotFoundError(f"a stored value is a {module}.{qualname}, and there is no such class now")
    return found


def _looked_up(module: str, qualname: str, look: Callable[[object, str, None], object] = getattr) -> object:
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = look(found, part, None)
    return found
