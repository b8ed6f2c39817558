"""Bring to life on a worker what the pickler sent: functions, classes, modules."""

from __future__ import annotations

import io
import pickle
import threading
import types
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from cloudpickle import cloudpickle as internals

from tensorlake_nb.core.moved import module_now

#: Tells a copy in this very process from a journey to another one.
PROCESS = uuid.uuid4().hex


def loads(data: bytes) -> Any:
    """Unpickle what `dumps` gave."""
    with _LOADING:
        _shells.clear()
        try:
            return _Unpickler(io.BytesIO(data)).load()
        finally:
            _shells.clear()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module_now(module), name)


def _same(cls: type) -> type:
    """Take a class for another that does the same, which a reload has put under its name."""
    return cls


def _class_of_import(module: str, qualname: str) -> Any:
    found: Any = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


_LOADING = threading.RLock()

#: Project modules made during one `loads`.
_shells: dict[str, types.ModuleType] = {}

#: Classes made in this process, by where they come from, their identity there, and their version.
_classes: WeakValueDictionary[tuple[str, str, str], type] = WeakValueDictionary()

_unfilled: set[type] = set()

_made: WeakSet[type] = WeakSet()

_HOOK = "__init_subclass__"


def _set_state(obj: Any, state: Any) -> None:
    held, slots = state if isinstance(state, tuple) else (state, None)
    if held:
        object.__getattribute__(obj, "__dict__").update(held)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def _shell(name: str) -> types.ModuleType:
    if name not in _shells:
        _shells[name] = types.ModuleType(name)
    return _shells[name]


def _shell_vars(name: str, base: dict[str, Any]) -> dict[str, Any]:
    namespace = vars(_shell(name))
    namespace.update(base)
    return namespace


def _fill_shell(module: types.ModuleType, state: dict[str, Any]) -> None:
    vars(module).update(state)


def _import_value(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _make_class(process: str, version: str, qualname: str, make: Callable[..., type], args: tuple[Any, ...]) -> type:
    """Give the class that this identity and version already has here, else an empty one.

    cloudpickle's own table would fill the class again each time. In the kernel's own process, where workers may be
    threads, that would be the notebook's class: its methods would see no later edit, and those of what was packed
    before an edit would.
    """
    *front, identity, extra = args
    key = (process, identity, version)
    made = _classes.get(key) if version else None
    if made is None:
        with _without_hooks(next(item for item in front if isinstance(item, tuple))):
            made = _classes[key] = make(*front, None, extra)
        made.__qualname__ = qualname  # digests tell A.Item and B.Item apart by it, and cloudpickle forgets it
        _unfilled.add(made)
        _made.add(made)
    return made


@contextmanager
def _without_hooks(bases: tuple[type, ...]) -> Iterator[None]:
    """While a class is made again: its bases, which came along, were told of it where it was written.

    Told once more, they would register it twice, or miss the keywords that it was written with.
    """
    telling = dict.fromkeys(cls for base in types.resolve_bases(bases) for cls in base.__mro__ if cls in _made)
    hooks = {cls: vars(cls)[_HOOK] for cls in telling if _HOOK in vars(cls)}
    for cls in hooks:
        delattr(cls, _HOOK)
    try:
        yield
    finally:
        for cls, hook in hooks.items():
            setattr(cls, _HOOK, hook)


def _fill_class(cls: type, state: Any) -> None:
    if cls in _unfilled:
        _unfilled.discard(cls)
        internals._class_setstate(cls, state)
