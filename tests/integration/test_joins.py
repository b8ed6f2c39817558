"""Joins: which values meet, and what a side that is missing or crowded does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tensorlake_nb import Graph, GraphError, RouteTo, TaskFailedError, tensorlake_function, tensorlake_router


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


@tensorlake_function()
def double(x: int) -> int:
    return 2 * x


@tensorlake_function()
def square(x: int) -> int:
    return x * x


@tensorlake_function()
def pair(left: Any, right: Any) -> tuple[Any, Any]:
    return left, right


def diamond(left: Any = double, right: Any = square, join: Any = pair) -> Graph:
    graph = Graph("diamond", spread).add_edge(spread, left).add_edge(spread, right)
    return graph.add_edge(left, join, into="left").add_edge(right, join, into="right")


def test_sides_meet_by_the_element_that_they_come_from() -> None:
    run = diamond().run(items=[3, 1, 2])

    assert run.output(pair) == [(6, 9), (2, 1), (4, 4)]


def test_a_join_is_replayed() -> None:
    diamond().run(items=[3, 1, 2])
    again = diamond().run(items=[3, 1, 2, 5])

    assert again.output(pair) == [(6, 9), (2, 1), (4, 4), (10, 25)]
    assert again.counts(pair) == {"computed": 1, "replayed": 3, "failed": 0, "cancelled": 0, "pending": 0}


def test_three_sides_meet_and_one_may_be_the_ancestor_itself() -> None:
    @tensorlake_function()
    def three(a: int, b: int, c: int) -> tuple[int, int, int]:
        return a, b, c

    graph = Graph("three", spread).add_edges(spread, [double, square])
    graph.add_edge(spread, three, into="a").add_edge(double, three, into="b").add_edge(square, three, into="c")

    assert graph.run(items=[2, 3]).output(three) == [(2, 4, 4), (3, 6, 9)]


def test_one_value_from_outside_is_given_to_every_row() -> None:
    @tensorlake_function()
    def begin(n: int) -> int:
        return n

    @tensorlake_function()
    def model(n: int) -> str:
        return f"model {n}"

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    graph = Graph("broadcast", begin).add_edges(begin, [model, numbers]).add_edge(numbers, double)
    graph.add_edge(model, pair, into="left").add_edge(double, pair, into="right")

    assert graph.run(n=3).output(pair) == [("model 3", 0), ("model 3", 2), ("model 3", 4)]


def test_a_reducer_is_given_to_every_row() -> None:
    @tensorlake_function(accumulate=int)
    def total(acc: int, x: int) -> int:
        return acc + x

    graph = Graph("share", spread).add_edge(spread, total)
    graph.add_edge(spread, pair, into="left").add_edge(total, pair, into="right")

    assert graph.run(items=[1, 2, 3]).output(pair) == [(1, 6), (2, 6), (3, 6)]


def test_a_side_without_output_means_no_call() -> None:
    @tensorlake_function()
    def odd(x: int) -> int | None:
        return x if x % 2 else None

    run = diamond(left=odd).run(items=[1, 2, 3, 4])

    assert run.output(pair) == [(1, 1), (3, 9)]


def test_what_is_replayed_met_as_it_would_meet_now_wherever_the_sides_have_outputs() -> None:
    @tensorlake_function()
    def left(item: Any) -> str | None:
        return "one" if item[1] else None

    @tensorlake_function()
    def right(item: Any) -> str | None:
        return str(item[0]) if item[2] else None

    graph = Graph("sides", spread).add_edge(spread, left).add_edge(spread, right)
    graph.add_edge(left, pair, into="left").add_edge(right, pair, into="right")
    for flags in itertools.product([False, True], repeat=6):
        items = [[number, *flags[2 * number : 2 * number + 2]] for number in range(3)]
        assert graph.run(items=items).output(pair) == [("one", str(number)) for number, a, b in items if a and b]


def test_sides_that_change_places_are_other_calls() -> None:
    @tensorlake_function()
    def optional(left: int = 10, right: int = 20) -> tuple[int, int]:
        return left, right

    swapped = Graph("diamond", spread).add_edge(spread, double).add_edge(spread, square)
    swapped.add_edge(square, pair, into="left").add_edge(double, pair, into="right")
    single = [Graph("single", spread).add_edge(spread, optional, into=into) for into in ("left", "right")]

    assert diamond().run(items=[3]).output(pair) == [(6, 9)]
    assert swapped.run(items=[3]).output(pair) == [(9, 6)]
    assert [graph.run(items=[1]).output(optional) for graph in single] == [[(1, 20)], [(10, 1)]]


def test_a_side_with_several_outputs_for_one_element_says_so() -> None:
    @tensorlake_function()
    def twice(x: int) -> list[int]:
        return [x, x]

    @tensorlake_function()
    def sometimes_twice(x: int):  # type: ignore[no-untyped-def]
        return [x, x] if x == 2 else x

    with pytest.raises(GraphError, match="'left' has several values") as refused:
        diamond(left=twice).run(items=[1, 2])
    with pytest.raises(TaskFailedError, match="'left'") as raised:
        diamond(left=sometimes_twice).run(items=[1, 2, 3])

    assert "'pair'" in str(refused.value)
    assert "2 outputs for element 1" in str(raised.value)


def test_a_join_below_a_map_of_a_map() -> None:
    @tensorlake_function()
    def inner(x: int) -> list[int]:
        return [x * 10 + i for i in range(x)]

    graph = Graph("deep", spread).add_edge(spread, inner).add_edges(inner, [double, square])
    graph.add_edge(double, pair, into="left").add_edge(square, pair, into="right")

    run = graph.run(items=[2, 0, 1])

    assert run.output(pair) == [(40, 400), (42, 441), (20, 100)]


def test_an_element_meets_what_its_own_parent_gave() -> None:
    """The sides descend from one element of the outer map, at different depths."""

    @tensorlake_function()
    def inner(x: int) -> list[int]:
        return [x * 10 + i for i in range(2)]

    @tensorlake_function(accumulate=list)
    def gathered(acc: list[Any], x: Any) -> list[Any]:
        return [*acc, x]

    graph = Graph("outer", spread).add_edge(spread, double).add_edge(double, square)
    graph.add_edge(double, pair, into="left").add_edge(square, pair, into="right").add_edge(pair, gathered)

    assert graph.run(items=[1, 2]).result() == [(2, 4), (4, 16)]


def test_a_join_of_a_join() -> None:
    @tensorlake_function()
    def both(pair: Any, x: int) -> tuple[Any, int]:
        return pair, x

    graph = diamond().add_edge(pair, both, into="pair").add_edge(square, both, into="x")

    assert graph.run(items=[1, 2]).output(both) == [((2, 1), 1), ((4, 4), 4)]


def test_a_join_with_a_side_that_is_routed() -> None:
    @tensorlake_router(next=[double])
    def even(x: int):  # type: ignore[no-untyped-def]
        return double if x % 2 == 0 else []

    graph = Graph("routed", spread).add_edges(spread, [even, square])
    graph.add_edge(double, pair, into="left").add_edge(square, pair, into="right")

    run = graph.run(items=[1, 2, 3, 4])

    assert run.output(pair) == [(4, 4), (8, 16)]


def test_branches_of_a_router_that_exclude_each_other_never_meet() -> None:
    @tensorlake_function(next=[double, square])
    def either(x: int):  # type: ignore[no-untyped-def]
        return RouteTo(x, double if x % 2 else square)

    graph = Graph("excluded", spread).add_edge(spread, either)
    graph.add_edge(double, pair, into="left").add_edge(square, pair, into="right")

    run = graph.run(items=[1, 2, 3])

    assert (run.status, run.output(pair)) == ("succeeded", [])


def test_a_join_takes_a_list_whole_where_its_parameter_says_so() -> None:
    @tensorlake_function()
    def parts(x: int) -> list[int]:
        return list(range(x))

    @tensorlake_function()
    def weigh(left: int, right: list[int]) -> tuple[int, list[int]]:
        return left, right

    graph = Graph("lists", spread).add_edges(spread, [double, parts])
    graph.add_edge(double, weigh, into="left").add_edge(parts, weigh, into="right")

    assert graph.run(items=[2, 3]).output(weigh) == [(4, [0, 1]), (6, [0, 1, 2])]
