"""Read the routes of a router, or of a function with ``next=``, from its declarations."""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from tensorlake_nb.core.functions.annotations import EMPTY, Unresolved, alternatives, namespace_of, return_hint
from tensorlake_nb.core.functions.function import Function, as_function
from tensorlake_nb.core.functions.options import is_target
from tensorlake_nb.core.functions.targets import RouteTo, target_name
from tensorlake_nb.core.functions.type_matching import class_of


def declared_targets(
    function: Function, namespace: Mapping[str, Any] | None = None
) -> tuple[Function | str, ...] | None:
    """Return the functions that a function declares to go on with; a name stands for what nothing has defined yet.

    They come from ``next=`` and from the return annotation: ``list[Literal["a", "b"]]``, ``Literal["a", "b"]``,
    ``List[Union[a, b]]``, ``list[a | b]``, ``a | b`` or ``a`` of a router, the second part of ``RouteTo[int, a | b]``
    of any function. None when neither says.

    Parameters
    ----------
    function
        A router or a plain function.
    namespace
        Names that count before those that the function itself sees.
    """
    found: dict[str, Function | str] = {}
    for target in (*(function.options.next or ()), *_annotated(function, namespace)):
        target = _newest(target, function, namespace)
        found.setdefault(target_name(target), target)
    return tuple(found.values()) if found or function.options.next is not None else None


def declared_routes(function: Function, namespace: Mapping[str, Any] | None = None) -> tuple[str, ...] | None:
    """Return the names of :func:`declared_targets`."""
    targets = declared_targets(function, namespace)
    return None if targets is None else tuple(map(target_name, targets))


def contradictions(function: Function) -> tuple[str, ...]:
    """Return the names that a router's annotation gives and its ``next=`` doesn't, if it has both."""
    if not function.is_router or function.options.next is None:
        return ()
    known = {target_name(target) for target in function.options.next}
    return tuple(name for name in dict.fromkeys(map(target_name, _annotated(function, None))) if name not in known)


def may_choose(function: Function) -> bool:
    """Tell whether a function chooses among its edges: a router, or one that declares routes."""
    if function.is_router or function.options.next is not None:
        return True
    hint = return_hint(function)
    return hint is not EMPTY and any(class_of(option) is RouteTo for option in alternatives(hint))


def _annotated(function: Function, namespace: Mapping[str, Any] | None) -> Iterator[Function | str]:
    hint = return_hint(function, namespace)
    if hint is EMPTY:
        return
    for option in alternatives(hint):
        if get_origin(option) is RouteTo:
            yield from _targets_in(get_args(option)[1])
        elif function.is_router:
            yield from _targets_in(option)


def _targets_in(hint: Any) -> Iterator[Function | str]:
    if is_target(hint):
        yield as_function(hint)
    elif isinstance(hint, Unresolved):
        yield hint.name.rpartition(".")[2]
    elif isinstance(hint, tuple):
        for item in hint:
            yield from _targets_in(item)
    elif get_origin(hint) is Literal:
        yield from (name for name in get_args(hint) if isinstance(name, str))
    elif get_origin(hint) in (Union, types.UnionType) or _holds_items(hint):
        for argument in get_args(hint):
            yield from _targets_in(argument)


def _holds_items(hint: Any) -> bool:
    cls = class_of(hint)
    return cls is not None and cls is not RouteTo and issubclass(cls, collections.abc.Collection)


def _newest(target: Any, function: Function, namespace: Mapping[str, Any] | None) -> Function | str:
    """Follow a name or an earlier definition to what the name means now, as the function's own body would.

    An annotation keeps the objects that it was made of; when a cell that defines one of them runs again, the router's
    body sees the new one, and so must its routes.
    """
    scope = namespace_of(function.code)
    scope.update(namespace or {})
    if isinstance(target, str):
        now = scope[target]
        return as_function(now) if is_target(now) else target
    old = as_function(target)
    now = scope[str(getattr(old, "__name__", old.name))]
    if not is_target(now):
        return old
    new = as_function(now)
    return new if replaces(new, old) else old


def identity(function: Function) -> tuple[str, str, str]:
    """Return a function's place and name: the same for a redefinition in a cell that ran again."""
    return (function.name, getattr(function, "__module__", ""), getattr(function, "__qualname__", function.name))


def replaces(new: Function, old: Function) -> bool:
    """Tell whether one function is a later definition of the other."""
    return identity(new) == identity(old) and new.defined > old.defined
