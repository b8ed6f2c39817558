"""Encodings of instances: enums, named tuples, dataclasses, pydantic models, and whatever pickle can take apart.

An instance is its class (by module and qualified name) and its state. The state is what pickle would carry, since that
is what a worker gets: an attribute that ``__getstate__`` leaves out is no part of the value.
"""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import functools
import sys
import types
from typing import Any

from pydantic import BaseModel

from tensorlake_nb.core import jinja_templates
from tensorlake_nb.core.origin import Origin, is_named_in_package, origin_of, origin_of_class
from tensorlake_nb.core.values import cached_state
from tensorlake_nb.core.values.array_rules import array_rule
from tensorlake_nb.core.values.encoding import Encoding, Refusal, Rule, count, parts, type_name
from tensorlake_nb.core.values.plain_rules import attribute_parts, dict_parts, tuple_parts
from tensorlake_nb.core.values.table_rules import table_rule
from tensorlake_nb.core.values.tensor_rules import tensor_rule

#: The type of ``functools.lru_cache``'s wrappers.
CACHED = type(functools.lru_cache(print))
#: Types of things that are code rather than data.
CODE_TYPES: tuple[type, ...] = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ModuleType,
    types.CodeType,
    type,
    property,
    staticmethod,
    classmethod,
    CACHED,
)

#: Of those, what may be bound to a value, which is then part of it.
_BOUND_TYPES = (types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType)

#: Packages whose ``__reduce__`` we know to be a canonical form.
_KNOWN = (
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "pydantic_core",
    "attr",
    "attrs",
    "torch",
    "tensorlake_nb",
)
_EMPTY = (None, None, None, None, None, None)


def rule_for(cls: type) -> Rule:
    """Return the rule for a class that isn't one of Python's plain types."""
    if issubclass(cls, _BOUND_TYPES):
        return _bound
    if issubclass(cls, CACHED):
        return _cached
    if issubclass(cls, CODE_TYPES) or getattr(cls, "__tensorlake_function__", False):
        return lambda value, enc: enc.code_part(value)
    rule: Rule | None = array_rule(cls) or table_rule(cls) or tensor_rule(cls)
    if rule is not None:
        return rule
    if issubclass(cls, enum.Enum):
        return _enum
    if issubclass(cls, BaseModel) and cls.__getstate__ is BaseModel.__getstate__:
        return _model
    if dataclasses.is_dataclass(cls) and _plainly_pickled(cls):
        return _dataclass
    if _plainly_pickled(cls) and issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple
    if issubclass(cls, set | frozenset):
        return _set_subclass
    if _wraps_a_function(cls):
        return lambda value, enc: enc.code_part(value)
    if _is_known(cls):
        return _reduced_once
    return lambda value, enc: enc.pickled(value, lambda: _reduced_once(value, enc))


def _plainly_pickled(cls: type) -> bool:
    of_class: Any = cls
    return (
        of_class.__reduce_ex__ is object.__reduce_ex__
        and of_class.__reduce__ is object.__reduce__
        and getattr(cls, "__getstate__", None) is getattr(object, "__getstate__", None)
        and _reducer_of(cls) is None
        and not issubclass(cls, list | dict | set | frozenset | str | bytes | int | float | complex | bytearray)
    )


def _wraps_a_function(cls: type) -> bool:
    """Return True if instances wrap a compiled form of a function, as numba's dispatchers do."""
    return cls.__module__.partition(".")[0] == "numba" and "__call__" in dir(cls)


def _reducer_of(cls: type) -> Any:
    """Return the reducer that a program has registered for pickling a class.

    Not of exceptions: tblib registers one for each that exists when it is installed, so that tracebacks travel, and
    then the same exception would have one digest in the processes that have it and another where it isn't.
    """
    return (
        None if issubclass(cls, BaseException) else jinja_templates.reducer_of(cls) or copyreg.dispatch_table.get(cls)
    )


def _is_known(cls: type) -> bool:
    """Return True if the state that pickle takes from an instance is its canonical form."""
    if _plainly_pickled(cls) or jinja_templates.reducer_of(cls) is not None:
        return True
    for name in ("__reduce_ex__", "__reduce__", "__getstate__"):
        owner = next((base for base in cls.__mro__ if name in vars(base)), object)
        if origin_of_class(owner) is not Origin.INSTALLED or owner.__module__.partition(".")[0] in _KNOWN:
            continue
        if origin_of(vars(owner)[name]) is not Origin.STDLIB:  # dataclasses puts its own into others' classes
            return False
    reducer = _reducer_of(cls)
    return reducer is None or cls.__module__.partition(".")[0] in _KNOWN or origin_of_class(cls) is Origin.STDLIB


def _bound(value: Any, enc: Encoding) -> bytes:
    """Encode a method and the object it is bound to, which may hold the method in turn; C functions are bound to
    nothing.
    """
    owner = value.__self__
    if is_named_in_package(value):
        return enc.constructor_part(value)
    if owner is None or isinstance(owner, CODE_TYPES):
        return enc.code_part(value)
    made = enc.code_part(value.__func__) if isinstance(value, types.MethodType) else enc.encode(value.__name__)
    return b"M" + parts([made, enc.encode(owner)])


