"""A cloudpickle that sends everything of the project by value, and modules by reference whatever their class.

Functions and classes of the notebook and of the project's own modules travel as they are in the kernel now: a worker
may have imported an older version of such a module, or none. Installed packages travel by name.

Objects of any type pass through here: `Any` stops in this file.
"""

from __future__ import annotations

import copyreg
import dataclasses
import io
import linecache
import sys
import threading
import types
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as internals

from tensorlake_nb.core import jinja_templates
from tensorlake_nb.core.code.names_read import named_in_texts, reads_of
from tensorlake_nb.core.fingerprint.redefined_classes import definition_of
from tensorlake_nb.core.fingerprint.values import set_travels
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.origin import Origin, origin_of_module
from tensorlake_nb.engine.travel import library_wrappers, patches
from tensorlake_nb.engine.travel.unpickler import (
    PROCESS,
    _class_of_import,
    _fill_class,
    _fill_shell,
    _import_value,
    _make_class,
    _same,
    _set_state,
    _shell,
    _shell_vars,
)


def is_own_module(module: object) -> bool:
    """Return True for a project module of source code, or its folder without ``__init__.py``, imported by name."""
    if not isinstance(module, types.ModuleType):
        return False
    name, file = module.__name__, getattr(module, "__file__", None)
    if name in ("__main__", "__mp_main__") or sys.modules.get(name) is not module:
        return False
    is_source = file.endswith(".py") if isinstance(file, str) else hasattr(module, "__path__")
    return is_source and origin_of_module(name) is Origin.PROJECT


def dumps(
    obj: Any,
    *,
    versions: Mapping[type, str] | None = None,
    resolved: dict[int, dict[str, Any]] | None = None,
    imported: Collection[str] = (),
) -> tuple[bytes, dict[str, str]]:
    """Pickle an object; also give the sources that its functions came from, by file name.

    Parameters
    ----------
    versions
        Class → a digest of all that it does. A class that does something else than when it last travelled, be it that a
        base or a helper was edited, is a new class there. One without a digest is made anew each time.
    resolved
        Parameter annotations to send instead of a function's own, by the function's ``id``.
    imported
        Modules that are imported there, while a function runs: classes of theirs are taken from that import, or they
        would be there twice, each a stranger to ``isinstance`` and ``except``.
    """
    with _REGISTERED, io.BytesIO() as file:
        pickler = ProjectPickler(file, versions=versions or {}, resolved=resolved or {}, imported=imported)
        pickler.dump(obj)
        return file.getvalue(), {name: text for name in pickler.files if (text := _text_of(name))}


def refusal(obj: Any) -> Exception | None:
    """Why an object can't be pickled, ``None`` if it can."""
    try:
        dumps(obj)
    except Exception as error:
        return error
    return None


set_travels(lambda value: refusal(value) is None)


def _text_of(filename: str) -> str:
    return "".join(linecache.getlines(filename))


