"""Streams: order, fan-out and fan-in, empty outputs, lists taken whole, and generators that are read as they go."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

from tensorlake_nb import Graph, tensorlake_function
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


def chain(name: str, *functions: Any) -> Graph:
    graph = Graph(name, functions[0])
    for before, after in pairwise(functions):
        graph.add_edge(before, after)
    return graph


def test_order_is_that_of_the_input_whatever_finishes_first() -> None:
    @tensorlake_function()
    def slow_first(x: int) -> int:
        time.sleep(0.15 if x == 0 else 0.0)
        return x * 10

    run = chain("ordered", spread, slow_first).run(items=list(range(20)))

    assert run.output(slow_first) == [x * 10 for x in range(20)]


def test_none_and_an_empty_list_are_no_output_and_are_kept() -> None:
    @tensorlake_function()
    def sieve(x: int) -> Any:
        return None if x % 3 == 0 else [] if x % 3 == 1 else x

    @tensorlake_function()
    def after(x: int) -> int:
        return x + 100

    graph = chain("sieve", spread, sieve, after)

    first, second = graph.run(items=list(range(9))), graph.run(items=list(range(9)))

    assert first.output(sieve) == second.output(sieve) == [2, 5, 8]
    assert first.output(after) == [102, 105, 108]
    assert first.counts(sieve)["computed"] == 9
    assert second.counts(sieve)["replayed"] == 9


def test_an_empty_list_means_that_nothing_follows() -> None:
    @tensorlake_function()
    def each(x: int) -> int:
        return x

    @tensorlake_function()
    def last(x: int) -> int:
        return x

    run = chain("empty", spread, each, last).run(items=[])

    assert run.status == "succeeded"
    assert [run.output(name) for name in ("spread", "each", "last")] == [[], [], []]
    assert run.result() == []


def test_false_zero_and_empty_containers_but_lists_are_outputs() -> None:
    @tensorlake_function()
    def same(x: object) -> object:
        return x

    values: list[Any] = [0, False, "", (), {}, 0.0, b""]

    run = chain("falsy", spread, same).run(items=values)

    assert run.output(same) == values
    assert [type(each) for each in run.output(same)] == [type(each) for each in values]


def test_a_list_of_lists_maps_over_inner_lists_and_then_over_their_items() -> None:
    @tensorlake_function()
    def rows() -> list[list[int]]:
        return [[1, 2], [], [3]]

    @tensorlake_function()
    def row(items: list[int]) -> list[int]:
        return items

    @tensorlake_function()
    def cell(x: int) -> int:
        return x * x

    run = chain("nested", rows, row, cell).run()

    assert run.output(rows) == [[1, 2], [], [3]]
    assert run.counts(row)["computed"] == 3
    assert run.output(cell) == [1, 4, 9]


def test_a_parameter_annotated_with_a_list_takes_the_list_whole() -> None:
    @tensorlake_function()
    def numbers() -> list[int]:
        return [3, 1, 2]

    @tensorlake_function()
    def ordered(x: list[int]) -> tuple[int, ...]:
        return tuple(sorted(x))

    run = chain("whole", numbers, ordered).run()

    assert run.output(ordered) == [(1, 2, 3)]


def test_fan_out_in_three_levels_keeps_its_order() -> None:
    @tensorlake_function()
    def level1(n: int) -> list[tuple[int]]:
        return [(i,) for i in range(n)]

    @tensorlake_function()
    def level2(path: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [(*path, i) for i in range(3)]

    @tensorlake_function()
    def level3(path: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [(*path, i) for i in range(2)]

    @tensorlake_function()
    def text(path: tuple[int, ...]) -> str:
        return "".join(map(str, path))

    run = chain("levels", level1, level2, level3, text).run(n=4)

    assert run.output(text) == [f"{i}{j}{k}" for i in range(4) for j in range(3) for k in range(2)]


def test_a_node_with_several_parents_gets_their_streams_in_the_order_of_its_edges() -> None:
    @tensorlake_function()
    def slow(x: int) -> str:
        time.sleep(0.02)
        return f"slow {x}"

    @tensorlake_function()
    def quick(x: int) -> str:
        return f"quick {x}"

    @tensorlake_function()
    def union(x: str) -> str:
        return x

    graph = Graph("union", spread).add_edges(spread, [slow, quick])
    graph.add_edge(slow, union).add_edge(quick, union)

    run = graph.run(items=[1, 2, 3])

    assert run.output(union) == [f"slow {i}" for i in (1, 2, 3)] + [f"quick {i}" for i in (1, 2, 3)]


def test_a_tuple_binds_by_position_and_a_dict_by_name() -> None:
    @tensorlake_function()
    def pairs() -> list[tuple[int, int]]:
        return [(1, 2), (3, 4)]

    @tensorlake_function()
    def minus(a: int, b: int) -> dict[str, int]:
        return {"low": a - b, "high": a + b}

    @tensorlake_function()
    def named(high: int, low: int, extra: str = "-") -> str:
        return f"{low}{extra}{high}"

    run = chain("binding", pairs, minus, named).run()

    assert run.output(named) == ["-1-3", "-1-7"]


def test_what_a_generator_gives_is_worked_on_before_it_ends(notes: Notes) -> None:
    @tensorlake_function()
    def source() -> Iterator[int]:
        yield 1
        time.sleep(0.55)  # parts are sent about twice a second
        yield 2
        notes.wait_for("called with 1")
        yield 3
        notes.add("ended")

    @tensorlake_function()
    def each(x: int) -> int:
        notes.add(f"called with {x}")
        return x

    run = chain("generator", source, each).run()

    assert run.output(each) == [1, 2, 3]
    assert notes.all().index("called with 1") < notes.all().index("ended")


def test_an_async_generator_streams_too(notes: Notes) -> None:
    import asyncio

    @tensorlake_function()
    async def source() -> AsyncIterator[int]:
        for i in range(3):
            yield i
            await asyncio.sleep(0.3)
        notes.add("ended")

    @tensorlake_function()
    def each(x: int) -> int:
        notes.add(f"called with {x}")
        return x

    run = chain("async_generator", source, each).run()

    assert run.output(each) == [0, 1, 2]
    assert notes.all().index("called with 0") < notes.all().index("ended")


def test_a_list_that_a_generator_gives_in_parts_is_taken_whole() -> None:
    @tensorlake_function()
    def source() -> Iterator[int]:
        for i in range(3):
            yield i
            time.sleep(0.3)

    @tensorlake_function()
    def together(items: list[int]) -> str:
        return repr(items)

    graph = chain("whole_generator", source, together)

    assert graph.run().output(together) == ["[0, 1, 2]"]
    assert graph.run().counts(source)["replayed"] == 1


def test_equal_elements_of_a_generator_node_each_give_all_items(notes: Notes) -> None:
    @tensorlake_function(max_concurrency=1)
    def source(x: int) -> Iterator[int]:
        notes.add(x)
        for i in range(3):
            yield x * 10 + i
            time.sleep(0.3)

    @tensorlake_function()
    def each(x: int) -> int:
        return x

    run = chain("twin_generators", spread, source, each).run(items=[1, 1])

    assert run.output(each) == [10, 11, 12, 10, 11, 12]
    assert notes.all() == ["1"]


def test_one_function_serves_several_graphs(notes: Notes) -> None:
    @tensorlake_function()
    def shared(x: int) -> int:
        notes.add(x)
        return x + 1

    @tensorlake_function()
    def double(x: int) -> int:
        return x * 2

    one = chain("one", spread, shared)
    two = chain("two", spread, shared, double)

    assert one.run(items=[1, 2]).output(shared) == [2, 3]
    assert two.run(items=[1, 2, 3]).output(double) == [4, 6, 8]
    assert sorted(notes.all()) == ["1", "2", "3"]


def test_functions_made_alike_keep_their_own_names() -> None:
    def plus(n: int) -> Any:
        @tensorlake_function(name=f"plus_{n % 2}")
        def add(x: int) -> int:
            return x + 5

        return add

    left, right = plus(0), plus(1)
    graph = Graph("alike", spread).add_edges(spread, [left, right])

    run = graph.run(items=[1, 2])

    assert run.output("plus_0") == run.output("plus_1") == [6, 7]


def test_runs_started_together_do_not_mix() -> None:
    @tensorlake_function()
    def tag(x: int) -> int:
        time.sleep(0.01)
        return -x

    graph = chain("together", spread, tag)
    runs = [graph.start(items=list(range(start, start + 5))) for start in (0, 3, 100)]

    assert [run.wait().output(tag) for run in runs] == [[-x for x in range(s, s + 5)] for s in (0, 3, 100)]
