"""A run's inputs may have any name, and what is given in another way is told how to be written."""

from __future__ import annotations

from typing import Any

import dask
import pytest

from tensorlake_nb import Graph, Retries, Run, TensorlakeCompute, UsageError, tensorlake_function
from tensorlake_nb.engine.cluster.session import current
from tests.support.notes import Notes


@tensorlake_function()
def square(x: int) -> int:
    return x * x


@tensorlake_function()
def options(
    detach: int,
    block_until_done: int = 0,
    sample: int = 0,
    seed: int = 0,
    time_limit: int = 0,
    given: int = 0,
    self: int = 0,
    inputs: int = 0,
) -> list[int]:
    return [detach, block_until_done, sample, seed, time_limit, given, self, inputs]


EVERY = {
    "detach": 1,
    "block_until_done": 2,
    "sample": 3,
    "seed": 4,
    "time_limit": 5,
    "given": 6,
    "self": 7,
    "inputs": 8,
}


def test_inputs_that_are_called_like_options_are_inputs() -> None:
    graph = Graph("options", options)

    run = graph.run(EVERY)
    assert run.result() == list(EVERY.values())
    assert graph.start(EVERY).result() == list(EVERY.values())
    assert graph.run(detach=1, self=7, given=6).inputs == {"detach": 1, "self": 7, "given": 6}
    assert graph.plan(EVERY).nodes["options"].replayed == 1
    assert graph.verify(EVERY, sample=1.0).nodes["options"].checked == 1
    tasks = graph.to_dask(EVERY)
    assert set(dask.get(tasks, next(iter(tasks)))) == {"options"}  # type: ignore[attr-defined]
    assert run.again("options").result() == list(EVERY.values())
    assert run.again("options", graph=graph).result() == list(EVERY.values())
    assert Run.open(run.id).resume().inputs == EVERY


def test_a_mapping_and_keywords_together_are_the_inputs_but_not_for_one_name() -> None:
    graph = Graph("options", options)

    assert graph.run({"detach": 1}, seed=4).inputs == {"detach": 1, "seed": 4}
    for method in (graph.run, graph.start, graph.plan, graph.verify, graph.to_dask):
        with pytest.raises(UsageError, match="'given' stands in the mapping and beside it"):
            method({"detach": 1, "given": 2}, given=3)


@pytest.mark.parametrize("method", ["run", "start", "plan", "verify", "to_dask"])
def test_what_is_given_by_position_is_written_by_name(method: str) -> None:
    graph = Graph("squares", square)

    with pytest.raises(UsageError, match=rf"takes its inputs by name: write {method}\(x='a.csv'\)"):
        getattr(graph, method)("a.csv")
    with pytest.raises(UsageError, match=rf"write {method}\(detach=1, block_until_done=2\)"):
        getattr(Graph("options", options), method)(1, 2)


def test_a_graph_is_not_called_and_a_function_has_no_run() -> None:
    with pytest.raises(UsageError, match=r"graph 'squares' can't be called: use its run\(x=...\)"):
        Graph("squares", square)(x=3)
    with pytest.raises(AttributeError, match=r"'square' is a decorated function.*Graph\('square', square\).run\(...\)"):
        square.run(x=3)
    assert not hasattr(square, "start")
    with pytest.raises(UsageError, match="isn't a function"):
        Graph("nested", Graph("squares", square))  # type: ignore[arg-type]


def test_a_misspelt_attribute_is_told_by_the_one_that_was_meant() -> None:
    graph = Graph("squares", square)
    run = graph.run(x=3)

    with pytest.raises(AttributeError, match=r"'Graph' object has no attribute 'rum' \(did you mean 'run'\?\)"):
        graph.rum(x=3)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"'Run' object has no attribute 'results' \(did you mean 'result'\?\)"):
        run.results()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"no attribute '_repr_png_'$"):
        graph._repr_png_  # type: ignore[attr-defined]  # noqa: B018


def test_a_number_of_retries_is_understood(notes: Notes) -> None:
    @tensorlake_function(retries=0)
    def once(x: int) -> int:
        notes.add("once")
        raise ValueError(x)

    @tensorlake_function()
    def twice(x: int) -> int:
        notes.add("twice")
        raise ValueError(x)

    for function in (once, twice):
        graph = Graph("tries", function, retries=Retries(1, initial_delay=0), on_error="continue")
        graph.run(x=1)
    assert notes.all() == ["once", "twice", "twice"]
    assert Graph("tries", once, retries=2).retries == Retries(max_retries=2)
    for wrong in (-1, True, 1.5, "2"):
        with pytest.raises(UsageError, match="retries"):
            Graph("tries", once, retries=wrong)  # type: ignore[arg-type]


def test_a_call_is_told_the_version_of_its_graph() -> None:
    @tensorlake_function(inject_ctx=True, cacheable=False)
    def told(ctx: Any, x: int) -> Any:
        return (ctx.graph_name, ctx.graph_version)

    class Told(TensorlakeCompute):
        inject_ctx = True
        cacheable = False

        def run(self, ctx: Any, x: int) -> Any:
            return (ctx.graph_name, ctx.graph_version)

    for function in (told, Told):
        assert Graph("versioned", function, version="1.2").run(x=1).result() == ("versioned", "1.2")
        run = Graph("unversioned", function).run(x=1)
        assert run.result() == ("unversioned", None)
        assert Run.open(run.id, current()).again(function).result() == ("unversioned", None)
