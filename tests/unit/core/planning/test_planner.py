"""The planner on a fake clock: no Dask, no store, no time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.functions.function import tensorlake_function
from tensorlake_nb.core.functions.policy import Retries
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.core.graphs.plan import Plan, plan_graph
from tensorlake_nb.core.planning.events import RunStarted, StopRequested
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.instructions import End, Probe, Submit
from tensorlake_nb.core.planning.planner import next_instructions
from tensorlake_nb.core.planning.run_state import RunState
from tests.support.simulation import World


@tensorlake_function()
def items() -> Any:
    return []


@tensorlake_function()
def work(x: Any) -> Any:
    return x


@tensorlake_function()
def more(x: Any) -> Any:
    return x


@tensorlake_function(accumulate=int)
def total(t: int, x: Any) -> int:
    return t


@tensorlake_function(accumulate=int, combine=lambda a, b: a + b)
def merged(t: int, x: Any) -> int:
    return t


def map_reduce_plan(reducer: Any = total, **options: Any) -> Plan:
    graph = GraphBuilder(name="map_reduce", start_node=items, **options)
    graph.add_edge(items, work).add_edge(work, more).add_edge(more, reducer)
    return plan_graph(graph.freeze())


def test_a_run_begins_by_asking_for_the_whole_stream_of_the_start_node() -> None:
    state = RunState.fresh(map_reduce_plan())
    evolve(state, RunStarted("r", 0.0))

    assert next_instructions(state, 0.0) == (Probe("items", ()),)


def test_each_element_of_a_map_is_called_once() -> None:
    world = World(map_reduce_plan(), seed=1, outputs_of={"items": 1000})

    state = world.run()

    assert state.status == "succeeded"
    assert state.nodes["work"].computed == state.nodes["more"].computed == 1000
    assert state.nodes["total"].folded == 1000
    assert set(world.called.values()) == {1}


def test_the_fold_begins_before_the_map_has_ended() -> None:
    world = World(map_reduce_plan(), seed=1, outputs_of={"items": 2000}, element_s=0.05)

    world.run()

    nodes = [order.node for order in world.instructions if isinstance(order, Submit)]
    last_of_the_map = len(nodes) - 1 - nodes[::-1].index("more")
    assert nodes.index("total") < last_of_the_map


@pytest.mark.parametrize("seed", range(5))
def test_failures_and_lost_workers_cost_attempts_but_no_element(seed: int) -> None:
    plan = map_reduce_plan(retries=Retries(max_retries=20, initial_delay=0.1, max_delay=1.0))
    world = World(plan, seed, outputs_of={"items": 300}, failing=0.05, dying=0.01)

    state = world.run()

    assert state.status == "succeeded", state.error
    assert world.lost > 0
    assert state.nodes["more"].computed == 300
    assert state.nodes["total"].folded == 300


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 64, 65, 1000])
def test_a_combine_tree_folds_every_element_once(size: int) -> None:
    world = World(map_reduce_plan(merged), seed=3, outputs_of={"items": size})

    state = world.run()

    assert state.status == "succeeded", state.error
    assert state.nodes["merged~leaves"].computed == math.ceil(size / 8)
    assert state.nodes["merged~branches"].computed == math.ceil(math.ceil(size / 8) / 8)
    assert state.nodes["merged"].sealed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("crowded", [0.1, 0.7])
def test_what_other_runs_have_claimed_is_waited_for_and_then_taken_over(seed: int, crowded: float) -> None:
    plan = map_reduce_plan(retries=Retries(max_retries=50, initial_delay=0.1))
    world = World(plan, seed, outputs_of={"items": 300}, failing=0.05, dying=0.01, crowded=crowded)

    state = world.run()

    assert state.status == "succeeded", state.error
    for name in ("work", "more"):
        assert state.nodes[name].computed + state.nodes[name].replayed == 300
        assert state.nodes[name].held == []
    assert state.nodes["work"].replayed > 0, "others have computed some of it"
    assert state.nodes["total"].folded == 300
    assert max(world.called.values()) == 1, "nothing is computed twice"
    assert "shared with run another, which computes the same at the same time" in state.nodes["work"].notes


def test_two_simulated_runs_with_the_same_seed_get_the_same_instructions() -> None:
    plan = map_reduce_plan(retries=Retries(max_retries=50, initial_delay=0.1))
    first, second = (World(plan, 7, workers=8, outputs_of={"items": 500}, failing=0.02, dying=0.003) for _ in range(2))

    first.run()
    second.run()

    assert first.instructions == second.instructions


def test_thirty_thousand_elements_with_failures_and_lost_workers_are_planned_in_bounded_steps() -> None:
    plan = map_reduce_plan(retries=Retries(max_retries=50, initial_delay=0.1))
    world = World(plan, 11, workers=16, outputs_of={"items": 30_000}, element_s=0.0005, failing=0.0005, dying=0.0001)

    state = world.run()

    assert state.status == "succeeded", state.error
    assert state.nodes["work"].computed == state.nodes["more"].computed == 30_000
    assert state.nodes["total"].folded == 30_000
    assert world.lost > 0
    assert sum(isinstance(order, Submit) for order in world.instructions) < 2_000


def test_a_failure_without_retries_left_stops_new_work() -> None:
    world = World(map_reduce_plan(), seed=2, outputs_of={"items": 5000}, failing=0.01, element_s=0.01)

    state = world.run()

    assert state.status == "failed"
    assert 0 < state.nodes["work"].computed < 5000
    assert not state.nodes["total"].sealed


def test_with_continue_everything_that_depends_on_no_failure_is_finished() -> None:
    world = World(map_reduce_plan(on_error="continue"), seed=2, outputs_of={"items": 1000}, failing=0.01)

    state = world.run()

    work_, more_ = state.nodes["work"], state.nodes["more"]
    assert state.status == "failed"
    assert work_.computed + work_.n_failed == 1000
    assert more_.computed + more_.n_failed == work_.computed
    assert not state.nodes["total"].sealed, "a reducer never emits a part of its stream"


def test_after_a_cancellation_nothing_is_begun() -> None:
    state = RunState.fresh(map_reduce_plan())
    evolve(state, RunStarted("r", 0.0))

    evolve(state, StopRequested("cancelled"))

    assert next_instructions(state, 0.0) == (End("cancelled"),)


def test_a_retry_waits_for_its_delay_without_holding_a_worker() -> None:
    retries = Retries(max_retries=3, initial_delay=30.0, max_delay=30.0, jitter=0.0)
    graph = GraphBuilder(name="map", start_node=items, retries=retries).add_edge(items, work)
    world = World(plan_graph(graph.freeze()), seed=5, workers=1, outputs_of={"items": 200}, failing=0.1)

    state = world.run()

    assert state.status == "succeeded", state.error
    waits = [order for order in world.instructions if isinstance(order, Submit) and order.attempt > 1]
    assert waits
    assert 30.0 <= world.now < 30.0 * 2 * 3 + 1, "the retries waited side by side"


def waits(world: World, node: str) -> list[float]:
    """How long after the end of one attempt the next one was submitted, of each retry of a node's elements."""
    found: list[float] = []
    ended: dict[object, float] = {}
    for at, order in world.submitted:
        if order.node != node:
            continue
        elements = [piece.order for piece in order.slices]
        if order.attempt > 1:
            found += [at - ended[element] for element in elements]
        ended.update(dict.fromkeys(elements, world.ended_at[order.number]))
    return found


