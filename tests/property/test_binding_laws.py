"""What always holds when values are bound to parameters."""

from __future__ import annotations

import inspect
import string
from collections.abc import Mapping
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tensorlake_nb.core.functions.binding import Binder
from tensorlake_nb.core.functions.function import Function, tensorlake_function
from tensorlake_nb.errors import BindingError

names = st.sampled_from(string.ascii_lowercase)
lone = st.none() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False) | st.sets(st.integers(), max_size=2)


@st.composite
def signatures(draw: st.DrawFn, *, at_least: int = 0) -> inspect.Signature:
    """Any mix of parameters that Python allows."""
    given_names = draw(st.lists(names, unique=True, min_size=at_least, max_size=5))
    kinds = sorted(draw(st.sampled_from([0, 1, 3])) for _ in given_names)
    plain = [inspect._ParameterKind(kind) for kind in kinds]
    parameters: list[inspect.Parameter] = []
    has_default = False
    for name, kind in zip(given_names, plain, strict=True):
        defaulted = draw(st.booleans()) or (has_default and kind is not inspect.Parameter.KEYWORD_ONLY)
        has_default |= defaulted and kind is not inspect.Parameter.KEYWORD_ONLY
        default = f"default of {name}" if defaulted else inspect.Parameter.empty
        parameters.append(inspect.Parameter(name, kind, default=default))
    if draw(st.booleans()):
        rest = inspect.Parameter("rest", inspect.Parameter.VAR_POSITIONAL)
        parameters.insert(sum(kind < 2 for kind in kinds), rest)
    if draw(st.booleans()):
        parameters.append(inspect.Parameter("others", inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


def function_of(signature: inspect.Signature) -> Function:
    """A real function with these parameters, which answers with what it was given."""
    scope: dict[str, Any] = {}
    exec(f"def f{signature}: return dict(locals())", scope)
    return tensorlake_function()(scope["f"])


@given(signatures(at_least=1), lone)
def test_a_lone_value_reaches_the_first_parameter_or_nothing_is_called(
    signature: inspect.Signature, value: Any
) -> None:
    function = function_of(signature)
    try:
        args, kwargs = Binder(function).bind(value)
    except BindingError:
        others = list(signature.parameters.values())[1:]
        first_takes_names = next(iter(signature.parameters.values())).kind is inspect.Parameter.VAR_KEYWORD
        assert first_takes_names or any(p.default is p.empty and p.kind not in (2, 4) for p in others)
        return

    result = function(*args, **kwargs)

    first = next(iter(signature.parameters.values()))
    assert result[first.name] == ((value,) if first.kind is first.VAR_POSITIONAL else value)


@given(signatures(), st.dictionaries(names, st.integers(), max_size=5))
def test_a_dict_reaches_the_parameters_of_its_names_or_nothing_is_called(
    signature: inspect.Signature, values: Mapping[str, int]
) -> None:
    function = function_of(signature)
    assume(not Binder(function).takes_whole(dict))
    named = {name: p for name, p in signature.parameters.items() if p.kind not in (2, 4)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    complete = all(name in values for name, p in named.items() if p.default is p.empty)
    try:
        args, kwargs = Binder(function).bind(values)
    except BindingError:
        assert not complete or (set(values) - set(named) and not open_ended)
        return

    result = function(*args, **kwargs)

    assert complete
    for name in named:
        assert result[name] == values.get(name, f"default of {name}")
    assert result.get("others", {}) == {name: values[name] for name in values if name not in named}


@given(signatures(at_least=2), st.lists(st.integers(), max_size=6).map(tuple))
def test_a_tuple_reaches_the_parameters_in_order_or_nothing_is_called(
    signature: inspect.Signature, values: tuple[int, ...]
) -> None:
    function = function_of(signature)
    try:
        expected = signature.bind(*values)
    except TypeError:
        expected = None
    try:
        args, kwargs = Binder(function).bind(values)
    except BindingError:
        assert expected is None
        return

    assert expected is not None
    expected.apply_defaults()
    assert function(*args, **kwargs) == dict(expected.arguments)


@given(signatures(), st.dictionaries(names, st.integers(), max_size=5))
def test_a_row_binds_as_python_would_bind_its_names(signature: inspect.Signature, row: dict[str, int]) -> None:
    by_keyword = signature.replace(
        parameters=[
            p.replace(kind=p.POSITIONAL_OR_KEYWORD) if p.kind is p.POSITIONAL_ONLY else p
            for p in signature.parameters.values()
        ]
    )
    function = function_of(signature)
    try:
        expected = by_keyword.bind(**row)
    except TypeError:
        expected = None
    try:
        args, kwargs = Binder(function).bind_row(row)
    except BindingError:
        assert expected is None
        return

    assert expected is not None
    expected.apply_defaults()
    assert function(*args, **kwargs) == dict(expected.arguments)


@given(signatures(), lone | st.dictionaries(names, st.integers()) | st.lists(st.integers()).map(tuple))
def test_binding_leaves_the_value_as_it_is(signature: inspect.Signature, value: Any) -> None:
    before = repr(value)
    try:
        Binder(function_of(signature)).bind(value)
    except BindingError as error:
        assert str(error).startswith("f(")  # noqa: PT017 - not binding is fine, being silent about it isn't

    assert repr(value) == before