class _Registered:
    """Project modules found on the way, pickled by value by cloudpickle itself until the outermost dump ends."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._names: set[str] = set()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            for name in self._names:
                if name in sys.modules:
                    cloudpickle.unregister_pickle_by_value(sys.modules[name])
            self._names.clear()
        self._lock.release()

    def add(self, module: types.ModuleType) -> None:
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            self._names.add(module.__name__)


_REGISTERED = _Registered()


class ProjectPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles one object for a worker."""

    def __init__(
        self,
        file: io.BytesIO,
        *,
        versions: Mapping[type, str],
        resolved: dict[int, dict[str, Any]],
        imported: Collection[str] = (),
        verdicts: dict[int, tuple[Any, bool]] | None = None,
    ) -> None:
        super().__init__(file, protocol=5)
        self.files: set[str] = set()
        self._versions, self._resolved, self._imported = versions, resolved, imported
        self._verdicts = verdicts if verdicts is not None else {}
        self._shared: dict[str, _ModuleVars] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type) and (definition := definition_of(obj)) is not obj:
            return _same, (definition,)
        if isinstance(obj, types.ModuleType):
            return self._module(obj)
        if isinstance(obj, type) and obj.__module__ in self._imported and _is_as_imported(obj):
            return _class_of_import, (obj.__module__, obj.__qualname__)
        module = sys.modules.get(getattr(obj, "__module__", None) or "") if _is_code(obj) else None
        if module is not None and is_own_module(module):
            _REGISTERED.add(module)
        if isinstance(obj, Function):
            return self._function_object(obj)
        if isinstance(obj, types.CodeType):
            return _code(obj)
        template = jinja_templates.reducer_of(type(obj))
        if template is not None:
            return template(obj)
        made_by_library = library_wrappers.reduced(obj)
        if made_by_library is not None:
            return made_by_library
        if isinstance(obj, patches.FOUND_BY_NAME):
            name = patches.hidden_name(obj)
            if name is not None:
                return patches.original, name
        claims_another = isinstance(obj, types.FunctionType) and patches.claims_another_module(obj)
        reduced = self._dynamic_function_reduce(obj) if claims_another else super().reducer_override(obj)
        if not isinstance(reduced, tuple):
            return _plain_state(obj) if _asks_itself(type(obj)) else reduced
        if isinstance(obj, types.FunctionType):
            return self._plain_function(obj, reduced)
        if isinstance(obj, type):
            return self._class(obj, reduced)
        return reduced

    def _function_getnewargs(self, func: types.FunctionType) -> tuple[Any, ...]:
        code, base, *rest = super()._function_getnewargs(func)
        self.files.add(code.co_filename)
        module = _module_of_globals(func)
        if module is not None:  # all functions of a module, and the module itself, share one namespace there too
            base = self._shared.setdefault(module.__name__, _ModuleVars(module.__name__, dict(base)))
        return (code, base, *rest)

    def _module(self, module: types.ModuleType) -> Any:
        if is_own_module(module):
            state = {name: value for name, value in vars(module).items() if name not in _MACHINERY}
            return _shell, (module.__name__,), self._sendable(module.__name__, state), None, None, _fill_shell
        if sys.modules.get(module.__name__) is module or module.__name__ in sys.builtin_module_names:
            return import_module, (module.__name__,)
        return super().reducer_override(module)

    def _function_object(self, function: Function) -> Any:
        reduced = function.__reduce_ex__(5)
        if isinstance(reduced, str):
            return reduced
        rebuild, args, (attributes, fields) = reduced
        # Where its outputs go is the driver's to know: the other functions of the graph stay at home.
        fields = {**fields, "options": dataclasses.replace(fields["options"], next=None)}
        attributes = {name: value for name, value in attributes.items() if name != "__annotations__"}
        return rebuild, args, (attributes, fields)

    def _plain_function(self, function: types.FunctionType, reduced: tuple[Any, ...]) -> Any:
        make, args, (attributes, slots), *rest = reduced
        annotations = self._resolved.get(id(function), slots.get("__annotations__") or {})
        kept = {name: value for name, value in annotations.items() if name != "return" or not _names_a_node(value)}
        slots = {**slots, "__annotations__": kept}
        around = function.__globals__  # what a text names isn't among the names that cloudpickle reads off the code
        by_text = {name: around[name] for name in sorted(named_in_texts(reads_of(function.__code__), around))}
        slots["__globals__"] = {**by_text, **slots["__globals__"]}
        module = _module_of_globals(function)
        if module is not None:
            slots["__globals__"] = self._sendable(module.__name__, slots["__globals__"])
        return make, args, (attributes, slots), *rest

    def _class(self, cls: type, reduced: tuple[Any, ...]) -> Any:
        if len(reduced) != 6 or reduced[-1] is not internals._class_setstate:
            return reduced
        make, args, (attributes, *slots), *_ = reduced
        place = {name: position for position, name in enumerate(vars(cls))}  # cloudpickle gives them sorted
        attributes = {name: attributes[name] for name in sorted(attributes, key=lambda name: place.get(name, -1))}
        if getattr(cls, "__tensorlake_compute__", False) is True:
            attributes.pop("next", None)
        if _has_slots(cls):
            *front, kwargs, identity, extra = args  # else its instances would take any attribute there
            args = (*front, {**kwargs, "__slots__": vars(cls)["__slots__"]}, identity, extra)
            attributes = {k: v for k, v in attributes.items() if not isinstance(v, types.MemberDescriptorType)}
            attributes.pop("__slots__")
        state = (attributes, *slots)
        version = self._versions.get(cls, "")
        return _make_class, (PROCESS, version, cls.__qualname__, make, args), state, None, None, _fill_class

    def _sendable(self, module: str, values: dict[str, Any]) -> dict[str, Any]:
        """Replace what can't be pickled, such as a lock or a connection, by its name in the module, imported there."""
        return {name: value if self._goes(value) else _Imported(module, name) for name, value in values.items()}

    def _goes(self, value: Any) -> bool:
        if _is_code(value) or isinstance(value, (types.ModuleType, str, bytes, int, float, type(None))):
            return True
        if id(value) not in self._verdicts:
            self._verdicts[id(value)] = (value, True)  # under trial: what refers back to itself is no obstacle
            trial = ProjectPickler(io.BytesIO(), versions={}, resolved={}, verdicts=self._verdicts)
            try:
                trial.dump(value)
            except Exception:
                self._verdicts[id(value)] = (value, False)
        return self._verdicts[id(value)][1]


