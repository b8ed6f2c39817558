"""Computing on purpose what the store has already: for exactly this run's elements, once, and for good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.lib.pretty import pretty

from tensorlake_nb import Graph, Run, tensorlake_function, tensorlake_router
from tensorlake_nb.engine.reports.elements import ElementRow
from tensorlake_nb.errors import TaskFailedError
from tensorlake_nb.store.format import paths
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


@tensorlake_function(accumulate=int)
def total(acc: int, x: int) -> int:
    return acc + x


def drifting(notes: Notes, **options: Any) -> Graph:
    """A function that gives something else each time that it is really called with an item."""

    @tensorlake_function(**options)
    def step(x: int) -> int:
        notes.add(x)
        return x * 10 + notes.all().count(str(x))

    return Graph("drifting", spread).add_edge(spread, step).add_edge(step, total)


def counted(run: Run) -> dict[str, tuple[int, int]]:
    return {name: (each.computed, each.replayed) for name, each in run.standings().items()}


def test_a_function_and_what_follows_it_are_computed_anew_and_what_came_before_is_replayed(notes: Notes) -> None:
    first = drifting(notes).run(items=[1, 2, 3])

    again = first.again("step")

    assert counted(again) == {"spread": (0, 1), "step": (3, 0), "total": (3, 0)}
    assert (first.result(), again.result()) == (63, 66)
    assert again.id != first.id


def test_a_later_run_replays_the_newer_values(notes: Notes) -> None:
    graph = drifting(notes)
    graph.run(items=[1, 2, 3]).again("step")
    notes.take()

    later = graph.run(items=[1, 2, 3])

    assert later.output("step") == [12, 22, 32]
    assert counted(later) == {"spread": (0, 1), "step": (0, 3), "total": (0, 3)}
    assert notes.all() == []


def test_a_longer_list_replays_the_newer_values_one_by_one(notes: Notes) -> None:
    graph = drifting(notes)
    graph.run(items=[1, 2]).again("step")

    longer = graph.run(items=[1, 2, 3])

    assert longer.output("step") == [12, 22, 31]
    assert counted(longer)["step"] == (1, 2)


def test_the_newer_values_count_also_if_the_clock_was_set_back(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = drifting(notes)
    first = graph.run(items=[1, 2])
    monkeypatch.setattr(paths, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - 3600 * 10**9))

    first.again("step")

    assert graph.run(items=[1, 2, 3]).output("step") == [12, 22, 31]


def test_outputs_for_other_inputs_stay(notes: Notes) -> None:
    graph = drifting(notes)
    graph.run(items=[7, 8])
    graph.run(items=[1, 2]).again("step")
    notes.take()

    other = graph.run(items=[7, 8])

    assert other.output("step") == [71, 81]
    assert notes.all() == []


def test_alone_a_function_leaves_what_follows_where_its_outputs_are_equal(notes: Notes) -> None:
    @tensorlake_function()
    def steady(x: int) -> int:
        notes.add(x)
        return x * 10

    first = Graph("steady", spread).add_edge(spread, steady).add_edge(steady, total).run(items=[1, 2])

    again = first.again("steady", only=True)

    assert counted(again) == {"spread": (0, 1), "steady": (2, 0), "total": (0, 2)}
    assert sorted(notes.all()) == ["1", "1", "2", "2"]


def test_equal_elements_are_called_once(notes: Notes) -> None:
    first = drifting(notes).run(items=[5, 5, 5])
    notes.take()

    again = first.again("step")

    assert notes.all() == ["5"]
    assert again.output("step") == [51, 51, 51]


def test_what_it_finished_before_a_failure_is_not_called_again_when_it_is_resumed(notes: Notes) -> None:
    @tensorlake_function()
    def gate() -> list[int]:
        return [1, 2, 3, 4]

    @tensorlake_function(max_concurrency=1)
    def picky(x: int) -> int:
        notes.add(x)
        if x == 3 and notes.all().count("3") == 2:
            raise ValueError("the second time")
        return x

    first = Graph("picky", gate).add_edge(gate, picky).run()
    with pytest.raises(TaskFailedError) as failed:
        first.again("picky")
    run = failed.value.run
    assert run is not None
    finished = [row.index for row in run.elements("picky", state="computed").rows]
    run.resume()

    assert run.output("picky") == [1, 2, 3, 4]
    for index in finished:
        assert notes.all().count(str(index + 1)) == 2, "once in the first run, once in this"


def test_a_run_that_was_opened_by_its_id_is_computed_anew_without_its_graph(notes: Notes) -> None:
    first = drifting(notes).run(items=[1, 2])

    again = Run.open(first.id).again("step")

    assert again.output("step") == [12, 22]
    assert again.inputs == {"items": [1, 2]}


@pytest.mark.parametrize("combine", [None, lambda a, b: a + b], ids=["in order", "as a tree"])
def test_a_reducer_folds_from_its_start(notes: Notes, combine: Any) -> None:
    def add(acc: int, x: int) -> int:
        notes.add(x)
        return acc + x

    folded = tensorlake_function(accumulate=int, combine=combine)(add)
    first = Graph("folded", spread).add_edge(spread, folded).run(items=list(range(20)))
    notes.take()

    again = first.again("add")

    assert again.result() == 190
    assert len(notes.all()) == 20


def test_routers_generators_and_functions_that_are_not_kept_are_computed_anew(notes: Notes) -> None:
    @tensorlake_function()
    def emit(n: int) -> Iterator[int]:
        notes.add("emit")
        yield from range(n)

    @tensorlake_function(cacheable=False)
    def even(x: int) -> str:
        notes.add(f"even {x}")
        return f"even {x}"

    @tensorlake_function()
    def odd(x: int) -> str:
        notes.add(f"odd {x}")
        return f"odd {x}"

    @tensorlake_router()
    def choose(x: int) -> Any:
        notes.add(f"choose {x}")
        return odd if x % 2 else even

    graph = Graph("choosing", emit).add_edge(emit, choose).route(choose, [even, odd])
    first = graph.run(n=4)
    before = sorted(notes.take())

    again = first.again("emit")

    assert sorted(notes.all()) == before
    assert again.output("even") == first.output("even") == ["even 0", "even 2"]
    assert again.output("odd") == ["odd 1", "odd 3"]


def test_why_says_that_it_was_asked_for_and_what_follows_names_the_first_cause(notes: Notes) -> None:
    first = drifting(notes).run(items=[1])

    again = first.again("step", only=True)

    assert "that was asked for" in again.why("step").summary
    assert again.why("step").cause is None
    assert again.why("total").cause == "step"


def test_what_came_to_functions_is_what_their_parents_gave() -> None:
    @tensorlake_function()
    def low(x: int) -> int:
        return x

    @tensorlake_function()
    def high(x: int) -> int:
        return -x

    @tensorlake_router()
    def choose(x: int) -> Any:
        return low if x < 3 else high

    @tensorlake_function()
    def double(x: int) -> int:
        return 2 * x

    @tensorlake_function()
    def pair(left: int, right: int) -> int:
        return left + right

    graph = (
        Graph("arrivals", spread)
        .add_edge(spread, choose)
        .route(choose, [low, high])
        .add_edge(spread, double)
        .add_edge(spread, pair, into="left")
        .add_edge(double, pair, into="right")
    )
    run = graph.run(items=[1, 2, 3, 4])

    assert list(run.inputs_of("spread")) == [{"items": [1, 2, 3, 4]}]
    assert list(run.inputs_of("low")) == [1, 2]
    assert list(run.inputs_of("high")) == [3, 4]
    assert list(run.inputs_of("double")) == run.output("spread")
    assert list(run.inputs_of("pair")) == [{"left": n, "right": 2 * n} for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_pages_of_elements_end_to_end_are_all_elements_once(notes: Notes, size: int) -> None:
    run = drifting(notes).run(items=list(range(50)))
    rows: list[ElementRow] = []
    while len(rows) < run.elements("step", count=0).total:
        rows += run.elements("step", start=len(rows), count=size).rows

    assert sorted(row.index for row in rows) == list(range(50))
    assert [row.output for row in rows] == [row.index for row in rows]
    assert [row.seconds or 0.0 for row in rows] == sorted((row.seconds or 0.0 for row in rows), reverse=True)


def test_what_changed_since_the_last_run_is_named_with_its_cause(notes: Notes) -> None:
    drifting(notes).run(items=[1])

    @tensorlake_function()
    def step(x: int) -> int:
        notes.add(x)
        return x * 11

    changed = Graph("drifting", spread).add_edge(spread, step).add_edge(step, total)

    assert changed.changed_since().keys() == {"step", "total"}
    assert "because of step" in changed.changed_since()["total"]


def test_two_runs_differ_in_what_was_given_and_counted(notes: Notes) -> None:
    graph = drifting(notes)
    left, right = graph.run(items=[1, 2]), graph.run(items=[1, 2, 3])

    found = left.compare(right)

    assert [(each.name, each.left, each.right) for each in found.inputs] == [("items", "[1, 2]", "[1, 2, 3]")]
    numbers = {each.node: (each.left, each.right) for each in found.nodes}["step"]
    assert [(each.computed, each.replayed) for each in numbers if each is not None] == [(2, 0), (1, 2)]
    assert all(each.changes == () for each in found.nodes)


def test_what_differs_between_two_runs_reads_well_in_a_cell(notes: Notes) -> None:
    left = drifting(notes).run(items=[1, 2])

    @tensorlake_function()
    def step(x: int) -> int:
        return x * 11

    right = Graph("drifting", spread).add_edge(spread, step).run(items=[1, 2, 3])
    runs, given, code, titles, *rows = pretty(left.compare(right)).splitlines()

    assert runs == f"run {left.id} of 'drifting' (succeeded) -> run {right.id} of 'drifting' (succeeded)"
    assert given == "input items: [1, 2] -> [1, 2, 3]"
    assert code.startswith("step: its code changed")
    assert titles.split() == ["function", "computed", "replayed", "failed", "in", "calls"]
    assert [row.split("  ")[0] for row in rows] == ["spread", "step", "total"]
    assert " ".join(rows[1].split()).startswith("step 2 -> 3 0 0 ")
    assert "2 -> none" in rows[2]
