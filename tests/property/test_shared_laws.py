"""Runs at the same time on one store: each gives what its graph means, and together they compute each task once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tensorlake_nb import Graph
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.core.planning.events import BatchHeld
from tensorlake_nb.core.planning.instructions import Submit
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.launch import make_desk_of
from tensorlake_nb.engine.worker.execute import execute
from tensorlake_nb.store.claims.meeting import Sharing
from tensorlake_nb.store.owner import this_process
from tensorlake_nb.testing.evidence import committed_twice
from tests.property.test_dataflow_laws import (
    Bench,
    Specs,
    batches_of,
    check,
    expected,
    graphs,
    inputs,
    seeds,
    sizes,
    valid,
)
from tests.support.reference import NodeSpec, make_graph
from tests.support.shuffled import Weather

#: Two folds with the same code, one of which goes on where the other ends.
FOLDS_ALIKE = [
    NodeSpec("generator", 3),
    NodeSpec("fold", 2, parents=(0,)),
    NodeSpec("fold", 2, parents=(0, 1)),
]
_stores = count()


class SharingBench(Bench):
    """Drives runs that take notice of each other."""

    def drawn_up(self, graph: Graph, value: Any) -> Blueprint:
        blueprint, self.resolver = graph._draw_up(self.session, {"x": value})
        return blueprint

    @contextmanager
    def desk(self, blueprint: Blueprint) -> Iterator[Desk]:
        store = self.session.store()
        fingerprints = [call.fingerprint for call in blueprint.calls.values()]
        sharing = Sharing(store, blueprint.run_id, fingerprints, this_process())
        try:
            yield make_desk_of(blueprint, store, self.resolver, self.session, sharing=sharing)
        finally:
            sharing.leave()

    def run_sharing(self, blueprint: Blueprint, weather: Random) -> RunState:
        with self.desk(blueprint) as desk:
            return Weather(RunState.fresh(blueprint.plan), desk, weather, slots=weather.randint(1, 4)).drive()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(graphs(), inputs, st.lists(st.tuples(seeds, inputs), min_size=1, max_size=2), seeds, sizes)
@example(FOLDS_ALIKE, [], [(0, [0]), (1, [0])], 3, None)
def test_runs_that_share_a_store_are_right_and_pay_once(
    tmp_path: Path, specs: Specs, value: list[int], others: list[tuple[int, list[int]]], seed: int, size: int | None
) -> None:
    """Their inputs may have some elements in common, and functions of one run may have the same code."""
    graph = valid(specs)
    bench = SharingBench(tmp_path / str(next(_stores)))
    values = [value, *(other for _, other in others)]

    blueprints = [bench.drawn_up(graph, each) for each in values]
    with batches_of(size), ThreadPoolExecutor(len(values)) as threads:
        states = [*threads.map(bench.run_sharing, blueprints, map(Random, [seed, *(seed for seed, _ in others)]))]

    for state, each in zip(states, values, strict=True):
        check(bench, state, expected(specs, graph, each))
    fingerprints = {name: call.fingerprint for name, call in blueprints[0].calls.items()}
    assert committed_twice(bench.session.store(), fingerprints)[0] == {}


@pytest.mark.parametrize("kind", ["fold", "tree"])
def test_a_fold_of_nothing_is_claimed_as_well(tmp_path: Path, kind: str) -> None:
    """What it starts from may be dear: a loaded model, an index."""
    graph = make_graph([NodeSpec("several", 0), NodeSpec(kind, 0, parents=(0,))])
    bench = SharingBench(tmp_path)
    order = Submit(1, "n1", (), 1, True, 1.0)

    with bench.desk(bench.drawn_up(graph, [])) as first, bench.desk(bench.drawn_up(graph, [])) as second:
        assert first.claim(order, 0.0) is None
        first.batch(order)
        held = claimed_beside(first, second, order)

    assert isinstance(held, BatchHeld)
    assert held.by == (first.run_id,)


def test_a_fold_that_has_nothing_to_take_is_nobodys_until_it_has(tmp_path: Path) -> None:
    """Two runs whose folds wait for what comes before them would else wait for each other."""
    graph = make_graph([NodeSpec("several", 0), NodeSpec("fold", 0, parents=(0,))])
    bench = SharingBench(tmp_path)
    order = Submit(1, "n1", (), 1, True, 1.0)

    with bench.desk(bench.drawn_up(graph, [])) as first, bench.desk(bench.drawn_up(graph, [])) as second:
        assert first.claim(order, 0.0) is None
        batch = first.batch(order)
        assert isinstance(claimed_beside(first, second, order), BatchHeld)
        first.settle(1, execute(batch, lambda _: None, Host(address="first")), 0.0)
        assert claimed_beside(first, second, order) is None
        second.batch(order)
        held = claimed_beside(second, first, order)

    assert isinstance(held, BatchHeld)
    assert held.by == (second.run_id,)


def claimed_beside(first: Desk, second: Desk, order: Submit) -> BatchHeld | None:
    """What comes of a claim of the second run's, while the first goes on answering."""
    with ThreadPoolExecutor(1) as thread:
        first.beat()
        claiming = thread.submit(second.claim, order, 0.0)
        while not claiming.done():
            first.beat()
        return claiming.result()
