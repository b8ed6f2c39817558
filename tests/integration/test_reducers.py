"""Reducers: when they are called, in which order, with what accumulator, and as a tree."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from tensorlake_nb import Graph, RouteTo, configure, tensorlake_function, tensorlake_router
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


@tensorlake_function()
def same(x: Any) -> Any:
    return x


@tensorlake_function(accumulate=list)
def listed(acc: list[Any], x: Any) -> list[Any]:
    acc.append(x)
    return acc


def test_a_reducer_begins_before_the_last_element_is_computed(notes: Notes) -> None:
    @tensorlake_function()
    def slow(x: int) -> int:
        time.sleep(0.05)
        notes.add(f"made {x}")
        return x

    @tensorlake_function(accumulate=list)
    def folded(acc: list[int], x: int) -> list[int]:
        notes.add(f"folded {x}")
        return [*acc, x]

    run = Graph("streams", spread).add_edge(spread, slow).add_edge(slow, folded).run(items=list(range(100)))

    assert run.output(folded) == [list(range(100))]
    noted = notes.all()
    assert noted.index("folded 0") < max(noted.index(f"made {x}") for x in range(100))
    assert [line for line in noted if line.startswith("folded")] == [f"folded {x}" for x in range(100)]


def test_order_is_the_streams_whatever_finishes_first() -> None:
    @tensorlake_function()
    def slow_first(x: int) -> int:
        time.sleep(0.2 if x == 0 else 0.0)
        return x

    run = Graph("order", spread).add_edge(spread, slow_first).add_edge(slow_first, listed).run(items=[0, 1, 2, 3, 4])

    assert run.result() == [0, 1, 2, 3, 4]


def test_a_reducer_over_two_parents_folds_both_in_the_order_of_its_edges() -> None:
    @tensorlake_function()
    def late(x: int) -> str:
        time.sleep(0.02)
        return f"late {x}"

    graph = Graph("two", spread).add_edges(spread, [late, same]).add_edge(late, listed).add_edge(same, listed)

    assert graph.run(items=[1, 2]).output(listed) == [["late 1", "late 2", 1, 2]]


class Total(BaseModel):
    value: int = 0


@dataclass
class Count:
    n: int = 0
    seen: list[int] = field(default_factory=list)


@pytest.mark.parametrize(
    ("start", "empty"),
    [(list, []), (dict, {}), (int, 0), (str, ""), (Total, Total()), (Count, Count()), (lambda: 7, 7)],
)
def test_an_empty_stream_gives_what_the_fold_starts_from(start: Any, empty: Any) -> None:
    @tensorlake_function(accumulate=start)
    def never(acc: Any, x: int) -> Any:
        raise AssertionError("nothing to fold")

    graph = Graph("empty", spread).add_edge(spread, never)

    for _ in range(2):
        assert graph.run(items=[]).output(never) == [empty]


def test_accumulators_of_many_kinds() -> None:
    @tensorlake_function(accumulate=dict)
    def tally(acc: dict[str, int], x: int) -> dict[str, int]:
        acc[str(x)] = acc.get(str(x), 0) + 1
        return acc

    @tensorlake_function(accumulate=Total)
    def model(acc: Total, x: int) -> Total:
        acc.value += x
        return acc

    @tensorlake_function(accumulate=Count)
    def record(acc: Count, x: int) -> Count:
        acc.n += 1
        acc.seen.append(x)
        return acc

    @tensorlake_function(accumulate=functools.partial(int, "40"))
    def number(acc: int, x: int) -> int:
        return acc + x

    run = Graph("kinds", spread).add_edges(spread, [tally, model, record, number]).run(items=[1, 2, 2])

    assert run.result() == {
        "tally": {"1": 1, "2": 2},
        "model": Total(value=5),
        "record": Count(3, [1, 2, 2]),
        "number": 45,
    }


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 64, 65, 1000])
def test_a_tree_of_merges_gives_what_the_fold_gives(size: int) -> None:
    def fold(acc: list[int], x: int) -> list[int]:
        return [*acc, x]

    @tensorlake_function(accumulate=list, combine=lambda left, right: left + right)
    def tree(acc: list[int], x: int) -> list[int]:
        return fold(acc, x)

    graph = Graph("tree", spread).add_edge(spread, tree)
    items = list(range(size))

    first = graph.run(items=items)
    longer = graph.run(items=[*items, -1])

    assert first.output(tree) == [items]
    assert longer.output(tree) == [[*items, -1]]
    assert longer.counts(tree)["computed"] <= 8


def test_the_number_of_workers_changes_no_tree() -> None:
    """Merging floats isn't associative to the last bit, so the shape of the tree would show."""

    @tensorlake_function(accumulate=float, combine=lambda left, right: left + right)
    def total(acc: float, x: float) -> float:
        return acc + x

    @tensorlake_function(cacheable=False)
    def fractions() -> list[float]:
        return [1 / (i + 1) for i in range(300)]

    graph = Graph("floats", fractions).add_edge(fractions, total)
    results = set()
    for workers in (1, 3):
        configure(store=f"memory://floats-{workers}", cluster="threads", workers=workers)
        results.add(graph.run().result())
    configure(workers=2)

    assert len(results) == 1