def _code(code: types.CodeType) -> Any:
    """Keep the name of its file, by which tracebacks find its lines: cloudpickle 3.1.3 sends none."""
    make, args = internals._code_reduce(code)
    return make, (*args[:_FILENAME], code.co_filename, *args[_FILENAME + 1 :])


#: Where the constructor of code objects takes the name of the file (Python 3.11 and later).
_FILENAME = 10
_MACHINERY = {"__builtins__", "__cached__", "__loader__", "__spec__"}


def _is_code(obj: Any) -> bool:
    return isinstance(obj, (types.FunctionType, type, Function))


def _is_as_imported(cls: type) -> bool:
    """Return True if an import finds a class under its name, and no cell has added a method to it since."""
    try:
        found = _class_of_import(cls.__module__, cls.__qualname__)
    except (ImportError, AttributeError):
        return False
    methods = [value for value in vars(cls).values() if isinstance(value, types.FunctionType)]
    return found is cls and not any(method.__module__ == "__main__" for method in methods)


def _module_of_globals(function: types.FunctionType) -> types.ModuleType | None:
    module = sys.modules.get(function.__globals__.get("__name__", ""))
    if module is not None and vars(module) is function.__globals__ and is_own_module(module):
        return module
    return None


def _names_a_node(annotation: Any) -> bool:
    if isinstance(annotation, Function) or getattr(annotation, "__tensorlake_compute__", False) is True:
        return True
    return any(_names_a_node(inner) for inner in getattr(annotation, "__args__", None) or ())


def _has_slots(cls: type) -> bool:
    """Return True if a class has its own slots, and naming them makes it again."""
    is_plain = type(cls).__module__ in ("builtins", "abc", "typing") and not issubclass(cls, tuple)
    return is_plain and "__slots__" in vars(cls)


def _asks_itself(cls: type) -> bool:
    """Return True if instances answer for attributes that they lack, yet are pickled as plain objects.

    Pickle asks an instance that has no attributes yet for its ``__setstate__``; ``return getattr(self.held, name)``
    then asks for ``held``, and for ``held``, and doesn't end.
    """
    return (
        hasattr(cls, "__getattr__")
        and not issubclass(cls, type)
        and not hasattr(cls, "__setstate__")
        and cls.__reduce_ex__ is object.__reduce_ex__
        and cls.__reduce__ is object.__reduce__
        and cls not in copyreg.dispatch_table
    )


def _plain_state(obj: Any) -> Any:
    make, args, state, *items = obj.__reduce_ex__(5)
    return (make, args, state, *items, *([_set_state] if state is not None else []))


class _ModuleVars(dict[str, Any]):
    """Stands for the namespace of a project module."""

    def __init__(self, name: str, base: dict[str, Any]) -> None:
        super().__init__(base)
        self._name = name

    def __reduce_ex__(self, _: Any) -> Any:
        return _shell_vars, (self._name, dict(self))


class _Imported:
    """Stands for a value that only an import can give."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __reduce_ex__(self, _: Any) -> Any:
        return _import_value, (self._module, self._name)
