"""How outputs become arguments, from one function to the next through a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import pytest
from pydantic import BaseModel

from tensorlake_nb import File, Graph, tensorlake_function


class Model(BaseModel):
    a: int
    b: str = "-"


@dataclass
class Record:
    a: int
    b: str = "-"


class Typed(TypedDict):
    a: int
    b: str


def through(value: Any, function: Any) -> list[Any]:
    """What a function gives for one output of the function before it."""

    @tensorlake_function()
    def source():  # type: ignore[no-untyped-def]
        return [value]

    return Graph("through", source).add_edge(source, function).run().output(function)


def test_a_dict_by_name_and_the_rest_into_kwargs() -> None:
    @tensorlake_function()
    def named(a: int, **rest: Any) -> tuple[int, dict[str, Any]]:
        return a, rest

    assert through({"a": 1, "c": 2}, named) == [(1, {"c": 2})]


def test_a_dict_whole_where_the_annotation_says_so() -> None:
    @tensorlake_function()
    def plain(x: dict) -> tuple[Any, ...]:  # type: ignore[type-arg]
        return (x,)

    @tensorlake_function()
    def typed(x: Typed) -> tuple[Any, ...]:
        return (x,)

    for function in (plain, typed):
        assert through({"a": 1, "b": "x"}, function) == [({"a": 1, "b": "x"},)]


def test_a_dict_becomes_the_record_that_is_asked_for() -> None:
    @tensorlake_function()
    def model(x: Model) -> Model:
        return x

    @tensorlake_function()
    def record(x: Record) -> Record:
        return x

    assert through({"a": 1}, model) == [Model(a=1)]
    assert through({"a": 1, "b": "x"}, record) == [Record(1, "x")]
    assert through(Model(a=3), model) == [Model(a=3)]


def test_positions_defaults_and_star_args() -> None:
    @tensorlake_function()
    def defaulted(a: int, b: int = 10) -> tuple[int, int]:
        return a, b

    @tensorlake_function()
    def starred(*values: int) -> tuple[int, ...]:
        return values

    @tensorlake_function()
    def keyword(a: int, *, b: int) -> tuple[int, int]:
        return a, b

    assert through(1, defaulted) == [(1, 10)]
    assert through((1, 2), defaulted) == [(1, 2)]
    assert through([1, 2, 3], starred) == [(1, 2, 3)]
    assert through({"a": 1, "b": 2}, keyword) == [(1, 2)]


def test_one_parameter_without_annotation_takes_tuples_and_inner_lists_whole() -> None:
    @tensorlake_function()
    def bare(x):  # type: ignore[no-untyped-def]
        return repr(x)

    assert through((1, 2), bare) == ["(1, 2)"]
    assert through([1, 2], bare) == ["[1, 2]"]


@pytest.mark.parametrize("hint", [list, list[int], Sequence[int], "list[int]"])
def test_a_sequence_takes_the_parents_list(hint: Any) -> None:
    def total(x):  # type: ignore[no-untyped-def]
        return sum(x)

    total.__annotations__["x"] = hint
    function = tensorlake_function()(total)

    @tensorlake_function()
    def numbers():  # type: ignore[no-untyped-def]
        return [1, 2, 3]

    assert Graph("sequence", numbers).add_edge(numbers, function).run().output(function) == [6]


def test_changing_an_argument_is_seen_by_nobody_else() -> None:
    @tensorlake_function()
    def make() -> dict[str, list[int]]:
        return {"x": [1, 2]}

    @tensorlake_function()
    def spoil(x: list[int]) -> int:
        x.clear()
        return 0

    @tensorlake_function()
    def length(x: list[int]) -> int:
        return len(x)

    run = Graph("copies", make).add_edges(make, [spoil, length]).run()

    assert (run.output(length), run.output(make)) == ([2], [{"x": [1, 2]}])


def test_arrays_files_and_odd_values_arrive_as_they_were() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)

    @tensorlake_function()
    def array_sum(x: Any) -> float:
        assert x.dtype == np.float32
        return float(x.sum())

    @tensorlake_function()
    def content(x: File) -> tuple[bytes, str | None]:
        return x.data, x.mime_type

    @tensorlake_function()
    def same(x: object) -> object:
        return x

    assert through(array, array_sum) == [66.0]
    assert through(File(data=b"abc", mime_type="text/plain"), content) == [(b"abc", "text/plain")]
    odd: list[Any] = [{1: (2, {3})}, frozenset([1]), 2**200, float("inf"), "ü", b"\0", complex(1, 2), ((), [])]
    for value in odd:
        assert through(value, same) == [value]


def test_a_dict_with_keys_that_match_nothing_says_which() -> None:
    @tensorlake_function()
    def named(alpha: int, beta: int = 0) -> int:
        return alpha + beta

    with pytest.raises(Exception, match="'betta'") as raised:
        through({"alpha": 1, "betta": 2}, named)

    assert "beta" in str(raised.value)
