"""Classes of one name: a module loaded again, or a cell run again, leaves the class before beside the new one.

``%autoreload`` gives the class before the attributes of the new one, and leaves it in the notebook's names. It copies
them key by key: an enum, a class with slots or a pydantic model comes out of it half broken. So of two classes that do
the same, the one in the module stands for both wherever a class is digested, sent, or named by an annotation.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from collections.abc import Iterable
from typing import Any

from tensorlake_nb.core.code.source import code_digest
from tensorlake_nb.core.fingerprint.classes import is_generated, kept_by_library

#: The fields of a class, in the form of whatever made it.
_FIELDS = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__", "_fields", "_field_defaults")
#: Of what a library keeps in a class, that which says what the class does; the rest follows from it.
_COMPARED = frozenset((*_FIELDS, "__pydantic_decorators__", "__private_attributes__"))
_MISSING = object()


def definition_of(cls: type) -> type:
    """Return the class that is in the module now under the name of this one, if the two do the same; else itself."""
    found = named(cls.__module__, cls.__qualname__)
    if found is None or found is cls or type(found) is not type(cls) or not _do_the_same(cls, found, set()):
        return cls
    return found


def named(module: Any, qualname: str) -> type | None:
    """Return the class that a loaded module has under a name, without running any code of it."""
    return _inside(sys.modules.get(module) if isinstance(module, str) else None, qualname.split("."), module, qualname)


def held_as(module: str, qualname: str, held: Iterable[Any]) -> type | None:
    """Return the class of that name among some values, those that names stand for; None if there is none.

    The one that is in the module comes first: where both are held, it is the newer one.
    """
    first, *rest = qualname.split(".")
    outer = [each for each in held if isinstance(each, type) and _name(each) == (module, first)]
    found = [_inside(each, rest, module, qualname) for each in outer]
    usable = [each for each in found if each is not None and not _lost_its_slots(each)]
    now = named(module, qualname)
    return now if now in usable else next(iter(usable), None)


def are_alike(one: type, other: type) -> bool:
    """Tell whether two classes are an earlier and a later form of one, with the same fields."""
    return one is other or (
        _name(one) == _name(other) and "<locals>" not in one.__qualname__ and _same_fields(one, other)
    )


def stands_for(value: Any, cls: type) -> bool:
    """Tell whether a value is an instance of a class, or of an earlier or later form of it."""
    if isinstance(value, cls):
        return True
    if isinstance(value, enum.Enum) and not isinstance(value, enum.Flag):
        member = getattr(cls, "__members__", {}).get(value.name)
        return member is not None and are_alike(type(value), cls) and bool(member.value == value.value)
    return any(are_alike(base, cls) for base in type(value).__mro__)


def _name(cls: type) -> tuple[Any, str]:
    return cls.__module__, cls.__qualname__


def _inside(holder: Any, steps: list[str], module: Any, qualname: str) -> type | None:
    for step in steps:
        holder = getattr(holder, "__dict__", {}).get(step)
    return holder if isinstance(holder, type) and _name(holder) == (module, qualname) else None


def _lost_its_slots(cls: type) -> bool:
    """Return True if a reload replaced the class's slots by another class's, so that no instance can be read."""
    slots = (item for item in vars(cls).values() if isinstance(item, types.MemberDescriptorType))
    return any(item.__objclass__ is not cls for item in slots)


def _same_fields(one: type, other: type) -> bool:
    return all(_names_in(getattr(one, table, ())) == _names_in(getattr(other, table, ())) for table in _FIELDS[:4])


def _names_in(table: Any) -> list[str]:
    return [str(getattr(item, "name", item)) for item in table] if isinstance(table, (dict, tuple)) else []


def _do_the_same(one: type, other: type, seen: set[tuple[int, int]]) -> bool:
    """Return True if two classes have the same bases, fields and members, and equivalent attributes.

    Code that reads globals reads those of one module, so the values of its names need no comparison.
    """
    if one is other or (id(one), id(other)) in seen:
        return True
    seen.add((id(one), id(other)))
    if type(one) is not type(other) or _name(one) != _name(other) or len(one.__bases__) != len(other.__bases__):
        return False
    if not all(_do_the_same(*pair, seen) for pair in zip(one.__bases__, other.__bases__, strict=True)):
        return False
    names = _telling(one, other)
    if issubclass(one, enum.Enum) and issubclass(other, enum.Enum):
        if [(each.name, each.value) for each in one] != [(each.name, each.value) for each in other]:
            return False
        names -= {*one.__members__, *other.__members__}
    return all(_same(vars(one).get(name, _MISSING), vars(other).get(name, _MISSING), seen) for name in names)


def _telling(one: type, other: type) -> set[str]:
    names = {*vars(one), *vars(other)}
    follows = kept_by_library(other) | {name for name in names if name.startswith("__pydantic_")}
    made = {name for name in names if _is_made_of_fields(vars(other).get(name))}
    return names - (follows - _COMPARED) - made


def _is_made_of_fields(value: Any) -> bool:
    return is_generated(value) or isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType))


def _same(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    one, other = _plain(one), _plain(other)
    if one is other:
        return True
    if isinstance(one, tuple) and isinstance(other, tuple):  # attrs keeps fields in a class of its own for each class
        return len(one) == len(other) and all(_same(*pair, seen) for pair in zip(one, other, strict=True))
    if type(one) is not type(other):
        return False
    match one:
        case types.FunctionType():
            held, others = ((each.__defaults__, each.__kwdefaults__, *_closed_over(each)) for each in (one, other))
            same_code = code_digest(one.__code__) == code_digest(other.__code__)
            return same_code and one.__globals__ is other.__globals__ and _same(held, others, seen)
        case property():
            return all(_same(getattr(one, way), getattr(other, way), seen) for way in ("fget", "fset", "fdel"))
        case type():
            return _do_the_same(one, other, seen)
        case dict():
            return [*one] == [*other] and all(_same(one[key], other[key], seen) for key in one)
        case dataclasses.Field():
            return all(_same(getattr(one, part), getattr(other, part), seen) for part in _PARTS_OF_FIELD)
        case _:
            try:
                return bool(one == other)
            except Exception:  # arrays, and what won't be compared
                return False


_PARTS_OF_FIELD = (
    "name",
    "type",
    "default",
    "default_factory",
    "init",
    "repr",
    "hash",
    "compare",
    "metadata",
    "kw_only",
)


def _plain(value: Any) -> Any:
    """Take the function out of what binds it: a reload puts one in place of the other."""
    return value.__func__ if isinstance(value, (staticmethod, classmethod, types.MethodType)) else value


def _closed_over(function: types.FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            found.append(_MISSING)
    return found
