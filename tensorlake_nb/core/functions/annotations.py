"""Annotations as they are meant: texts resolved, names that nothing has defined yet kept as names.

A notebook may define a function after the annotation that names it, and ``from __future__ import annotations`` makes
texts of them all. So texts are read as late as possible, in the namespace of the function, one annotation at a time.
"""

from __future__ import annotations

import builtins
import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

from tensorlake_nb.core.fingerprint.redefined_classes import definition_of
from tensorlake_nb.core.functions.function import Function

#: Stands for "no annotation".
EMPTY = inspect.Parameter.empty


class Unresolved:
    """A name in an annotation that means nothing yet; it combines with others as types do."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Unresolved:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return Unresolved(f"{self.name}.{attribute}")

    def __getitem__(self, argument: object) -> Unresolved:
        return self

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007 - this is what defines the operator

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unresolved) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Unresolved, self.name))

    def __call__(self) -> None:  # typing takes nothing but callables for types
        raise TypeError(f"{self.name} isn't defined yet")

    def __repr__(self) -> str:
        return self.name


class _Scope(dict[str, Any]):
    """Names as the function sees them, then those of ``typing``; unknown names are :class:`Unresolved`."""

    def __init__(self, *layers: Mapping[str, Any]) -> None:
        super().__init__()
        self._layers = (*layers, vars(builtins), vars(typing))

    def __missing__(self, name: str) -> Any:
        for layer in self._layers:
            if name in layer:
                return layer[name]
        return Unresolved(name)


def namespace_of(code: Callable[..., Any]) -> _Scope:
    """Return the names that a function sees: its closure's, its module's."""
    while isinstance(code, functools.partial):
        code = code.func
    inner: Any = inspect.unwrap(code)
    cells = zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=False) if hasattr(inner, "__code__") else ()
    closure: dict[str, Any] = {}
    for name, cell in cells:
        try:
            closure[name] = cell.cell_contents
        except ValueError:  # assigned further down in the enclosing function
            continue
    return _Scope(closure, getattr(inner, "__globals__", {}))


def resolve(annotation: Any, scope: Mapping[str, Any]) -> Any:
    """Resolve an annotation and all that it holds; a text that is no expression becomes :class:`Unresolved`."""
    if annotation is None:
        return type(None)
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        try:
            return resolve(eval(annotation.strip(), {}, scope), scope)
        except RecursionError:
            raise
        except Exception:  # whatever the text does when it runs, it is no annotation that we can read
            return Unresolved(annotation)
    if isinstance(annotation, (list, tuple)):  # RouteTo[int, [a, b]]
        return tuple(resolve(item, scope) for item in annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and origin is None:
        return definition_of(annotation)
    if origin is None or origin is Literal or origin is collections.abc.Callable or not arguments:
        return annotation
    if origin is Annotated:
        return resolve(arguments[0], scope)
    resolved = tuple(resolve(argument, scope) if argument is not ... else argument for argument in arguments)
    if all(new is old for new, old in zip(resolved, arguments, strict=True)):
        return annotation
    try:
        if origin in (Union, types.UnionType):
            return Union[resolved]  # noqa: UP007 - as many as there are
        return origin[resolved]
    except TypeError:
        return Unresolved(repr(annotation))


def parameter_hints(function: Function) -> dict[str, Any]:
    """Return the annotation of each parameter that has one, by name."""
    scope = namespace_of(function.code)
    return {
        name: resolve(parameter.annotation, scope)
        for name, parameter in function.signature.parameters.items()
        if parameter.annotation is not EMPTY
    }


def return_hint(function: Function, namespace: Mapping[str, Any] | None = None) -> Any:
    """Return the annotation of what a function returns, :data:`EMPTY` if it has none.

    ``namespace`` holds names that count before the function's own.
    """
    annotation = function.signature.return_annotation
    if annotation is EMPTY:
        return EMPTY
    scope = namespace_of(function.code)
    scope.update(namespace or {})
    return resolve(annotation, scope)


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the types that a value may be of: unions and Optional taken apart, without None.

    ``Annotated``, ``NewType``, type aliases and bounded type variables are looked through.
    """
    if get_origin(hint) is Annotated:
        return alternatives(get_args(hint)[0])
    if hasattr(hint, "__supertype__"):
        return alternatives(hint.__supertype__)
    if isinstance(hint, TypeVar):
        if hint.__constraints__:
            return tuple(found for option in hint.__constraints__ for found in alternatives(option))
        return alternatives(hint.__bound__) if hint.__bound__ is not None else (Any,)
    if type(hint).__name__ == "TypeAliasType":  # `type X = ...`, Python 3.12
        return alternatives(hint.__value__)
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(found for option in get_args(hint) for found in alternatives(option))
    return () if hint is type(None) else (hint,)


def is_known(hint: Any) -> bool:
    """Tell whether an annotation is there and says something about every value that it allows."""
    return hint is not EMPTY and not any(
        found is Any or found is object or isinstance(found, (Unresolved, str, ForwardRef))
        for found in alternatives(hint)
    )
