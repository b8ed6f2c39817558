"""A run's outputs have the type of one element as the graph sees it: a list, a generator and a coroutine are opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Literal, assert_type

from tensorlake_nb import Function, Graph, RouteTo, Run, TensorlakeCompute, tensorlake_function, tensorlake_router


@tensorlake_function
def one(x: int) -> str:
    return str(x)


@tensorlake_function
def maybe(x: int) -> str | None:
    return str(x) if x else None


@tensorlake_function
def pair(x: int) -> tuple[int, str]:
    return x, str(x)


@tensorlake_function
def several(x: int) -> list[str | bytes]:
    return [str(x)]


@tensorlake_function
def maybe_several(x: int) -> list[str] | None:
    return [str(x)] if x else None


@tensorlake_function
async def awaited(x: int) -> bytes:
    return bytes(x)


@tensorlake_function(retries=3)
async def awaited_several(x: int) -> list[bytes]:
    return [bytes(x)]


@tensorlake_function
def generated(x: int) -> Iterator[float]:
    yield x / 2


@tensorlake_function
def generated_and_returned(x: int) -> Generator[float, None, str]:
    yield x / 2
    return "end"


@tensorlake_function
async def generated_and_awaited(x: int) -> AsyncIterator[float]:
    yield x / 2


@tensorlake_function
def routed(x: int) -> RouteTo[float, Literal["one", "pair"]]:
    return RouteTo(x / 2, "one")


@tensorlake_function
def routed_together(x: int) -> RouteTo[list[float], Literal["one"]]:
    return RouteTo([x / 2], "one")


@tensorlake_function
def routed_apart(x: int) -> list[RouteTo[float, Literal["one"]]]:
    return [RouteTo(x / 2, "one")]


@tensorlake_function
async def routed_and_generated(x: int) -> AsyncIterator[RouteTo[float, Literal["one"]]]:
    yield RouteTo(x / 2, "one")


@tensorlake_function(accumulate=list)
def folded(so_far: list[int], x: int) -> list[int]:
    return [*so_far, x]


@tensorlake_function(accumulate=int, timeout=3)
async def folded_and_awaited(so_far: int, x: int) -> int:
    return so_far + x


@tensorlake_router
def choose(x: int) -> list[Literal["one", "pair"]]:
    return ["one"]


class Tokenize(TensorlakeCompute):
    def run(self, text: str) -> list[str]:
        return text.split()


def outputs_of(run: Run) -> None:
    assert_type(run.output(one), list[str])
    assert_type(run.output(maybe), list[str])
    assert_type(run.output(pair), list[tuple[int, str]])
    assert_type(run.output(several), list[str | bytes])
    assert_type(run.output(maybe_several), list[str])
    assert_type(run.output(awaited), list[bytes])
    assert_type(run.output(awaited_several), list[bytes])
    assert_type(run.output(generated), list[float])
    assert_type(run.output(generated_and_returned), list[float])
    assert_type(run.output(generated_and_awaited), list[float])
    assert_type(run.output(routed), list[float])
    assert_type(run.output(routed_together), list[float])
    assert_type(run.output(routed_apart), list[float])
    assert_type(run.output(routed_and_generated), list[float])


def outputs_of_what_is_called_otherwise(run: Run, function: Function, any_of_them: Function | str) -> None:
    assert_type(run.output(folded), list[list[int]])  # the accumulator, whole
    assert_type(run.output(folded_and_awaited), list[int])
    assert_type(run.output(choose), list[Any])  # what came in goes on
    assert_type(run.output(Tokenize), list[Any])
    assert_type(run.output("one"), list[Any])
    assert_type(run.output(function), list[Any])
    assert_type(run.output(any_of_them), list[Any])
    run.output(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def lazy_outputs(run: Run, graph: Graph) -> None:
    outputs = run.outputs(several)
    assert_type(outputs[0], str | bytes)
    assert_type(outputs[1:][0], str | bytes)
    assert_type([*outputs], list[str | bytes])
    assert_type(run.outputs("one")[0], Any)
    assert_type(graph.output(run, pair), list[tuple[int, str]])
    assert_type(graph.output(run.id, "pair"), list[Any])


def status(run: Run, other: Run) -> str:
    if other.status == "done":  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
        return "no such status"  # type: ignore[unreachable]
    match run.status:
        case "running" | "succeeded" | "failed" | "cancelled" | "interrupted" as known:
            return known
