"""The functions that are timed."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import time
from typing import Any

import numpy as np
from pydantic import BaseModel

from tensorlake_nb import Graph, tensorlake_function


@tensorlake_function()
def numbers(n: int, round: int) -> list[int]:
    return [n * round + i for i in range(n)]


@tensorlake_function()
def counted(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function()
def double(x: int) -> int:
    return 2 * x


@tensorlake_function(accumulate=int)
def total(so_far: int, x: int) -> int:
    return so_far + x


@tensorlake_function()
def busy(x: int) -> int:
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    return x


@tensorlake_function()
def uneven(x: int) -> int:
    time.sleep(2.0 if x % 50 == 7 else 0.005)
    return x


@tensorlake_function(max_concurrency=100)
async def fetched(x: int) -> int:
    await asyncio.sleep(0.1)
    return x


@tensorlake_function()
def image(x: int) -> np.ndarray:
    return np.full((64, 64), x, dtype=np.float32)


class Reading(BaseModel):
    """A row as people collect them."""

    number: int
    name: str
    score: float
    tags: list[str]


@tensorlake_function()
def ints(n: int, round: int) -> list[int]:
    return [n * round + i for i in range(n)]


@tensorlake_function()
def rows(n: int, round: int) -> list[Reading]:
    return [Reading(number=i, name=f"row {i} of {round}", score=i / 3, tags=["a", "b"]) for i in range(n)]


@tensorlake_function()
def vectors(n: int, round: int) -> list[np.ndarray]:
    random = np.random.default_rng(round)
    return [random.random(256) for _ in range(n)]


@tensorlake_function(accumulate=list)
def collected(so_far: list[Any], x: Any) -> list[Any]:
    so_far.append(x)
    return so_far


def collecting(source: Any) -> Graph:
    return Graph(name=f"collect-{source.name}", start_node=source).add_edge(source, collected)


def mapped_alone(source: Any) -> Graph:
    return Graph(name=f"only-{source.name}", start_node=source)


def collected_plainly(values: list[Any]) -> bytes:
    """The same fold in plain Python, its result pickled once."""
    so_far: list[Any] = []
    for value in values:
        so_far = collect_one(so_far, value)
    return pickle.dumps(so_far)


def collect_one(so_far: list[Any], x: Any) -> list[Any]:
    so_far.append(x)
    return so_far


def map_and_fold() -> Graph:
    return Graph(name="elements", start_node=numbers).add_edge(numbers, double).add_edge(double, total)


def growing() -> Graph:
    return Graph(name="growing", start_node=counted).add_edge(counted, double).add_edge(double, total)


def mapped(function: Any) -> Graph:
    return Graph(name=f"map-{function.name}", start_node=numbers).add_edge(numbers, function)


def chain(steps: int) -> Graph:
    """A chain of functions that are told apart by what they add."""

    def made(i: int) -> Any:
        @tensorlake_function(name=f"step-{i}")
        def step(x: int) -> int:
            return x + i

        return step

    functions = [made(i) for i in range(steps)]
    graph = Graph(name="chain", start_node=functions[0])
    for before, after in itertools.pairwise(functions):
        graph.add_edge(before, after)
    return graph
