"""Random graphs give what a plain interpreter gives, whatever the batches, the order of their ends and lost workers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tensorlake_nb import Graph, GraphError, Retries
from tensorlake_nb.core.keys import one_by_one
from tensorlake_nb.core.planning import batch_sizes as batching
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.engine.calls import loaded as functions
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.cluster.settings import read_settings
from tensorlake_nb.engine.driving.inline import drive_inline
from tensorlake_nb.engine.driving.launch import make_desk_of
from tests.support.reference import (
    KINDS,
    ROUTING,
    JoinRefused,
    NodeSpec,
    interpret,
    make_graph,
    number,
)
from tests.support.shuffled import Weather

Specs = list[NodeSpec]
_stores = count()

LAWS = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@st.composite
def graphs(draw: st.DrawFn) -> Specs:
    start = NodeSpec(draw(st.sampled_from(["several", "generator", "router", "nested", "fold", "named"])), draw(salts))
    specs = [start]
    for position in range(1, draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(KINDS))
        least = 2 if kind == "join" else 1
        earlier = st.integers(0, position - 1)
        parents = draw(st.lists(earlier, min_size=least, max_size=2, unique=True)) if position > 1 else [0]
        if len(parents) < least:
            kind = "number"
        whole = (
            kind not in ("asynchronous", "join", "generator", "async_generator", "fold", "tree")
            and draw(st.integers(0, 3)) == 0
        )
        if any(specs[parent].kind == "routed_items" for parent in parents):
            whole = False  # a list whose items go different ways has no meaning as a whole
        specs.append(NodeSpec(kind, draw(salts), whole, tuple(parents)))
    return specs


salts = st.integers(0, 3)
sizes = st.sampled_from([None, 1, 2, 3])
seeds = st.integers(0, 2**32)
inputs = st.lists(st.integers(0, 4), max_size=6)


@contextmanager
def batches_of(size: int | None) -> Iterator[None]:
    if size is None:
        yield
        return
    with (
        patch.object(batching, "batch_size", lambda ready, *_: max(1, min(ready, size))),
        patch.object(batching, "fold_size", lambda *_: size),
    ):
        yield


class Bench:
    """A session on a store, and runs on it without a cluster."""

    def __init__(self, folder: Path, interval: float = 0.5) -> None:
        self.session = Session(read_settings(store=str(folder), cluster="threads", checkpoint_interval=interval))

    def run(self, graph: Graph, value: Any, weather: Random | None = None, loss: float = 0.0) -> RunState:
        self.drawn = graph._draw_up(self.session, {"x": value})
        return self.drive(weather, loss)

    def drive(self, weather: Random | None = None, loss: float = 0.0) -> RunState:
        """Drive the run that was drawn up last, from its beginning."""
        blueprint, resolver = self.drawn
        self.last_desk = desk = make_desk_of(blueprint, self.session.store(), resolver, self.session)
        state = RunState.fresh(blueprint.plan)
        self.resolver = resolver
        if weather is not None:
            return Weather(state, desk, weather, slots=weather.randint(1, 4), loss=loss).drive()
        drive_inline(state, desk)
        return state

    def outputs(self, state: RunState) -> dict[str, list[Any]]:
        return {
            name: self.session.store().read([s for chunk in node.chunks for s in chunk.spans], self.resolver)
            for name, node in state.nodes.items()
            if not node.plan.is_virtual
        }


@pytest.fixture(autouse=True)
def _fresh_functions() -> Iterator[None]:
    functions.clear()
    yield
    functions.clear()


def valid(specs: Specs, **options: Any) -> Graph:
    graph = make_graph(specs, **options)
    try:
        graph.validate()
    except GraphError:
        assume(False)
    return graph


def expected(specs: Specs, graph: Graph, value: Any) -> dict[str, list[Any]] | None:
    try:
        return interpret(specs, graph.freeze(), value)
    except JoinRefused:
        return None


def check(bench: Bench, state: RunState, wanted: dict[str, list[Any]] | None) -> None:
    if wanted is None:
        assert state.status == "failed"
        assert {failure.kind.value for failure in state.failures} == {"usage"}
        return
    assert (state.status, state.error, state.failures) == ("succeeded", None, [])
    assert bench.outputs(state) == wanted


@LAWS
@given(graphs(), inputs, sizes)
def test_a_run_gives_what_the_graph_means_and_so_does_its_replay(
    tmp_path: Path, specs: Specs, value: list[int], size: int | None
) -> None:
    graph = valid(specs)
    wanted = expected(specs, graph, value)
    bench = Bench(tmp_path / str(next(_stores)))

    with batches_of(size):
        check(bench, bench.run(graph, value), wanted)
        again = bench.run(graph, value)

    check(bench, again, wanted)
    if wanted is not None:
        assert sum(node.computed for node in again.nodes.values()) == 0


@LAWS
@given(graphs(), inputs, sizes, seeds, st.sampled_from([0.0, 0.5]))
def test_neither_order_nor_lost_workers_change_a_result(
    tmp_path: Path, specs: Specs, value: list[int], size: int | None, seed: int, interval: float
) -> None:
    graph = valid(specs, retries=Retries(max_retries=50, initial_delay=0.1, max_delay=0.2))
    wanted = expected(specs, graph, value)
    bench = Bench(tmp_path / str(next(_stores)), interval)

    with batches_of(size):
        state = bench.run(graph, value, Random(seed), loss=0.2)

    check(bench, state, wanted)


@settings(LAWS, max_examples=15)
@given(graphs(), inputs, st.data())
def test_what_is_not_cacheable_is_called_for_each_element_and_once_in_its_run_however_that_is_cut(
    tmp_path: Path, specs: Specs, value: list[int], data: st.DataObject
) -> None:
    cached = data.draw(st.sets(st.integers(0, len(specs) - 1), max_size=len(specs) - 1))
    specs = [replace(spec, cacheable=i in cached) for i, spec in enumerate(specs)]
    graph = valid(specs, retries=Retries(max_retries=50, initial_delay=0.1, max_delay=0.2))
    wanted = expected(specs, graph, value)
    folder = tmp_path / str(next(_stores))
    bench = Bench(folder)

    with batches_of(data.draw(sizes)):
        first = bench.run(graph, value, Random(data.draw(seeds)), loss=data.draw(st.sampled_from([0.0, 0.2])))
    check(bench, first, wanted)
    for name, node in first.nodes.items():
        if node.plan.kind == "map" and int(node.plan.of[1:]) not in cached and wanted is not None:
            given = bench.last_desk.streams.given(
                name, [each for chunk in bench.last_desk.streams.chunks(name) if (each := chunk.slice)]
            )
            assert node.replayed == 0, "an equal element's output was taken"
            assert len(set(one_by_one(given))) == node.computed, "two elements were one call"
    if data.draw(st.booleans()) and (folder / "streams").exists():
        shutil.rmtree(folder / "streams")  # each element is looked up
    functions.clear()
    with batches_of(data.draw(sizes)):
        again = bench.drive(Random(data.draw(seeds)))
    check(bench, again, wanted)
    assert sum(node.computed for node in again.nodes.values()) == 0, "its place changed with the batches"


@LAWS
@given(graphs(), inputs, inputs, seeds)
def test_one_store_serves_all_graphs_and_inputs(
    tmp_path: Path, specs: Specs, value: list[int], other: list[int], seed: int
) -> None:
    """Examples share a store, so that functions of one graph find what those of another have left."""
    graph = valid(specs)
    bench = Bench(tmp_path / "shared")

    for each in (value, [*value, *other], other):
        check(bench, bench.run(graph, each, Random(seed)), expected(specs, graph, each))


@LAWS
@given(graphs(), inputs, sizes, seeds, st.sets(st.integers(0, 6), max_size=2))
def test_what_does_not_depend_on_a_failure_is_finished_and_the_rest_comes_later(
    tmp_path: Path, specs: Specs, value: list[int], size: int | None, seed: int, failing: set[int]
) -> None:
    faults = tmp_path / "faults"
    faults.write_text(" ".join(map(str, failing)))
    graph = valid(specs, faults=str(faults), on_error="continue")
    frozen = graph.freeze()
    try:
        partial = interpret(specs, frozen, value, lambda spec, x: number(x, spec.salt) % 7 in failing)
        wanted = interpret(specs, frozen, value)
    except JoinRefused:
        assume(False)
    bench = Bench(tmp_path / str(next(_stores)))

    with batches_of(size):
        state = bench.run(graph, value, Random(seed))
        assert bench.outputs(state) == partial
        assert state.error is None
        assert (state.status == "failed") == bool(state.failures)
        faults.write_text("")
        check(bench, bench.run(graph, value, Random(seed)), wanted)


def test_routing_kinds_are_kinds() -> None:
    assert set(ROUTING) < set(KINDS)
