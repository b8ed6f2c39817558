"""Classes that a function reaches, as they are now: bases, methods, attributes by value, fields, members.

A class is read off its own namespace rather than its text, since cells leave no text of a class behind, and since a
namespace says what decorators and metaclasses made of it. What Python or a library generated is left out where it
follows from the fields.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
import functools
import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tensorlake_nb.core.code.names_read import reads_of
from tensorlake_nb.core.code.raw_annotations import annotations_of
from tensorlake_nb.core.code.source import class_source
from tensorlake_nb.core.fingerprint.annotations import annotation_ref
from tensorlake_nb.core.origin import OWN, Origin, origin_of
from tensorlake_nb.core.values.encoding import name_of
from tensorlake_nb.core.values.plain_rules import SCALARS

if TYPE_CHECKING:
    from tensorlake_nb.core.fingerprint.walk import Reach

_SKIPPED = frozenset(
    """
    __module__ __qualname__ __doc__ __dict__ __weakref__ __firstlineno__ __static_attributes__ __annotations__
    __annotate__ __annotate_func__ __annotations_cache__ __classdictcell__ __dataclass_fields__ __dataclass_params__
    __abstractmethods__ _abc_impl __parameters__ __orig_bases__ __signature__ __class_vars__
    __private_attributes__ __attrs_attrs__ __attrs_own_setattr__ __attrs_props__ __protocol_attrs__
    __non_callable_proto_members__ __weakrefoffset__ __slotnames__
    """.split()  # noqa: SIM905 - a table of words reads better than sixty lines
)
#: Attributes that a base puts into its classes.
_SKIPPED_OF: dict[type, frozenset[str]] = {
    BaseModel: frozenset(("model_fields", "model_computed_fields")),
    enum.Enum: frozenset(
        """
        _member_names_ _member_map_ _value2member_map_ _unhashable_values_ _hashable_values_ _new_member_ _use_args_
        _member_type_ _value_repr_ _generate_next_value_
        """.split()  # noqa: SIM905 - as above
    ),
}
#: Options of a function written as a class: they say where and how often it runs, or enter the key as options.
_CLASS_OPTIONS = frozenset(
    """
    name description next inject_ctx retries timeout cpu memory ephemeral_disk gpu region max_concurrency
    secrets cacheable version image input_encoder output_encoder accumulate combine
    """.split()  # noqa: SIM905 - a table of words reads better than sixty lines
)
_FIELD_INFO_SKIPPED = frozenset(
    ("_attributes_set", "_original_annotation", "_original_assignment", "_complete", "_qualifiers")
)
#: Attributes of every member of an enum; the last is kept by the first ``~member``.
_MEMBER_NAMES = frozenset(("_name_", "_value_", "__objclass__", "_sort_order_", "_inverted_"))
_GENERATED_NAMES = ("__create_fn__.", "_no_init_or_replace_init")
_GENERATED_FILES = ("<attrs generated",)


def class_refs(reach: Reach, cls: type) -> tuple[str, dict[str, str]]:
    """Return a readable form of a class, and the label of every name in it."""
    name = reach.name_in(cls.__module__, cls.__qualname__)
    refs = {f"base {i}": reach.class_ref(base) for i, base in enumerate(cls.__bases__)}
    refs["metaclass"] = reach.class_ref(type(cls))
    own = vars(cls)
    is_function = any(
        base.__module__.partition(".")[0] == OWN and base.__name__ == "TensorlakeCompute" for base in cls.__mro__
    )
    if cls.__name__ != cls.__qualname__.rpartition(".")[2]:
        reach.where_read("names", lambda: {"name": cls.__name__})
    skipped = kept_by_library(cls)
    options = _CLASS_OPTIONS - _read_by_methods(cls) if is_function else frozenset[str]()
    for attribute, value in sorted(own.items()):
        if attribute in skipped:
            continue
        if is_generated(value):
            defaults = _defaults_of_its_own(cls, attribute, value)
            if defaults is not None:
                refs[f"defaults {attribute}"] = reach.encode(defaults, f"default {name}.{attribute}").hex()
            continue
        if attribute.startswith("__pydantic_") and attribute != "__pydantic_config__":
            continue
        if attribute == "__match_args__" and value == _match_args_of_fields(cls):
            continue
        if attribute in options:
            continue
        if attribute == "__init__" and value is object.__init__ and typing.Protocol in cls.__mro__:
            continue  # put there by typing with the first instance
        if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
            continue
        if issubclass(cls, enum.Enum) and attribute in cls.__members__:
            continue
        if getattr(own.get("__dataclass_fields__", {}).get(attribute), "default", _SKIPPED) is value:
            continue
        refs[f"attribute {attribute}"] = reach.ref(value, f"attribute {name}.{attribute}")
    reach.where_read("order", lambda: {"order": " ".join(key for key in own if f"attribute {key}" in refs)})
    refs.update(_fields(reach, cls, name))
    generic = own.get("__orig_bases__")
    for i, base in enumerate(generic if isinstance(generic, tuple) else ()):
        if not isinstance(base, type):
            refs[f"generic base {i}"] = annotation_ref(reach, base, {}, f"annotation {name}")
    if isinstance(cls, abc.ABCMeta):
        found = [below() for below in abc._get_dump(cls)[0]]  # type: ignore[attr-defined]
        registered = sorted((below for below in found if below), key=name_of)
        refs.update({f"registered {name_of(below)}": reach.class_ref(below) for below in registered})
    namespace = getattr(sys.modules.get(cls.__module__), "__dict__", {})
    for i, (attribute, annotation) in enumerate(annotations_of(cls).items()):
        ref = annotation_ref(reach, annotation, namespace, f"annotation {name}.{attribute}")
        refs[f"annotation {attribute}"] = f"{i} {ref}"  # the order of fields is that of their annotations
    shown = class_source(cls, [item.__code__ for item in own.values() if isinstance(item, types.FunctionType)])
    return shown or "\n".join([f"class {name}", *(f"    {key}: {refs[key]}" for key in sorted(refs))]), refs


def kept_by_library(cls: type) -> frozenset[str]:
    """Return the attributes of a class that Python, or the library that made it, keeps for itself."""
    return _SKIPPED.union(*(names for base, names in _SKIPPED_OF.items() if issubclass(cls, base)))


def _match_args_of_fields(cls: type) -> tuple[str, ...] | None:
    """Return the ``__match_args__`` that a decorator or a base generated from the fields."""
    if dataclasses.is_dataclass(cls):
        return tuple(item.name for item in dataclasses.fields(cls) if item.init and not item.kw_only)
    if "__attrs_attrs__" in vars(cls):
        return tuple(item.name for item in vars(cls)["__attrs_attrs__"] if item.init and not item.kw_only)
    fields = vars(cls).get("_fields")
    return fields if isinstance(fields, tuple) else None


def is_generated(value: Any) -> bool:
    """Tell whether a method was made from the fields of a dataclass, an attrs class or a named tuple."""
    below = getattr(value, "__func__", value)
    namespace = getattr(below, "__globals__", None)
    if isinstance(namespace, dict) and "_tuple_new" in namespace:
        return str(namespace.get("__name__")).startswith("namedtuple_")
    code = getattr(below, "__code__", None)
    if not isinstance(code, types.CodeType):
        return type(value).__name__ == "_tuplegetter"
    if code.co_qualname.startswith(_GENERATED_NAMES) or code.co_filename.startswith(_GENERATED_FILES):
        return True
    # dataclasses and attrs wrap some of theirs themselves; what the project has wrapped around one counts
    return hasattr(below, "__wrapped__") and origin_of(below) is not Origin.PROJECT and is_generated(below.__wrapped__)


def _defaults_of_its_own(cls: type, attribute: str, value: Any) -> tuple[Any, ...] | None:
    """Return the defaults of a generated method if they were replaced by others than the fields imply."""
    own, held = vars(cls), getattr(getattr(value, "__func__", value), "__defaults__", None) or ()
    if attribute == "__new__" and "_field_defaults" in own:
        expected = [*own["_field_defaults"].values()]
    elif attribute == "__init__" and "__dataclass_fields__" in own:
        given = [item for item in dataclasses.fields(cls) if item.init and not item.kw_only]
        none = dataclasses.MISSING
        expected = [item.default for item in given if item.default is not none or item.default_factory is not none]
    else:
        return None
    pairs = zip(held, expected, strict=False)
    follows = all(one is other or other is dataclasses.MISSING or _are_equal(one, other) for one, other in pairs)
    return None if follows and len(held) == len(expected) else held


def _are_equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and type(one) in SCALARS and bool(one == other)


def _read_by_methods(cls: type) -> frozenset[str]:
    """Return the attributes that the methods of a class and its bases read from their first argument, or by a text."""
    functions = [getattr(item, "__func__", item) for base in cls.__mro__ for item in vars(base).values()]
    codes = [item.__code__ for item in functions if isinstance(item, types.FunctionType) and item.__code__.co_argcount]
    found = set[str]()
    for code in codes:
        reads, first = reads_of(code), code.co_varnames[0]
        chains = reads.locals.get(first, set()) | reads.closures.get(first, set())
        found |= {chain[0] for chain in chains if chain} | reads.strings
    return frozenset(found)


def _fields(reach: Reach, cls: type, name: str) -> dict[str, str]:
    refs: dict[str, str] = {}
    own = vars(cls)
    if "__dataclass_fields__" in own:
        refs["dataclass"] = repr(own.get("__dataclass_params__"))
        for i, (key, item) in enumerate(own["__dataclass_fields__"].items()):
            refs[f"field {key}"] = f"{i} {_dataclass_field(reach, item, f'field {name}.{key}')}"
    if issubclass(cls, BaseModel) or "__pydantic_fields__" in own:
        refs.update(_model(reach, cls, name))
    if "__attrs_attrs__" in own:
        refs["attrs"] = reach.encode(tuple(own["__attrs_attrs__"]), f"fields {name}").hex()
        refs["attrs methods"] = " ".join(sorted(key for key, value in own.items() if is_generated(value)))
    if issubclass(cls, enum.Enum):
        for i, (key, member) in enumerate(cls.__members__.items()):
            extra = {k: v for k, v in vars(member).items() if k not in _MEMBER_NAMES}
            held = (i, member._name_, member._value_, sorted(extra.items()))
            refs[f"member {key}"] = reach.value_ref(held[2:] if extra else member._value_, f"member {name}.{key}")
            refs[f"member {key}"] += f" {i} {member._name_}"
    return refs


def _dataclass_field(reach: Reach, item: Any, label: str) -> str:
    flags = (item.init, item.repr, item.hash, item.compare, item.kw_only, str(getattr(item, "_field_type", "")))
    default = "none" if item.default is dataclasses.MISSING else reach.ref(item.default, label)
    factory = "none" if item.default_factory is dataclasses.MISSING else reach.ref(item.default_factory, label)
    metadata = reach.encode(dict(item.metadata), label).hex() if item.metadata else "none"
    return f"{flags} {default} {factory} {metadata}"


def _model(reach: Reach, cls: Any, name: str) -> dict[str, str]:
    """Describe a pydantic model: fields with defaults and constraints, private attributes, and validators' targets."""
    refs: dict[str, str] = {}
    for i, (key, info) in enumerate(cls.__pydantic_fields__.items()):
        slots = [slot for slot in type(info).__slots__ if slot not in _FIELD_INFO_SKIPPED]
        held = {slot: getattr(info, slot, None) for slot in slots}
        refs[f"field {key}"] = f"{i} {reach.encode(held, f'field {name}.{key}').hex()}"
    for key, private in (vars(cls).get("__private_attributes__") or {}).items():
        held = {slot: getattr(private, slot, None) for slot in ("default", "default_factory")}
        refs[f"private {key}"] = reach.encode(held, f"field {name}.{key}").hex()
    decorators = vars(cls).get("__pydantic_decorators__")
    for group in getattr(type(decorators), "__slots__", ()) or getattr(decorators, "__dict__", {}):
        found = getattr(decorators, group, None)
        for key, decorator in found.items() if isinstance(found, dict) else ():
            made = getattr(decorator.func, "__func__", decorator.func)
            info = {k: v for k, v in _info_of(decorator.info).items() if not callable(v) or isinstance(v, type)}
            doc = getattr(info.get("wrapped_property"), "__doc__", None)
            called = reach.code_ref(made) or name_of(made)
            ref = functools.partial(_validator, reach, f"{group} {key}", f"validator {name}.{key}", called)
            if doc and info.get("description") == inspect.cleandoc(doc):
                reach.where_read("docstrings", functools.partial(ref, info))
                info = {**info, "description": None}
            refs.update(ref(info))
    return refs


def _validator(reach: Reach, key: str, label: str, called: str, info: dict[str, Any]) -> dict[str, str]:
    return {key: f"{called} {reach.encode(info, label).hex()}"}


def _info_of(info: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(info):
        return {item.name: getattr(info, item.name) for item in dataclasses.fields(info)}
    return {}