@pytest.mark.parametrize("node", ["work", "total"])
def test_each_retry_waits_exactly_for_its_own_delay(node: str) -> None:
    retries = Retries(max_retries=4, initial_delay=1.0, max_delay=5.0, delay_multiplier=2.0, jitter=0.0)
    graph = GraphBuilder(name="exact", start_node=items, retries=retries).add_edge(items, work).add_edge(work, total)
    world = World(plan_graph(graph.freeze()), seed=1, failing=1.0, failing_at=node)

    state = world.run()

    assert state.status == "failed"
    assert waits(world, node) == pytest.approx([1.0, 2.0, 4.0, 5.0])


def test_jitter_spreads_retries_within_its_bounds() -> None:
    retries = Retries(max_retries=1, initial_delay=10.0, jitter=0.25)
    graph = GraphBuilder(name="spread", start_node=items, retries=retries, on_error="continue").add_edge(items, work)
    plan = plan_graph(graph.freeze())
    world = World(plan, seed=1, outputs_of={"items": 60}, element_s=2.0, failing=1.0, failing_at="work", workers=60)

    world.run()

    found = waits(world, "work")
    assert len(found) == 60
    assert 7.5 <= min(found) < 8.5 < 11.5 < max(found) < 12.5 + 0.01


@pytest.mark.parametrize("every", [3, 40, 200])
def test_no_worker_idles_while_anything_is_ready_in_a_mix_of_quick_and_slow_elements(every: int) -> None:
    graph = GraphBuilder(name="mix", start_node=items).add_edge(items, work)

    def seconds(node: str, position: int) -> float:
        return 2.0 if node == "work" and position % every == 0 else 0.005

    world = World(plan_graph(graph.freeze()), seed=1, outputs_of={"items": 2_000}, seconds_of=seconds)

    state = world.run()

    assert state.status == "succeeded"
    assert all(len(spells) > 2 for spells in world.spells), "every worker had some of it"
    assert world.idle() == []


