"""Find the keys that a record takes from a dict: a dict was not meant for a record that drops all of them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any, get_args, is_typeddict

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from pydantic.fields import FieldInfo

from tensorlake_nb.core.functions.annotations import alternatives
from tensorlake_nb.core.functions.type_matching import class_of
from tensorlake_nb.core.identifiers import listed


def dropped(value: Any, hint: Any) -> str | None:
    """Return what is wrong with a value of which a record would take nothing, be it within a container; else None."""
    options = alternatives(hint)
    if type(value) is dict and value:
        findings = [_dropped_by(value, option) for option in options if option is not type(None)]
        return findings[0] if findings and None not in findings else None
    if type(value) not in (list, tuple):
        return None
    for option in options:
        inner = get_args(option) if class_of(option) in (list, tuple) else ()
        if len(inner) == 1 or (len(inner) == 2 and inner[1] is ...):
            return next((found for item in value if (found := dropped(item, inner[0])) is not None), None)
    return None


def _dropped_by(value: dict[Any, Any], option: Any) -> str | None:
    cls, arguments = class_of(option), get_args(option)
    if cls is dict and len(arguments) == 2:
        return next((found for item in value.values() if (found := dropped(item, arguments[1])) is not None), None)
    known = known_keys(cls) if cls is not None else None
    if cls is None or known is None or not known.isdisjoint(value):
        return None
    given = ", ".join(f"{key!r:.30}" for key in list(value)[:6]) + (", …" if len(value) > 6 else "")
    return f"{cls.__name__} knows none of the keys {given}. It knows {listed(sorted(known)) or 'no key at all'}"


def known_keys(cls: type) -> frozenset[str] | None:
    """Return the keys that a record is made of; None for other classes, and for those that may take any key."""
    own: Any = cls
    if is_typeddict(cls):
        names = frozenset[str](own.__required_keys__ | own.__optional_keys__)
    elif issubclass(cls, BaseModel) and not issubclass(cls, RootModel):
        names = frozenset(_names_of(own))
    elif dataclasses.is_dataclass(cls):
        names = frozenset(_aliases_of(cls)).union(_names_of(own))
    else:
        return None
    return None if _takes_any(own) else names


def _takes_any(cls: Any) -> bool:
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    validators = getattr(getattr(cls, "__pydantic_decorators__", None), "model_validators", {})
    return config.get("extra") == "allow" or any(each.info.mode != "after" for each in validators.values())


def _names_of(cls: Any) -> Iterator[str]:
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    fields = getattr(cls, "__pydantic_fields__", None)
    if fields is None:
        yield from (name for name, item in cls.__dataclass_fields__.items() if item.init)
        return
    for name, info in fields.items():
        aliases = list(_keys_of(info.validation_alias))
        yield from aliases
        if by_name or not aliases:
            yield name


def _aliases_of(cls: Any) -> Iterator[str]:
    """Aliases that pydantic reads off the annotations and defaults of a plain dataclass."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception:  # an annotation that means nothing here
        hints = {}
    said = [each for hint in hints.values() for each in getattr(hint, "__metadata__", ())]
    said += [item.default for item in cls.__dataclass_fields__.values()]
    for each in said:
        if isinstance(each, FieldInfo):
            yield from _keys_of(each.validation_alias)


def _keys_of(alias: Any) -> Iterator[str]:
    if isinstance(alias, AliasChoices):
        for choice in alias.choices:
            yield from _keys_of(choice)
    elif isinstance(alias, AliasPath):
        yield from _keys_of(alias.path[0])
    elif isinstance(alias, str):
        yield alias
