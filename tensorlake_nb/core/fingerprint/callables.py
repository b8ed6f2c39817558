"""Label the functions, methods, descriptors and the like that a function reaches, each by its parts."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tensorlake_nb.core.code.reflection_names import CACHE_NAMES, DISPATCH_NAMES
from tensorlake_nb.core.code.source import code_digest
from tensorlake_nb.core.origin import Origin, is_named_in_package, origin_of_class, origin_of_module
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.core.values.encoding import name_of
from tensorlake_nb.core.values.object_rules import CACHED

if TYPE_CHECKING:
    from tensorlake_nb.core.fingerprint.walk import Reach


def code_ref(reach: Reach, obj: Any) -> str | None:
    """Return the label of a function, class, module or the like; None for a value."""
    if getattr(type(obj), "__tensorlake_function__", False):
        call = obj.call
        return reach.code_ref(call) or f"call {digest(reach.encode(call, 'helper ' + str(obj.name))).hex()}"
    if isinstance(obj, types.FunctionType):
        return reach.function_ref(obj)
    if isinstance(obj, type):
        return reach.class_ref(obj)
    if isinstance(obj, types.ModuleType):
        return reach.module_ref(obj)
    if isinstance(obj, types.MethodType):
        if is_named_in_package(obj):
            reach.installed(obj.__module__)
            return f"method {name_of(obj)}"
        owner = reach.code_ref(obj.__self__) or reach.encode(obj.__self__, f"object {name_of(obj)}").hex()
        return f"method({reach.ref(obj.__func__, 'value')}, {owner})"
    if type(obj).__name__ == "cython_function_or_method":
        reach.installed(str(obj.__module__))
        return f"compiled {name_of(obj)}"
    if isinstance(obj, staticmethod | classmethod):
        return f"{_kind(reach, obj)}({reach.ref(obj.__func__, 'value')})"
    if isinstance(obj, property):
        return f"{_kind(reach, obj)}({', '.join(reach.ref(f, 'value') for f in (obj.fget, obj.fset, obj.fdel) if f)})"
    if isinstance(obj, functools.cached_property):
        return f"{_kind(reach, obj)}({reach.ref(obj.func, 'value')})"
    if isinstance(obj, CACHED):
        return _with_attributes(reach, obj, f"cached({reach.ref(obj.__wrapped__, 'value')})", CACHE_NAMES)
    if isinstance(obj, types.CodeType):
        return f"bytecode {code_digest(obj).hex()}"
    if type(obj).__module__.partition(".")[0] == "numba" and hasattr(obj, "py_func"):
        return f"compiled({reach.package('numba')}, {reach.ref(obj.py_func, 'value')})"
    if isinstance(obj, types.BuiltinFunctionType | types.MethodWrapperType):
        return _builtin_ref(reach, obj)
    if isinstance(obj, types.WrapperDescriptorType | types.MethodDescriptorType | types.ClassMethodDescriptorType):
        reach.class_ref(obj.__objclass__)
        return f"builtin {name_of(obj)}"
    if isinstance(obj, types.GetSetDescriptorType | types.MemberDescriptorType):
        return f"slot {obj.__name__}"
    return None


def _kind(reach: Reach, obj: Any) -> str:
    """Name one of Python's descriptors, or the class that the project derived from it."""
    kind = type(obj)
    return kind.__name__ if origin_of_class(kind) is Origin.STDLIB else reach.class_ref(kind)


def _builtin_ref(reach: Reach, obj: Any) -> str:
    owner = obj.__self__
    if is_named_in_package(obj):
        reach.installed(str(obj.__module__ or type(owner).__module__))
        return f"builtin {type(owner).__module__}:{obj.__name__}"
    if owner is not None and not isinstance(owner, types.ModuleType | type):
        return f"method(builtin {obj.__name__}, {reach.encode(owner, f'object {obj.__qualname__}').hex()})"
    module = getattr(obj, "__module__", None) or name_of(owner).partition(":")[0]
    if origin_of_module(module) is Origin.PROJECT:
        reach.note(f"`{name_of(obj)}` is compiled: it is known by its name only")
    reach.installed(module)
    return f"builtin {module}:{obj.__qualname__}"


def dispatch_ref(reach: Reach, function: Any) -> str:
    """Describe a ``functools.singledispatch`` function: its implementations by class."""
    pairs = sorted(function.registry.items(), key=lambda pair: name_of(pair[0]))
    refs = [f"{reach.class_ref(cls)}: {reach.ref(made, 'value')}" for cls, made in pairs]
    return _with_attributes(reach, function, f"dispatch({', '.join(refs)})", DISPATCH_NAMES)


def _with_attributes(reach: Reach, obj: Any, ref: str, own: frozenset[str]) -> str:
    """Return the label of a function of ``functools``, with the attributes that the project set on it."""
    below = getattr(getattr(obj, "__wrapped__", None), "__dict__", {})
    held = {name: value for name, value in sorted(vars(obj).items()) if name not in own and name[:2] != "__"}
    held = {name: value for name, value in held.items() if below.get(name) is not value}
    if not held:
        return ref
    known = reach.known(id(obj))
    if known is not None:
        return known
    label = reach.new_label(f"function {name_of(obj)}", id(obj), obj)
    reach.later(label, lambda: _attributes(reach, label, ref, held))
    return label


def _attributes(reach: Reach, label: str, ref: str, held: Mapping[str, Any]) -> None:
    reach.text_part(label, ref, {name: reach.ref(value, f"attribute {name}") for name, value in held.items()})
    reach.sources[label] = "\n".join([ref, *held])
