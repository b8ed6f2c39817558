"""The static Dask graph of a graph: its keys, its results, and the checkpoints that it shares with runs."""

from __future__ import annotations

from typing import Any

import dask
import pytest

from tensorlake_nb import Graph, TaskFailedError, tensorlake_function, tensorlake_router
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


def pipeline(notes: Notes) -> Graph:
    @tensorlake_function()
    def square(x: int) -> int:
        notes.add(x)
        return x * x

    @tensorlake_function(accumulate=int, combine=lambda left, right: left + right)
    def total(acc: int, x: int) -> int:
        return acc + x

    return Graph("static", spread).add_edge(spread, square).add_edge(square, total)


def compute(graph: dict[Any, Any], name: str) -> Any:
    (key,) = [key for key in graph if key[0] == name]
    return dask.get(graph, key)  # type: ignore[attr-defined]


def test_keys_name_the_nodes(notes: Notes) -> None:
    graph = pipeline(notes).to_dask(items=[1, 2])

    assert [key[0] for key in graph] == ["spread", "square", "total"]
    assert notes.all() == []


def test_it_computes_from_the_checkpoints_of_runs_and_into_them(notes: Notes) -> None:
    graph = pipeline(notes)

    compute(graph.to_dask(items=[1, 2, 3]), "total")
    assert sorted(notes.take()) == ["1", "2", "3"]
    run = graph.run(items=[1, 2, 3])
    assert (run.result(), notes.take()) == (14, [])
    graph.run(items=[4, 5])
    notes.take()
    compute(graph.to_dask(items=[4, 5, 6]), "total")

    assert notes.all() == ["6"]
    assert graph.run(items=[4, 5, 6]).result() == 77


def test_routes_and_joins_are_in_it_too() -> None:
    @tensorlake_function()
    def left(x: int) -> int:
        return x + 1

    @tensorlake_function()
    def right(x: int) -> int:
        return -x

    @tensorlake_router(next=[left])
    def odd(x: int):  # type: ignore[no-untyped-def]
        return left if x % 2 else []

    @tensorlake_function()
    def meet(a: int, b: int) -> tuple[int, int]:
        return a, b

    graph = Graph("routed", spread).add_edges(spread, [odd, right])
    graph.add_edge(left, meet, into="a").add_edge(right, meet, into="b")

    compute(graph.to_dask(items=[1, 2, 3]), "meet")
    run = graph.run(items=[1, 2, 3])

    assert run.output(meet) == [(2, -1), (4, -3)]
    assert run.counts(meet)["replayed"] == 2


def test_a_failure_is_raised_by_dask() -> None:
    @tensorlake_function()
    def fail(x: int) -> int:
        raise ValueError(x)

    graph = Graph("fails", spread).add_edge(spread, fail)

    with pytest.raises(TaskFailedError, match="ValueError: 7"):
        compute(graph.to_dask(items=[7]), "fail")
