"""Records (pydantic models, dataclasses, named tuples) built from the plain data that crosses edges."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, is_typeddict

import numpy as np
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, RootModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import core_schema

from tensorlake_nb.core.fingerprint.redefined_classes import stands_for
from tensorlake_nb.core.functions.accepted_keys import dropped
from tensorlake_nb.core.functions.annotations import alternatives, is_known
from tensorlake_nb.core.functions.type_matching import LAZY, class_of


class BuildError(ValueError):
    """Data that no record can be built of; says which fields are wrong, without the data itself."""


def adapter_for(hint: Any) -> TypeAdapter[Any] | None:
    """Return what validates an annotation, None when pydantic can make nothing of it."""
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # records have configurations of their own
        pass
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError, NameError):
        return None
    try:
        return TypeAdapter(hint)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError, TypeError, NameError):
        return None


def what_is_wrong(error: ValidationError) -> str:
    """Return pydantic's findings in one line: where, and what was expected."""
    found = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[:5]:
        where = ".".join(map(str, problem["loc"]))
        text = problem["msg"][:1].lower() + problem["msg"][1:]
        found.append(f"{where}: {text}" if where else text)
    more = error.error_count() - len(found)
    return "; ".join(found) + (f"; and {more} more" if more > 0 else "")


def conform(value: Any, hint: Any) -> Any:
    """Return a value as its annotation means it, converting no more than JSON does; :class:`BuildError` otherwise."""
    return conformer(hint)(value)


def conformer(hint: Any) -> Callable[[Any], Any]:
    """Return :func:`conform` for one annotation."""
    if not is_known(hint) or not alternatives(hint) or any(class_of(option) in LAZY for option in alternatives(hint)):
        return _same
    adapter = adapter_for(_with_instances(hint))
    if adapter is None:
        return _same

    def build(value: Any) -> Any:
        made = _conformed(adapter, value)
        if (problem := dropped(value, hint)) is not None:
            raise BuildError(f"is wrong: {problem}")
        return made

    return build


def _conformed(adapter: TypeAdapter[Any], value: Any) -> Any:
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        first = error
    try:
        plain = json.dumps(value.item() if isinstance(value, np.generic) else value)
    except (TypeError, ValueError, RecursionError):
        raise BuildError(_finding(first, value)) from None
    try:
        return adapter.validate_json(plain, strict=True)
    except ValidationError as error:
        # JSON has no form for the instances of some classes: then only what was found of the value itself tells
        asks_for_object = any(problem["type"] == "needs_python_object" for problem in error.errors(include_url=False))
        raise BuildError(_finding(first if asks_for_object else error, value)) from None


class _Instances:
    """Annotate for pydantic: accept instances of a class unchanged, even those of an earlier form of it.

    Validators of a model may change what they are given, and would do so for the second time.
    """

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        made = handler(source)  # of JSON as ever
        let_through = core_schema.no_info_wrap_validator_function(self._unless_instance, made)
        return core_schema.json_or_python_schema(json_schema=made, python_schema=let_through)

    def _unless_instance(self, value: Any, validate: Callable[[Any], Any]) -> Any:
        return value if stands_for(value, self._cls) else validate(value)


def _with_instances(hint: Any) -> Any:
    """Return the annotation in a form that accepts instances of classes other than Python's own unchanged."""
    if _is_own(hint):
        return Annotated[hint, _Instances(hint)]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin not in (list, dict, tuple, set, frozenset, Union, types.UnionType):
        return hint
    inner = tuple(argument if argument is ... else _with_instances(argument) for argument in arguments)
    return Union[inner] if origin in (Union, types.UnionType) else origin[inner]  # noqa: UP007 - as many as there are


def _is_own(option: Any) -> bool:
    """Return True if an annotation is a non-builtin class, whose instances are accepted whatever they hold."""
    if not isinstance(option, type) or is_typeddict(option):
        return False
    return option.__module__.partition(".")[0] not in sys.stdlib_module_names