def test_a_reducer_below_a_router_folds_what_is_sent_to_it() -> None:
    @tensorlake_router(next=[listed])
    def odd(x: int):  # type: ignore[no-untyped-def]
        return listed if x % 2 else []

    run = Graph("odd", spread).add_edge(spread, odd).run(items=[1, 2, 3, 4, 5])

    assert run.output(listed) == [[1, 3, 5]]


def test_a_reducer_below_a_router_that_sends_nothing_gives_its_start() -> None:
    @tensorlake_function(next=[listed])
    def nothing(x: int):  # type: ignore[no-untyped-def]
        return RouteTo(x, [])

    assert Graph("none", spread).add_edge(spread, nothing).run(items=[1, 2]).output(listed) == [[]]


def test_a_reducer_of_reducers_and_what_stands_below_one() -> None:
    @tensorlake_function(accumulate=int)
    def total(acc: int, x: int) -> int:
        return acc + x

    @tensorlake_function(accumulate=int)
    def most(acc: int, x: int) -> int:
        return max(acc, x)

    @tensorlake_function()
    def shown(x: Any) -> str:
        return f"<{x}>"

    graph = Graph("stacked", spread).add_edges(spread, [total, most])
    graph.add_edge(total, listed).add_edge(most, listed).add_edge(listed, shown)

    assert graph.run(items=[1, 5, 2]).output(shown) == ["<[8, 5]>"]


def test_a_reducer_can_start_a_graph() -> None:
    @tensorlake_function(accumulate=list, combine=lambda left, right: left + right)
    def gathered(acc: list[int], x: int) -> list[int]:
        return [*acc, x]

    run = Graph("starts", gathered).run(x=4)

    assert run.output(gathered) == [[4]]


def test_a_longer_list_goes_on_from_the_accumulator_that_is_kept(notes: Notes) -> None:
    @tensorlake_function(accumulate=int)
    def total(acc: int, x: int) -> int:
        notes.add(x)
        return acc + x

    graph = Graph("longer", spread).add_edge(spread, total)

    assert graph.run(items=[1, 2, 3]).result() == 6
    assert graph.run(items=[1, 2, 3, 4]).result() == 10
    assert notes.all() == ["1", "2", "3", "4"]


def test_an_async_reducer() -> None:
    @tensorlake_function(accumulate=int)
    async def total(acc: int, x: int) -> int:
        return acc + x

    assert Graph("async", spread).add_edge(spread, total).run(items=[1, 2, 3]).result() == 6


def test_a_tree_below_a_tree_waits_for_it_also_when_nothing_comes() -> None:
    @tensorlake_function(accumulate=list, combine=lambda left, right: left + right)
    def first(acc: list[Any], x: Any) -> list[Any]:
        return [*acc, x]

    @tensorlake_function(accumulate=list, combine=lambda left, right: left + right)
    def second(acc: list[Any], x: Any) -> list[Any]:
        return [*acc, x]

    graph = Graph("trees", spread).add_edge(spread, same).add_edge(same, first)
    graph.add_edge(first, second).add_edge(same, second)

    assert graph.run(items=[]).output(second) == [[[]]]
    assert graph.run(items=[1]).output(second) == [[[1], 1]]


def test_a_fold_over_equal_elements_makes_no_step_again_whenever_they_arrive() -> None:
    @tensorlake_function(accumulate=int)
    def total(acc: int, x: int) -> int:
        return acc + x

    def made_with(work: Any) -> Any:
        return Graph("again", spread).add_edge(spread, work).add_edge(work, total).run(items=list(range(30)))

    @tensorlake_function(name="work")
    def first(x: int) -> int:
        return x + 1

    @tensorlake_function(name="work")
    def second(x: int) -> int:
        time.sleep(0.02)  # so that the elements come bit by bit
        return 1 + x

    before, after = made_with(first), made_with(second)

    assert before.counts(total)["computed"] == 30
    assert after.counts("work")["computed"] == 30, "the code is another"
    assert after.counts(total) == {"computed": 0, "replayed": 30, "failed": 0, "cancelled": 0, "pending": 0}
    assert before.result() == after.result() == sum(range(1, 31))
