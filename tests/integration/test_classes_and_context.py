"""Functions that are classes, and what the request context shares, counts and does again on replay."""

from __future__ import annotations

import os
from typing import Any

from tensorlake_nb import Graph, RequestContext, TensorlakeCompute, tensorlake_function
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


def test_a_class_is_initialised_once_per_worker_process(notes: Notes) -> None:
    class Model(TensorlakeCompute):
        name = "model"

        def __init__(self) -> None:
            notes.add(f"loaded in {os.getpid()}")
            self.factor = 3

        def run(self, x: int) -> int:
            return x * self.factor

    graph = Graph("class", spread).add_edge(spread, Model)

    assert graph.run(items=[1, 2, 3]).output("model") == [3, 6, 9]
    assert graph.run(items=[4, 5]).output("model") == [12, 15]
    assert notes.all() == [f"loaded in {os.getpid()}"]


def test_a_class_can_be_a_reducer() -> None:
    class Gather(TensorlakeCompute):
        name = "gather"
        accumulate = list

        def run(self, acc: list[int], x: int) -> list[int]:
            return [*acc, x]

    assert Graph("class_fold", spread).add_edge(spread, Gather).run(items=[1, 2]).output("gather") == [[1, 2]]


def test_request_state_is_shared_by_the_functions_of_a_run_and_by_no_other() -> None:
    @tensorlake_function(inject_ctx=True)
    def begin(ctx: RequestContext, word: str) -> str:
        ctx.request_state.set("word", word)
        return word

    @tensorlake_function(inject_ctx=True, cacheable=False)
    def after(ctx: RequestContext, word: str) -> Any:
        return ctx.request_state.get("word"), ctx.request_state.get("nothing", "default"), ctx.request_id

    graph = Graph("state", begin).add_edge(begin, after)

    first, second = graph.run(word="a"), graph.run(word="b")
    again = graph.run(word="a")

    assert first.output(after) == [("a", "default", first.id)]
    assert second.output(after) == [("b", "default", second.id)]
    assert again.counts(begin)["replayed"] == 1
    assert again.output(after) == [("a", "default", again.id)]  # what the replayed call wrote was written again


def test_timers_and_counters_are_summed_and_replayed() -> None:
    @tensorlake_function(inject_ctx=True)
    def each(ctx: RequestContext, x: int) -> int:
        ctx.request_state.timer("work", 0.5) if hasattr(ctx.request_state, "timer") else ctx.timer("work", 0.5)
        ctx.counter("seen", x)
        ctx.update_progress(1, 2)
        return x

    @tensorlake_function(accumulate=int, inject_ctx=True)
    def total(ctx: RequestContext, acc: int, x: int) -> int:
        ctx.counter("folded")
        return acc + x

    graph = Graph("metrics", spread).add_edge(spread, each).add_edge(each, total)

    runs = [graph.run(items=[1, 2, 3]), graph.run(items=[1, 2, 3]), graph.run(items=[1, 2, 3, 4])]

    assert [run.metrics["counters"]["seen"] for run in runs] == [6, 6, 10]
    assert [run.metrics["counters"]["folded"] for run in runs] == [3, 3, 4]
    assert [run.metrics["timers"]["work"] for run in runs] == [1.5, 1.5, 2.0]


def test_what_calls_print_is_kept_with_the_run() -> None:
    @tensorlake_function()
    def talk(x: int) -> int:
        print(f"hello {x}")
        return x

    run = Graph("talk", spread).add_edge(spread, talk).run(items=[1, 2])

    assert sorted(line.text.strip() for line in run.logs(talk)) == ["hello 1", "hello 2"]
