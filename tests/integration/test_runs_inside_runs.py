"""A run inside a run is refused before it waits for the workers that its own call keeps busy."""

from __future__ import annotations

import asyncio
from typing import Any

import dask
import pytest

from tensorlake_nb import Graph, Run, TaskFailedError, TensorlakeCompute, configure, tensorlake_function
from tensorlake_nb.core.functions.function import as_function
from tests.support.clusters import Cluster
from tests.support.notes import Notes

WAYS = r"Call the functions directly here, as step\(x\).*return a list, and add an edge"


@tensorlake_function()
def double(x: int) -> int:
    return 2 * x


inner = Graph("inner", double)


@tensorlake_function()
def runs(x: int) -> Any:
    return inner.run(x=x).result()


@tensorlake_function()
def starts(x: int) -> Any:
    return inner.start(x=x).id


@tensorlake_function()
def detaches(x: int) -> Any:
    return inner.start(x=x, detach=True).id


@tensorlake_function()
def verifies(x: int) -> Any:
    return str(inner.verify(x=x))


@tensorlake_function()
async def awaits(x: int) -> Any:
    return (await inner.start(x=x)).result()


@tensorlake_function()
async def in_a_thread(x: int) -> Any:
    return (await asyncio.to_thread(inner.run, x=x)).result()


@tensorlake_function()
def generates(x: int) -> Any:
    yield x
    yield inner.run(x=x).result()


@tensorlake_function(accumulate=int)
def folds(total: int, x: int) -> int:
    return total + int(inner.run(x=x).result())


@tensorlake_function(accumulate=lambda: inner.run(x=1).result())
def begins(total: int, x: int) -> int:
    return total + x


class Runs(TensorlakeCompute):
    def run(self, x: int) -> Any:
        return inner.run(x=x).result()


@pytest.mark.parametrize(
    "function", [runs, starts, detaches, verifies, awaits, in_a_thread, generates, folds, begins, Runs]
)
def test_it_is_refused_in_every_kind_of_function(function: Any) -> None:
    name = as_function(function).name
    with pytest.raises(TaskFailedError, match=f"UsageError: function '{name}' can't (run|verify) a graph.*{WAYS}"):
        Graph("outer", function).start(x=3).wait(timeout=30)


def test_as_many_of_them_as_there_are_threads_do_not_wait_for_each_other(notes: Notes) -> None:
    @tensorlake_function()
    def spread(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def nested(x: int) -> Any:
        notes.add(x)
        return inner.run(x=x).result()

    graph = Graph("outer", spread, on_error="continue", retries=2).add_edge(spread, nested)
    run = graph.start(n=6).wait(timeout=30)

    assert [failure.kind for failure in run.failures] == ["usage"] * 6
    assert sorted(notes.all()) == list("012345"), "none of them is tried again"


def test_a_run_of_before_is_read_but_neither_gone_on_with_nor_waited_for(notes: Notes) -> None:
    before = inner.run(x=4)

    @tensorlake_function()
    def reads(run_id: str) -> Any:
        return Run.open(run_id).result()

    @tensorlake_function(inject_ctx=True)
    def waits(ctx: Any, run_id: str) -> Any:
        return Run.open(ctx.request_id).wait()

    @tensorlake_function()
    def again(run_id: str) -> Any:
        return Run.open(run_id).again("double").result()

    @tensorlake_function()
    def resumes(run_id: str) -> Any:
        return Run.open(run_id).resume().result()

    assert Graph("reading", reads).start(run_id=before.id).wait(timeout=30).result() == 8
    for function, what in ((waits, "wait for a run"), (again, "run a graph"), (resumes, "run a graph")):
        with pytest.raises(TaskFailedError, match=f"can't {what}.*{WAYS}"):
            Graph("outer", function).start(run_id=before.id).wait(timeout=30)


def test_in_a_static_graph_it_is_refused_too() -> None:
    tasks = Graph("outer", runs).to_dask(x=3)

    with pytest.raises(TaskFailedError, match=WAYS):
        dask.get(tasks, next(iter(tasks)))  # type: ignore[attr-defined]


def test_what_is_advised_works() -> None:
    @tensorlake_function()
    def direct(x: int) -> int:
        return int(double(x)) + 1

    @tensorlake_function()
    def listed(x: int) -> list[int]:
        return [x, x + 1]

    assert Graph("direct", direct).run(x=3).result() == 7
    assert Graph("part", listed).add_edge(listed, double).run(x=3).result() == [6, 8]


def test_on_worker_processes_it_is_refused_in_threads_of_the_function_too(shared: Cluster, store: str) -> None:
    @tensorlake_function()
    def elsewhere(x: int) -> Any:
        import threading

        said: list[BaseException] = []

        def run() -> None:
            try:
                inner.run(x=x)
            except Exception as error:
                said.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        raise said[0]

    configure(cluster=shared.client())
    try:
        for function in (runs, elsewhere):
            with pytest.raises(TaskFailedError, match=WAYS):
                Graph("outer", function).start(x=3).wait(timeout=60)
    finally:
        configure(cluster="threads", workers=2)
