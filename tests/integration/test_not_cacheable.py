"""A function with ``cacheable=False`` is called for each element, and once for each of them within its run."""

from __future__ import annotations

import random
from typing import Any

import dask
import pytest

from tensorlake_nb import Graph, Run, TaskFailedError, tensorlake_function, tensorlake_router
from tests.support.notes import Notes


@tensorlake_function()
def alike(n: int) -> list[str]:
    return ["the same"] * n


@tensorlake_function(accumulate=list)
def collected(found: list[Any], x: Any) -> list[Any]:
    return [*found, x]


def drawing(notes: Notes, name: str = "sample") -> Any:
    """A function whose every call gives another number."""

    @tensorlake_function(name=name, cacheable=False)
    def sample(prompt: str) -> float:
        notes.add(prompt)
        return random.random()

    return sample


def distinct(values: list[Any]) -> int:
    return len(set(values))


def test_equal_elements_are_calls_of_their_own_and_so_is_what_follows(notes: Notes) -> None:
    sample = drawing(notes)

    @tensorlake_function(cacheable=False)
    def after(x: float) -> tuple[float, str]:
        return (x, "!")

    graph = Graph("samples", alike).add_edge(alike, sample).add_edge(sample, after).add_edge(after, collected)
    run = graph.run(n=40)

    assert distinct(run.output(sample)) == 40
    assert run.result() == [(x, "!") for x in run.output(sample)]
    assert run.counts(sample)["computed"] == run.counts(after)["computed"] == 40
    assert graph.plan(n=40).nodes["sample"].to_compute == 40, "no other run has them"


def test_nodes_of_the_same_code_share_no_call(notes: Notes) -> None:
    one, other = drawing(notes, "one"), drawing(notes, "other")
    run = Graph("twice", alike).add_edge(alike, one).add_edge(alike, other).run(n=3)

    assert distinct(run.output(one) + run.output(other)) == 6


def test_groups_of_equal_elements_are_folded_each() -> None:
    @tensorlake_function(cacheable=False, accumulate=list, combine=lambda left, right: left + right)
    def drawn(found: list[float], prompt: str) -> list[float]:
        return [*found, random.random()]

    run = Graph("tree", alike).add_edge(alike, drawn).run(n=24)

    assert (len(run.result()), distinct(run.result())) == (24, 24)


def test_routers_and_joins_take_each_element_by_itself(notes: Notes) -> None:
    sample = drawing(notes)

    @tensorlake_router(cacheable=False, next=[collected])
    def sometimes(prompt: str) -> list[Any]:
        return [collected] if random.random() < 0.5 else []

    @tensorlake_function(cacheable=False)
    def paired(left: str, right: str) -> float:
        return random.random()

    @tensorlake_function()
    def same(prompt: str) -> str:
        return prompt

    graph = Graph("ways", alike).add_edge(alike, sample).add_edge(alike, sometimes).route(sometimes, [collected])
    graph.add_edge(alike, same).add_edge(alike, paired, into="left").add_edge(same, paired, into="right")
    run = graph.run(n=64)

    assert 0 < len(run.output(collected)[0]) < 64
    assert distinct(run.output(paired)) == 64


def test_a_run_that_is_gone_on_with_makes_the_calls_that_are_missing(notes: Notes) -> None:
    @tensorlake_function(cacheable=False)
    def sample(prompt: str) -> float:
        notes.add(prompt)
        if len(notes.all()) >= 5 and notes.add_first("failed"):
            raise ValueError("one of the calls")
        return random.random()

    graph = Graph("gone-on-with", alike).add_edge(alike, sample).add_edge(sample, collected)
    with pytest.raises(TaskFailedError) as caught:
        graph.run(n=12)
    assert isinstance(caught.value.run, Run)
    kept = caught.value.run.output(sample)
    run = caught.value.run.resume()

    assert set(kept) <= set(run.result())
    assert notes.all().count("the same") == 13, "twelve elements, and the call that failed"
    assert distinct(run.result()) == 12


def test_each_run_and_each_static_graph_has_calls_of_its_own(notes: Notes) -> None:
    sample = drawing(notes)
    graph = Graph("static", alike).add_edge(alike, sample).add_edge(sample, collected)

    tasks = graph.to_dask(n=3)
    (key,) = [key for key in tasks if key[0] == "collected"]
    for _ in range(2):  # the second time everything is found where it stands
        dask.get(tasks, key)  # type: ignore[attr-defined]
    assert len(notes.all()) == 3

    run = graph.run(n=3)
    again = run.again("collected")
    assert distinct(run.result() + again.result()) == 6
