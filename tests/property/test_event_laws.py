"""Laws of events: their JSON says all that they say, and a run's state is what its log adds up to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tensorlake_nb.core.batches.batch import FailureKind, Span
from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.batches.receipt import LogLine
from tensorlake_nb.core.functions.function import tensorlake_function
from tensorlake_nb.core.functions.policy import Retries
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.core.graphs.plan import Plan, plan_graph
from tensorlake_nb.core.planning import events as ev
from tensorlake_nb.core.planning.events import Event, from_json, to_json
from tensorlake_nb.core.planning.evolve import evolve
from tensorlake_nb.core.planning.run_state import RunState
from tests.support.simulation import World

finite = st.floats(allow_nan=False, allow_infinity=False)
#: Lone surrogates too: file names that aren't UTF-8 turn up in what calls print.
texts = st.text(
    st.characters() | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]), max_size=8
)
for kind, strategy in {
    Slice: st.builds(Slice, st.lists(st.integers(0, 2**62), max_size=3).map(tuple), *[st.integers(0, 2**40)] * 3),
    Span: st.builds(Span, texts, st.integers(0, 2**40), st.integers(0, 2**40)),
    LogLine: st.builds(LogLine, st.integers(0, 9), st.sampled_from(["stdout", "stderr", "log", "warning"]), texts),
    float: finite,
    str: texts,
    FailureKind: st.sampled_from(FailureKind),
}.items():
    st.register_type_strategy(kind, strategy)
# Keys are names, which are valid text.
st.register_type_strategy(
    Mapping, lambda kind: st.dictionaries(st.text(max_size=8), st.from_type(get_args(kind)[1]), max_size=3)
)


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=20, phases=[Phase.generate])
def test_an_event_is_the_same_after_its_way_through_json(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(st.from_type(kind))

    assert from_json(json.loads(json.dumps(to_json(event)))) == event


@tensorlake_function()
def items() -> Any:
    return []


@tensorlake_function()
def work(x: Any) -> Any:
    return x


@tensorlake_function()
def side(x: Any) -> Any:
    return x


@tensorlake_function(accumulate=int)
def total(t: int, x: Any) -> int:
    return t


@tensorlake_function(accumulate=int, combine=lambda a, b: a + b)
def merged(t: int, x: Any) -> int:
    return t


class Recorded(World):
    """A simulated run that keeps its events, and looks at its own state often."""

    def record(self, event: Event) -> None:
        self.log = [*getattr(self, "log", []), to_json(event)]


def plan(**options: Any) -> Plan:
    graph = GraphBuilder(name="g", start_node=items, **options)
    graph.add_edges(items, [work, side]).add_edge(work, total).add_edge(side, merged)
    return plan_graph(graph.freeze())


def folded(a_plan: Plan, log: list[dict[str, Any]]) -> RunState:
    state = RunState.fresh(a_plan)
    for plain in log:
        evolve(state, from_json(json.loads(json.dumps(plain))))
    return state


def told(state: RunState) -> dict[str, Any]:
    """All of a state, as comparable data."""
    nodes = {}
    for name, node in state.nodes.items():
        fields = {field: getattr(node, field) for field in node.__slots__ if field not in ("chunks", "open")}
        nodes[name] = {**fields, "chunks": [*node.chunks], "open": (node.open.lowest(), bool(node.open))}
    return {"nodes": nodes, "status": state.status, "error": state.error, "batches": state.batches}


@given(
    st.integers(0, 2**32),
    st.integers(0, 60),
    st.sampled_from(["fail", "continue"]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([0.0, 0.02]),
    st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=25)
def test_a_log_folded_again_from_json_gives_the_state_of_the_run(
    seed: int, size: int, on_error: str, failing: float, dying: float, crowded: float
) -> None:
    a_plan = plan(on_error=on_error, retries=Retries(max_retries=3, initial_delay=0.1))
    world = Recorded(a_plan, seed, workers=2, outputs_of={"items": size}, failing=failing, dying=dying, crowded=crowded)

    state = world.run()

    again = folded(a_plan, world.log)
    assert told(again) == told(state)
    assert told(folded(a_plan, world.log)) == told(again)


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=25)
def test_a_log_that_breaks_off_can_be_gone_on_with(seed: int, data: st.DataObject) -> None:
    a_plan = plan(retries=Retries(max_retries=20, initial_delay=0.1))
    world = Recorded(a_plan, seed, workers=2, outputs_of={"items": 30}, failing=0.05)
    world.run()
    log = world.log[: data.draw(st.integers(1, len(world.log)))]

    resumed = Recorded(a_plan, seed + 1, workers=2, outputs_of={"items": 30}, failing=0.05)
    resumed.state = folded(a_plan, log)
    before = resumed.state.batches
    resumed.run()

    assert resumed.state.status == "succeeded", resumed.state.error
    assert resumed.state.nodes["total"].folded == 30
    numbers = [event["number"] for event in resumed.log if event["type"] == "batch_submitted"]
    assert min(numbers, default=before) >= before, "a batch of before may still be at work under its number"


def test_every_kind_of_event_has_a_name_of_its_own() -> None:
    names = [kind.__dataclass_fields__["type"].default for kind in get_args(Event)]

    assert len(set(names)) == len(names) == 19
    assert ev.RunStarted("r", 0.0).type == "run_started"