def _finding(error: ValidationError, value: Any) -> str:
    text = what_is_wrong(error)
    return f"{text.removeprefix('input ')} (got {value!r:.60})" if error.error_count() == 1 else f"is wrong: {text}"


def record_builder(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes an annotation true of plain data, None when there is nothing to make.

    Dicts become pydantic models and dataclasses, lists become named tuples and, where ``tuple[...]`` is asked for,
    tuples; inside of lists, tuples and dicts too. Nothing else is touched or checked.
    """
    steps = [step for step in map(_step, alternatives(hint)) if step is not None]
    if not steps:
        return None
    if len(steps) > 1 and all(dict in step.kinds for step in steps):  # pydantic picks the record that fits best
        records = [option for option in alternatives(hint) if _step(option) is not None]
        either: Any = Union[tuple(records)]  # noqa: UP007 - as many as there are
        steps = [_Step((dict,), _validated(either))] if adapter_for(either) is not None else steps[:1]
    untouched = tuple(cls for cls in map(class_of, alternatives(hint)) if cls in (dict, list, tuple))

    def build(value: Any) -> Any:
        kind = type(value)
        for step in steps:
            if kind in step.kinds and not (kind in untouched and step.makes is not kind):
                return step.build(value)
        return value

    return build


@dataclass(frozen=True, slots=True)
class _Step:
    """Makes one alternative of an annotation out of values of certain classes."""

    kinds: tuple[type, ...]
    build: Callable[[Any], Any]
    makes: type | None = None


def _step(option: Any) -> _Step | None:
    cls = class_of(option)
    if cls is None:
        return None
    arguments = get_args(option)
    if issubclass(cls, BaseModel):
        kinds = (dict, list, tuple) if issubclass(cls, RootModel) else (dict,)
        return _Step(kinds, _validated(option))
    if dataclasses.is_dataclass(cls):
        return _Step((dict,), _validated(option) if adapter_for(option) is not None else _called(cls))
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _Step((list, tuple), _called(cls), cls)
    if cls is tuple:
        return _Step((list, tuple) if _items(arguments) else (list,), _tuple_of(arguments), tuple)
    inner = record_builder(arguments[-1]) if cls in (list, dict) and arguments else None
    if inner is None:
        return None
    if cls is list:
        return _Step((list,), lambda values: [inner(value) for value in values], list)
    return _Step((dict,), lambda values: {key: inner(value) for key, value in values.items()}, dict)


def _items(arguments: tuple[Any, ...]) -> list[Callable[[Any], Any]] | None:
    """Return the builders of a tuple's items, None when no item needs one."""
    builders = [record_builder(argument) for argument in arguments if argument is not ...]
    return [builder or _same for builder in builders] if any(builders) else None


def _tuple_of(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    items = _items(arguments)
    if items is None:
        return tuple
    if ... in arguments:
        return lambda values: tuple(items[0](value) for value in values)
    return lambda values: (
        tuple(build(value) for build, value in zip(items, values, strict=True))
        if len(items) == len(values)
        else tuple(values)
    )


def _same(value: Any) -> Any:
    return value


def _validated(hint: Any) -> Callable[[Any], Any]:
    adapter = adapter_for(hint)

    def build(value: Any) -> Any:
        try:
            made = value if adapter is None else adapter.validate_python(value)
        except ValidationError as error:
            raise BuildError(what_is_wrong(error)) from None
        if (problem := dropped(value, hint)) is not None:
            raise BuildError(problem)
        return made

    return build


def _called(cls: Any) -> Callable[[Any], Any]:
    """Build by calling the class, for records that pydantic can't describe."""

    def build(value: Any) -> Any:
        try:
            return cls(**value) if isinstance(value, dict) else cls(*value)
        except TypeError as error:
            raise BuildError(str(error)) from None

    return build
