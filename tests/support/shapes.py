"""A graph of each shape - map, fold, tree, router, join, generator - whose calls are counted, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorlake_nb import Graph, tensorlake_function, tensorlake_router
from tests.support.notes import Notes


@dataclass(frozen=True)
class Shape:
    """A graph, and its result for ``n``; each call has noted itself by function and element before it returns."""

    name: str
    make: Callable[[str], Graph]
    result: Callable[[int], Any]


def _map(notes: str) -> Graph:
    calls = Notes(notes)

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        calls.add("numbers")
        return list(range(n))

    @tensorlake_function()
    def arrays(x: int) -> Any:
        calls.add(f"arrays {x}")
        return np.full((3, 50), x)

    @tensorlake_function()
    def words(array: Any) -> dict[str, Any]:
        calls.add(f"words {array[0, 0]}")
        return {"sum": int(array.sum()), "text": "x" * int(array[0, 0])}

    return Graph("mapped", numbers).add_edge(numbers, arrays).add_edge(arrays, words)


def _fold(notes: str) -> Graph:
    calls = Notes(notes)

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        calls.add("numbers")
        return list(range(n))

    @tensorlake_function(accumulate=list)
    def collected(found: list[int], x: int) -> list[int]:
        calls.add(f"collected {x}")
        return [*found, x]

    return Graph("folded", numbers).add_edge(numbers, collected)


def _tree(notes: str) -> Graph:
    calls = Notes(notes)

    def merged(left: list[int], right: list[int]) -> list[int]:
        return left + right

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        calls.add("numbers")
        return list(range(n))

    @tensorlake_function(accumulate=list, combine=merged)
    def collected(found: list[int], x: int) -> list[int]:
        return [*found, x]

    return Graph("tree", numbers).add_edge(numbers, collected)


def _router(notes: str) -> Graph:
    calls = Notes(notes)

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        calls.add("numbers")
        return list(range(n))

    @tensorlake_function()
    def even(x: int) -> int:
        calls.add(f"even {x}")
        return x // 2

    @tensorlake_function()
    def odd(x: int) -> str:
        calls.add(f"odd {x}")
        return f"odd {x}"

    @tensorlake_router()
    def by_parity(x: int):  # type: ignore[no-untyped-def]
        calls.add(f"by_parity {x}")
        return odd if x % 2 else even

    graph = Graph("routed", numbers).add_edge(numbers, by_parity)
    return graph.route(by_parity, [even, odd])


def _join(notes: str) -> Graph:
    calls = Notes(notes)

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        calls.add("numbers")
        return list(range(n))

    @tensorlake_function()
    def doubled(x: int) -> int:
        calls.add(f"doubled {x}")
        return 2 * x

    @tensorlake_function()
    def named(x: int) -> str:
        calls.add(f"named {x}")
        return f"n{x}"

    @tensorlake_function()
    def met(left: int, right: str) -> tuple[int, str]:
        calls.add(f"met {right}")
        return left, right

    graph = Graph("joined", numbers).add_edge(numbers, doubled).add_edge(numbers, named)
    return graph.add_edge(doubled, met, into="left").add_edge(named, met, into="right")


def _generator(notes: str) -> Graph:
    calls = Notes(notes)

    @tensorlake_function()
    def emitted(n: int) -> Iterator[int]:
        for x in range(n):
            calls.add(f"emitted {x}")
            yield x

    @tensorlake_function()
    def squared(x: int) -> int:
        calls.add(f"squared {x}")
        return x * x

    return Graph("generated", emitted).add_edge(emitted, squared)


SHAPES = (
    Shape("map", _map, lambda n: [{"sum": 150 * x, "text": "x" * x} for x in range(n)]),
    Shape("fold", _fold, lambda n: list(range(n))),
    Shape("tree", _tree, lambda n: list(range(n))),
    Shape(
        "router", _router, lambda n: {"even": list(range((n + 1) // 2)), "odd": [f"odd {x}" for x in range(1, n, 2)]}
    ),
    Shape("join", _join, lambda n: [(2 * x, f"n{x}") for x in range(n)]),
    Shape("generator", _generator, lambda n: [x * x for x in range(n)]),
)
