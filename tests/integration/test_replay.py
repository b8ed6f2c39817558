"""What is computed a second time, and what isn't."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tensorlake_nb import Graph, Run, collect, configure, tensorlake_function, tensorlake_router
from tensorlake_nb.engine.cluster import session
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


@tensorlake_function(accumulate=int)
def total(acc: int, x: int) -> int:
    return acc + x


def counted(run: Run, function: str) -> tuple[int, int]:
    counts = run.counts(function)
    return counts["computed"], counts["replayed"]


def pipeline(notes: Notes, **options: Any) -> Graph:
    @tensorlake_function(**options)
    def step(x: int) -> int:
        notes.add(x)
        return x * 10

    return Graph("replayed", spread).add_edge(spread, step).add_edge(step, total)


def test_a_second_run_computes_nothing_and_starts_no_cluster(
    notes: Notes, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = pipeline(notes)
    first = graph.run(items=[1, 2, 3])
    configure(store=store + "/../other")
    configure(store=store)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a cluster was asked for")

    fresh = session.Session(session.current().settings)
    monkeypatch.setattr(session, "_session", fresh)
    monkeypatch.setattr(session, "connect", refuse)
    fresh.settings.cluster = "embedded"
    again = graph.run(items=[1, 2, 3])

    assert again.result() == first.result() == 60
    assert [counted(again, name) for name in ("spread", "step", "total")] == [(0, 1), (0, 3), (0, 3)]
    assert sorted(notes.all()) == ["1", "2", "3"]


def test_one_more_element_is_one_more_call(notes: Notes) -> None:
    graph = pipeline(notes)
    graph.run(items=list(range(50)))
    notes.take()

    run = graph.run(items=[*range(20), 99, *range(20, 50)])

    assert notes.all() == ["99"]
    assert counted(run, "step") == (1, 50)
    assert run.result() == 10 * (sum(range(50)) + 99)


def test_equal_elements_are_computed_once(notes: Notes) -> None:
    run = pipeline(notes).run(items=[1, 2, 1, 1, 2] * 20)

    assert sorted(notes.all()) == ["1", "2"]
    assert run.result() == 10 * 20 * 7
    assert sum(counted(run, "step")) == 100


def test_an_edit_recomputes_what_depends_on_it_and_no_more(notes: Notes) -> None:
    def graph(factor: int, offset: int) -> Graph:
        @tensorlake_function()
        def scale(x: int) -> int:
            notes.add(f"scale {x}")
            return x * factor

        @tensorlake_function()
        def shift(x: int) -> int:
            notes.add(f"shift {x}")
            return x + offset

        return Graph("edited", spread).add_edge(spread, scale).add_edge(scale, shift)

    graph(2, 1).run(items=[1, 2])
    notes.take()

    later = graph(2, 5).run(items=[1, 2])
    assert sorted(notes.take()) == ["shift 2", "shift 4"]
    both = graph(3, 5).run(items=[1, 2])
    assert sorted(notes.take()) == ["scale 1", "scale 2", "shift 3", "shift 6"]

    assert (later.output("shift"), both.output("shift")) == ([7, 9], [8, 11])


def test_a_recompute_that_gives_the_same_stops_there(notes: Notes) -> None:
    def graph(how: str) -> Graph:
        @tensorlake_function()
        def clean(x: str) -> str:
            return x.strip() if how == "strip" else x.rstrip().lstrip()

        @tensorlake_function()
        def costly(x: str) -> int:
            notes.add(x)
            return len(x)

        return Graph("cut", spread).add_edge(spread, clean).add_edge(clean, costly)

    graph("strip").run(items=[" a ", "b"])
    run = graph("other").run(items=[" a ", "b"])

    assert (counted(run, "clean"), counted(run, "costly")) == ((2, 0), (0, 2))
    assert sorted(notes.all()) == ["a", "b"]


def test_what_is_not_cacheable_is_replayed_in_its_own_run_only(notes: Notes) -> None:
    graph = pipeline(notes, cacheable=False)
    first = graph.run(items=[1, 2])
    graph.run(items=[1, 2])
    assert sorted(notes.take()) == ["1", "1", "2", "2"]

    resumed = Run.open(first.id).resume()

    assert notes.all() == []
    assert resumed.result() == 30


def test_a_version_stands_for_the_code(notes: Notes) -> None:
    def graph(version: str, factor: int) -> Graph:
        @tensorlake_function(version=version)
        def step(x: int) -> int:
            notes.add(x)
            return x * factor

        return Graph("versioned", spread).add_edge(spread, step)

    assert graph("1", 2).run(items=[1]).output("step") == [2]
    assert graph("1", 3).run(items=[1]).output("step") == [2]
    assert graph("2", 3).run(items=[1]).output("step") == [3]
    assert notes.all() == ["1", "1"]


class Point(BaseModel):
    x: int
    y: int = 0


def test_json_values_cross_edges_as_json_does() -> None:
    @tensorlake_function(output_encoder="json")
    def points() -> list[Point]:
        return [Point(x=1), Point(x=2, y=3)]

    @tensorlake_function(input_encoder="json", output_encoder="json")
    def shown(point: Any) -> tuple[str, Any]:
        return type(point).__name__, point

    @tensorlake_function()
    def typed(point: Point) -> int:
        return point.x

    graph = Graph("json", points).add_edges(points, [typed])

    run = graph.run()

    assert run.output("points") == [{"x": 1, "y": 0}, {"x": 2, "y": 3}]
    assert run.output(typed) == [1, 2]
    assert shown.options.output_encoder == "json"


def test_a_model_accumulated_as_json_stays_a_model_from_step_to_step() -> None:
    """Wherever a batch of a fold ends: its accumulator is read back from JSON there."""

    class Sum(BaseModel):
        value: int = 0

    @tensorlake_function(accumulate=Sum, output_encoder="json")
    def summed(acc: Sum, x: int) -> Sum:
        acc.value += x
        return acc

    graph = Graph("json_fold", spread).add_edge(spread, summed)

    assert graph.run(items=[1, 2]).result() == {"value": 3}
    assert graph.run(items=[1, 2, 3]).result() == {"value": 6}


def test_partial_models_kept_as_json_are_merged_as_models() -> None:
    class Sum(BaseModel):
        value: int = 0

    @tensorlake_function(
        accumulate=Sum, output_encoder="json", combine=lambda left, right: Sum(value=left.value + right.value)
    )
    def summed(acc: Sum, x: int) -> Sum:
        acc.value += x
        return acc

    assert Graph("json_tree", spread).add_edge(spread, summed).run(items=list(range(100))).result() == {"value": 4950}


def test_an_async_function_and_a_generator_are_replayed(notes: Notes) -> None:
    @tensorlake_function(max_concurrency=5)
    async def fetch(x: int) -> int:
        notes.add(x)
        return x + 1

    @tensorlake_function()
    def several(x: int):  # type: ignore[no-untyped-def]
        notes.add(f"several {x}")
        yield x
        yield -x

    graph = Graph("kinds", spread).add_edge(spread, fetch).add_edge(fetch, several)
    first = graph.run(items=[1, 2])
    notes.take()

    assert graph.run(items=[1, 2]).output(several) == first.output(several) == [2, -2, 3, -3]
    assert graph.run(items=[2, 1]).output(several) == [3, -3, 2, -2]
    assert notes.all() == []


def test_what_passes_by_is_replayed_after_a_collection_of_all_but_the_run_that_replayed_it(notes: Notes) -> None:
    """Its outputs are those of others, so the function itself has nothing left but the record of its stream."""

    @tensorlake_router()
    def either(x: int) -> list[total]:  # type: ignore[valid-type]
        notes.add(x)
        return [total]

    @tensorlake_function()
    def nothing(x: int) -> None:
        notes.add(x)

    graph = Graph("passing", spread).add_edge(spread, either).route(either, [total]).add_edge(spread, nothing)
    graph.run(items=[1, 2])
    graph.run(items=[1, 2])
    notes.take()

    collect(keep_runs=1, grace=0)

    assert graph.run(items=[1, 2]).output(total) == [3]
    assert notes.all() == []
