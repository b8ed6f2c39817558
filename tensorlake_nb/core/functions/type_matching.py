"""Match values and annotations: containers taken whole, and one annotation satisfying another."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
from typing import Any, Literal, Union, get_args, get_origin, is_typeddict

import numpy as np
from pydantic import BaseModel, RootModel

from tensorlake_nb.core.functions.annotations import (
    EMPTY,
    Unresolved,
    alternatives,
    is_known,
    parameter_hints,
    return_hint,
)
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.functions.targets import RouteTo

#: Classes of which no other class but their own subclasses has instances.
_CLOSED = (bool, int, float, complex, str, bytes, bytearray, list, dict, tuple, set, frozenset, BaseModel)
#: Types that give their items one by one; pydantic would wrap these instead of checking them.
LAZY = (
    collections.abc.Generator,
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
)


def class_of(hint: Any) -> type | None:
    """Return the class behind one alternative of an annotation, None when there is none (Literal, a name)."""
    origin = get_origin(hint) or hint
    return origin if isinstance(origin, type) else None


def is_record(cls: type) -> bool:
    """Tell whether a class is built from a dict: a pydantic model or a dataclass."""
    return issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls)


def takes(hint: Any, container: type) -> bool:
    """Tell whether a parameter so annotated means a whole ``list``, ``tuple`` or ``dict``.

    It does when one of its alternatives is that class, a class above it (``Sequence`` of a list, ``Mapping`` of a dict,
    ``Any``) or below it; and records and TypedDicts mean a whole dict.
    """
    return any(_one_takes(option, container) for option in alternatives(hint))


def _one_takes(option: Any, container: type) -> bool:
    if option is Any:
        return True
    cls = class_of(option)
    if cls is None:
        return False
    if is_typeddict(cls) or (container is dict and is_record(cls)):
        return container is dict
    if issubclass(cls, RootModel):
        return True
    try:
        return issubclass(container, cls) or issubclass(cls, container)
    except TypeError:  # a protocol that can't be asked
        return False


def gathers(hint: Any) -> bool:
    """Tell whether a parameter so annotated takes the whole list that a function returns, instead of mapping over it.

    So do ``list[...]``, ``Sequence`` and what else a list is; not a tuple, nor ``Any``, nor unions with something else.
    """
    if not is_known(hint) or not alternatives(hint):
        return False
    return all(_is_list_like(option) for option in alternatives(hint))


def _is_list_like(option: Any) -> bool:
    cls = class_of(option)
    return cls is not None and cls is not object and not is_typeddict(cls) and _subclass(list, cls) is True


def _subclass(cls: type, parent: type) -> bool | None:
    if is_typeddict(cls):
        cls = dict
    if is_typeddict(parent):
        parent = dict
    try:
        return issubclass(cls, parent)
    except TypeError:
        return None


def fits(given: Any, wanted: Any) -> bool | None:
    """Tell whether values annotated ``given`` are what ``wanted`` asks for; None when annotations can't tell.

    A text is not taken for a sequence of its characters, nor a mapping for an iterable of its keys.
    """
    if given is EMPTY or wanted is EMPTY:
        return None
    answers = {_fits_any(option, wanted) for option in alternatives(given)}
    return answers.pop() if len(answers) == 1 else None


def _fits_any(given: Any, wanted: Any) -> bool | None:
    answers = {_fits_one(given, option) for option in alternatives(wanted)}
    return True if True in answers else None if None in answers else False


def _fits_one(given: Any, wanted: Any) -> bool | None:
    if wanted is Any or wanted is object:
        return True
    given_class, wanted_class = class_of(given), class_of(wanted)
    if given_class is None or wanted_class is None or given_class is object or get_origin(wanted) is Literal:
        return None
    if wanted_class in (float, complex) and issubclass(given_class, (int, float)):
        return True
    if is_record(wanted_class) and _subclass(given_class, dict):
        return None
    if wanted_class.__module__ == "collections.abc" and issubclass(given_class, (str, bytes, collections.abc.Mapping)):
        return None
    below = _subclass(given_class, wanted_class)
    if below:
        return _arguments_fit(given, wanted, given_class)
    if below is None or _subclass(wanted_class, given_class) is not False:
        return None
    if issubclass(given_class, np.generic) or issubclass(wanted_class, np.generic):
        return None
    closed = given_class in _CLOSED or wanted_class in _CLOSED or issubclass(given_class, BaseModel)
    return False if closed else None


def _arguments_fit(given: Any, wanted: Any, given_class: type) -> bool | None:
    """Compare what containers hold, where both say it."""
    mine, theirs = get_args(given), get_args(wanted)
    if not theirs:
        return True
    if not mine:
        return None if given_class in (list, tuple, dict, set, frozenset) else True
    if given_class is tuple:
        if ... in theirs or ... in mine or len(theirs) == 1:
            answers = [fits(item, theirs[0]) for item in mine if item is not ...]
        elif len(mine) != len(theirs):
            return False
        else:
            answers = [fits(one, other) for one, other in zip(mine, theirs, strict=True)]
    elif len(mine) != len(theirs):
        return None
    else:
        answers = [fits(one, other) for one, other in zip(mine, theirs, strict=True)]
    return False if False in answers else None if None in answers else True


def output_hint(function: Function) -> Any:
    """Return the annotation of what one call gives, a list for a generator; :data:`EMPTY` when it isn't known.

    A router gives its input on, and ``RouteTo[X, ...]`` gives X.
    """
    if function.is_router:
        inputs = list(function.signature.parameters)[function.first_value :]
        return parameter_hints(function).get(inputs[0], EMPTY) if len(inputs) == 1 else EMPTY
    hint = return_hint(function)
    options = [_value_of(option) for option in alternatives(hint)] if hint is not EMPTY else []
    if any(class_of(option) is RouteTo for option in alternatives(hint)):
        hint = EMPTY if EMPTY in options else Union[tuple(options)]  # noqa: UP007 - as many as there are
    if not function.is_generator:
        return hint
    arguments = get_args(hint) if class_of(hint) in LAZY else ()
    return types.GenericAlias(list, (arguments[0],)) if arguments else list


def _value_of(option: Any) -> Any:
    """Take the value's type out of ``RouteTo[X, ...]``; a bare ``RouteTo`` doesn't say it."""
    return (get_args(option) or (EMPTY,))[0] if class_of(option) is RouteTo else option


def element_hint(hint: Any) -> Any:
    """Return the annotation of the elements of a stream whose calls give ``hint``: of lists, their items."""
    options = alternatives(hint) if hint is not EMPTY else ()
    if not options:
        return EMPTY
    elements: list[Any] = []
    for option in options:
        cls = class_of(option)
        if cls is not None and not is_typeddict(cls) and issubclass(cls, list):
            elements.append((get_args(option) or (Any,))[0])
        elif cls is not None and cls is not object and _subclass(list, cls):
            elements.append(Any)  # a Sequence may be a list, or not
        else:
            elements.append(option)
    return Union[tuple(elements)]  # noqa: UP007 - as many as there are


def gives_many(function: Function) -> bool | None:
    """Tell whether one call gives several outputs: True for lists and generators, None when it isn't known."""
    if function.is_router:
        return False
    if function.is_generator:
        return True
    hint = output_hint(function)
    if hint is EMPTY:
        return None
    answers: set[bool | None] = set()
    for option in alternatives(hint):
        cls = class_of(option)
        if option is Any or isinstance(option, Unresolved) or cls is object:
            answers.add(None)
        elif cls is None or is_typeddict(cls):
            answers.add(False)
        elif issubclass(cls, list):
            answers.add(True)
        else:
            answers.add(None if _subclass(list, cls) is not False else False)
    if not answers:  # annotated -> None
        return False
    return answers.pop() if len(answers) == 1 else None