@pytest.mark.parametrize(("worth_s", "most"), [(0.0, 1_000), (10.0, 12)])
def test_a_fold_waits_for_as_many_elements_as_keeping_its_accumulator_is_worth(worth_s: float, most: int) -> None:
    graph = GraphBuilder(name="wait", start_node=items).add_edge(items, work).add_edge(work, total)
    world = World(
        plan_graph(graph.freeze()),
        seed=1,
        outputs_of={"items": 2_000},
        worth_s=worth_s,
        element_s=0.01,
        seconds_of=lambda node, position: 0.1 if node == "work" else 0.01,
    )

    state = world.run()

    folds = [order for _, order in world.submitted if order.node == "total"]
    assert state.status == "succeeded"
    assert state.nodes["total"].folded == 2_000
    assert (len(folds) > 20) == (worth_s == 0.0)
    assert len(folds) <= most
    assert all(order.budget_s >= worth_s for order in folds[1:])


@pytest.mark.parametrize("worth_s", [0.0, 10.0])
def test_a_fold_whose_keeping_is_dear_tries_each_failing_step_as_often_as_it_may(worth_s: float) -> None:
    retries = Retries(max_retries=2, initial_delay=0.0)
    graph = GraphBuilder(name="tries", start_node=items, retries=retries).add_edge(items, total)
    plan = plan_graph(graph.freeze())
    world = World(plan, seed=3, outputs_of={"items": 500}, worth_s=worth_s, failing=0.02, failing_at="total")

    assert world.run().status == "succeeded"


def test_slices_sort_like_the_streams_that_they_are_cut_from() -> None:
    parent = Slice((0,), 0, 4)
    early, late = parent.cut(0, 2), parent.cut(2, 4)

    assert early.address() < late.address()
    assert Slice((0, *early.address()), 5, 6).order < Slice((0, *late.address()), 0, 1).order


def test_the_number_of_instructions_hardly_grows_with_the_elements() -> None:
    def steps(size: int) -> int:
        world = World(map_reduce_plan(), seed=1, outputs_of={"items": size}, element_s=1e-6)
        world.run()
        return len(world.instructions)

    assert steps(50_000) < 5 * steps(1_000)


def test_the_backlog_is_what_could_be_handed_over_and_a_stopped_run_has_none() -> None:
    state = RunState.fresh(map_reduce_plan())
    evolve(state, RunStarted("r", 0.0))
    state.nodes["work"].n_ready, state.nodes["total"].n_ready = 10, 7
    assert state.backlog == (5.0, 10), "half a second each while nothing is known; a fold takes one worker"

    state.nodes["work"].batch_s, state.nodes["work"].batch_elements = 6.0, 3
    assert state.backlog == (20.0, 10)

    evolve(state, StopRequested("cancelled"))
    assert state.backlog == (0.0, 0)
