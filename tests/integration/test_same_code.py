"""Nodes of one run whose functions have the very same code: equal calls of theirs are one call."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.core.functions.function import Function
from tests.support.clusters import Cluster
from tests.support.notes import Notes


@pytest.fixture(params=["threads", "processes"], autouse=True)
def cluster(request: pytest.FixtureRequest, shared: Cluster, store: str) -> None:
    if request.param == "processes":
        configure(cluster=shared.client())


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


def mapper(name: str, notes: Notes) -> Function:
    @tensorlake_function(name=name)
    def work(x: int) -> int:
        notes.add(f"made {x}")
        return x * x

    return work


def folder(name: str, notes: Notes) -> Function:
    def start() -> list[Any]:
        notes.add("started")
        return []

    @tensorlake_function(name=name, accumulate=start)
    def folded(acc: list[int], x: int) -> list[int]:
        notes.add(f"folded {[*acc, x]}")
        return [*acc, x]

    return folded


def test_elements_that_two_nodes_map_are_computed_once(notes: Notes) -> None:
    left, right = mapper("left", notes), mapper("right", notes)
    items = list(range(300))

    run = Graph("twins", spread).add_edge(spread, left).add_edge(spread, right).run(items=items)

    assert run.output(left) == run.output(right) == [x * x for x in items]
    assert Counter(notes.all()) == Counter(f"made {x}" for x in items)


def test_a_fold_goes_on_where_a_node_with_its_code_has_come(notes: Notes) -> None:
    left, right = mapper("left", notes), mapper("right", notes)
    short, long = folder("short", notes), folder("long", notes)
    graph = Graph("folds", spread).add_edge(spread, left).add_edge(spread, right)
    graph.add_edge(left, short).add_edge(left, long).add_edge(right, long)
    squares = [x * x for x in range(8)]

    run = graph.run(items=list(range(8)))

    assert run.output(short) == [squares]
    assert run.output(long) == [squares * 2]
    steps = [(squares * 2)[:end] for end in range(1, 17)]
    assert Counter(line for line in notes.all() if line.startswith("folded")) == Counter(f"folded {s}" for s in steps)


def test_what_two_folds_of_nothing_start_from_is_made_once(notes: Notes) -> None:
    one, other = folder("one", notes), folder("other", notes)

    run = Graph("empty", spread).add_edge(spread, one).add_edge(spread, other).run(items=[])

    assert run.output(one) == run.output(other) == [[]]
    assert notes.all() == ["started"]