def _cached(value: Any, enc: Encoding) -> bytes:
    """Encode a function with a cache; a method below it may be bound to the object that holds the whole."""
    if isinstance(value.__wrapped__, types.MethodType):
        return b"C" + parts([enc.encode(value.__wrapped__)])
    return enc.code_part(value)


def _enum(value: enum.Enum, enc: Encoding) -> bytes:
    return b"e" + parts([enc.class_part(type(value)), enc.encode(value._name_), enc.encode(value._value_)])


def _model(value: BaseModel, enc: Encoding) -> bytes:
    """Fields, extra and private values, and which fields were set: ``exclude_unset`` can see that."""
    cls = type(value)
    held = value.__dict__
    fields = {name: held[name] for name in cls.__pydantic_fields__ if name in held}
    if cls.__pydantic_root_model__:
        fields = {"root": held["root"]}
    state = b"O" + parts([enc.class_part(cls)]) + attribute_parts(fields, enc)
    if value.__pydantic_extra__:
        state += b"+" + dict_parts(value.__pydantic_extra__, enc)
    if value.__pydantic_private__:
        state += b"-" + attribute_parts(value.__pydantic_private__, enc)
    unset = sorted(fields.keys() - value.__pydantic_fields_set__)
    return state + b"?" + tuple_parts(tuple(unset), enc) if unset else state


def _dataclass(value: Any, enc: Encoding) -> bytes:
    state = value.__getstate__()
    held, slots = state if isinstance(state, tuple) else (state, None)
    return (
        b"o" + parts([enc.class_part(type(value))]) + attribute_parts(cached_state.attributes(value, held, slots), enc)
    )


def _named_tuple(value: Any, enc: Encoding) -> bytes:
    names = tuple(type(value)._fields)
    encoding = b"u" + parts([enc.class_part(type(value)), enc.encode(names)]) + tuple_parts(value, enc)
    extra = getattr(value, "__dict__", None)
    return encoding + attribute_parts(extra, enc) if extra else encoding


def _set_subclass(value: Any, enc: Encoding) -> bytes:
    items = enc.unordered(value)
    encoding = b"y" + parts([enc.class_part(type(value))]) + count(len(items)) + parts(items)
    return encoding + attribute_parts(getattr(value, "__dict__", {}), enc)


def _reduced_once(value: Any, enc: Encoding) -> bytes:
    cls = type(value)
    reducer = enc.reducer(cls) or _reducer_of(cls)
    try:
        result = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except RecursionError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise Refusal(f"{type_name(value)} has no digest ({reason:.200})") from error
    if isinstance(result, str):
        return b"g" + parts([enc.class_part(cls), enc.encode(_home_of(value, result)), enc.encode(result)])
    make, args, state, items, pairs, setter = (*result, *_EMPTY)[:6]
    out = [enc.class_part(cls), enc.constructor_part(make)]
    encoding = b"r" + parts(out) + _arguments(args, enc)
    if state is not None:
        encoding += _state(value, state, enc)
    if items is not None:
        encoding += b"*" + tuple_parts(tuple(items), enc)
    if pairs is not None:
        encoding += b":" + dict_parts(dict(pairs), enc)
    if setter is not None:
        encoding += b"@" + parts([enc.constructor_part(setter)])
    return encoding


def _home_of(value: Any, name: str) -> str:
    """Return the module in which a value that is pickled by name is found under that name."""
    first = getattr(value, "__module__", None) or type(value).__module__.partition(".")[0]
    for home in (first, *sys.modules.copy()):
        found: Any = sys.modules.get(home)
        for step in name.split("."):
            found = getattr(found, "__dict__", {}).get(step)
        if found is value:
            return str(home)
    raise Refusal(f"{type_name(value)} {name!r} isn't found under its name")


def _arguments(args: tuple[Any, ...], enc: Encoding) -> bytes:
    """Arguments of a constructor; a class among them is the instance's own and counts by name."""
    out = []
    for i, arg in enumerate(args):
        try:
            out.append(enc.class_part(arg) if i == 0 and isinstance(arg, type) else enc.encode(arg))
        except Refusal as refusal:
            refusal.inside(f" argument {i}")
            raise
    return count(len(out)) + parts(out)


def _state(value: Any, state: Any, enc: Encoding) -> bytes:
    """Encode an object's state; one that holds only caches equals an empty one."""
    if type(state) is dict and all(type(name) is str for name in state):
        shown = cached_state.attributes(value, state, None)
        return b"=a" + attribute_parts(shown, enc) if shown or not state else b""
    if type(state) is tuple and len(state) == 2 and all(item is None or type(item) is dict for item in state):
        held, slots = state
        if all(type(name) is str for name in {**(held or {}), **(slots or {})}):
            return b"=a" + attribute_parts(cached_state.attributes(value, held, slots), enc)
    if type(state) is tuple:
        state = cached_state.items(value, state)
    return b"=v" + parts([enc.encode(state)])
