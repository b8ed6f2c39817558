"""A pipeline with something of everything that a store keeps: parts of a list, nothing, routes, arrays, a fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorlake_nb import Graph, Run, tensorlake_function, tensorlake_router


@tensorlake_function()
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@tensorlake_function()
def odd(x: int) -> list[int] | None:
    return [x, 10 * x] if x % 2 else None


@tensorlake_router()
def by_size(x: int) -> Any:
    return small if x < 10 else large


@tensorlake_function()
def small(x: int) -> Any:
    return np.full((30, 30), x)


@tensorlake_function()
def large(x: int) -> dict[str, int]:
    return {"large": x}


@tensorlake_function(accumulate=list)
def found(so_far: list[int], value: Any) -> list[int]:
    return [*so_far, value["large"]]


def graph(name: str = "collected") -> Graph:
    made = Graph(name, start_node=numbers).add_edge(numbers, odd).add_edge(odd, by_size)
    return made.route(by_size, [small, large]).add_edge(large, found)


def expected(n: int) -> list[int]:
    return [10 * x for x in range(n) if x % 2]


def outputs_are_right(run: Run, n: int) -> None:
    assert run.inputs == {"n": n}
    assert run.output(numbers) == list(range(n))
    assert run.output(odd) == [item for x in range(n) if x % 2 for item in (x, 10 * x)]
    assert [int(array[3, 4]) for array in run.output(small)] == [x for x in range(10) if x % 2 and x < n]
    assert run.output(found) == [expected(n)]


def is_replayed(n: int) -> bool:
    forecast = graph().plan(n=n)
    return all(node.to_compute == 0 and not node.is_open for node in forecast.nodes.values())
