"""What a run would do before it does it, and why it did what it did afterwards."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tensorlake_nb import Graph, Run, tensorlake_function
from tensorlake_nb.engine.driving import launch
from tensorlake_nb.engine.driving.forecast import Forecast, NodeForecast
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


def pipeline(notes: Notes, factor: int = 2, tree: bool = False) -> Graph:
    def helper(x: int) -> int:
        return x * factor

    @tensorlake_function()
    def scale(x: int) -> int:
        notes.add(x)
        return helper(x)

    options: dict[str, Any] = {"combine": lambda left, right: left + right} if tree else {}

    @tensorlake_function(accumulate=int, **options)
    def total(acc: int, x: int) -> int:
        return acc + x

    return Graph("planned", spread).add_edge(spread, scale).add_edge(scale, total)


def forecast(graph: Graph, **inputs: Any) -> dict[str, tuple[int, int, bool]]:
    nodes = graph.plan(**inputs).nodes
    return {name: (node.replayed, node.to_compute, node.is_open) for name, node in nodes.items()}


def test_a_plan_packs_and_stores_no_code(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[str] = []
    monkeypatch.setattr(launch, "pack", lambda found, function: packed.append(function.name))

    assert pipeline(notes).plan(items=[1, 2, 3]).nodes["spread"].to_compute == 1
    assert packed == []


@pytest.mark.parametrize("tree", [False, True])
def test_a_plan_counts_what_would_be_computed_and_computes_nothing(notes: Notes, tree: bool) -> None:
    graph = pipeline(notes, tree=tree)

    before = forecast(graph, items=[1, 2, 3])
    assert (notes.all(), Run.list()) == ([], [])
    graph.run(items=[1, 2, 3])
    notes.take()
    same, other = forecast(graph, items=[1, 2, 3]), forecast(graph, items=[1, 2, 3, 4])

    assert before["spread"] == (0, 1, False)
    assert before["scale"][2]
    assert {name: (to_compute, is_open) for name, (_, to_compute, is_open) in same.items()} == dict.fromkeys(
        same, (0, False)
    )
    assert other["spread"] == (0, 1, False)
    assert notes.all() == []


def test_a_plan_goes_as_far_as_it_can_be_known(notes: Notes) -> None:
    pipeline(notes, factor=2).run(items=[1, 2, 3])
    edited = pipeline(notes, factor=3)

    plan = edited.plan(items=[1, 2, 3])

    assert (plan.nodes["spread"].replayed, plan.nodes["scale"].to_compute) == (1, 3)
    assert plan.nodes["total"].is_open
    assert plan.nodes["scale"].seconds is not None
    assert "scale" in str(plan)
    assert "3" in str(plan)


def test_why_says_what_changed_in_the_code(notes: Notes) -> None:
    first = pipeline(notes, factor=2).run(items=[1, 2])
    run = pipeline(notes, factor=3).run(items=[1, 2])

    assert "no earlier run" in first.why("scale").summary
    reason = run.why("scale")
    assert "factor" in str(reason)
    assert reason.since == first.id
    assert run.why("spread").summary.startswith("replayed")
    assert "scale" in run.why("total").summary


def test_why_tells_new_inputs_from_new_code(notes: Notes) -> None:
    graph = pipeline(notes)
    first = graph.run(items=[1, 2])
    run = graph.run(items=[1, 2, 3])

    assert "items" in run.why("spread").summary
    assert first.id in run.why("spread").summary
    assert "2 of 3 replayed" in run.why("scale").summary


def test_why_is_known_of_a_run_opened_again(notes: Notes) -> None:
    pipeline(notes, factor=2).run(items=[1])
    run = pipeline(notes, factor=3).run(items=[1])

    assert str(Run.open(run.id).why("scale")) == str(run.why("scale"))


def test_why_of_a_node_that_nothing_came_to(notes: Notes) -> None:
    assert pipeline(notes).run(items=[]).why("scale").summary == "it received no input"


def test_a_plan_tells_no_fractions_of_a_millisecond() -> None:
    nodes = {"quick": NodeForecast(0, 3, False, 0.000183), "slow": NodeForecast(0, 3, False, 2.041)}

    assert [line.split("  ")[-1].strip() for line in str(Forecast("planned", nodes)).splitlines()] == [
        "about",
        "< 1 ms",
        "2.04 s",
    ]


def test_a_replay_saves_what_all_its_calls_cost_whoever_made_them() -> None:
    @tensorlake_function()
    def slow(x: int) -> int:
        time.sleep(0.05)
        return x

    graph = Graph("slow", spread).add_edge(spread, slow)
    graph.run(items=[1, 2, 3])
    graph.run(items=[1, 2, 3, 4])  # one call, and three that were paid for before

    replayed = graph.run(items=[1, 2, 3, 4]).standings()["slow"]

    assert (replayed.replayed, replayed.computed) == (4, 0)
    assert replayed.saved_seconds >= 4 * 0.05
