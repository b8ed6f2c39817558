# annotations here are evaluated, as in most notebooks
import json
from typing import Any, List, Union  # noqa: UP035

import cloudpickle
import pytest
from pydantic import BaseModel

from tensorlake_nb.core.functions.function import (
    Function,
    TensorlakeCompute,
    tensorlake_function,
    tensorlake_router,
)
from tensorlake_nb.core.functions.policy import Retries
from tensorlake_nb.core.functions.targets import RouteTo
from tensorlake_nb.core.graphs.builder import Edge, GraphBuilder
from tensorlake_nb.errors import GraphError, OptionError, UsageError

# mypy: disable-error-code="valid-type, no-untyped-def, name-defined, empty-body, type-arg"


@tensorlake_function()
def start(x: int) -> int:
    return x


@tensorlake_function()
def a(x: int) -> int:
    return x


@tensorlake_function()
def b(x: int) -> int:
    return x


@tensorlake_function()
def c(x: int) -> int:
    return x


class Total(BaseModel):
    value: int = 0


@tensorlake_function(accumulate=Total)
def total(total: Total, x: int) -> Total:
    return total


@tensorlake_function()
def handle_error(text: str): ...


@tensorlake_function()
def handle_normal(text: str): ...


@tensorlake_router()
def analyze(text: str) -> List[Union[handle_error, handle_normal]]:  # noqa: UP006, UP007
    return [handle_error]


class Model(TensorlakeCompute):
    def run(self, x: int) -> int:
        return x


def pairs(graph: GraphBuilder) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in graph.edges]


def test_a_pipeline_is_wired_by_its_edges() -> None:
    graph = GraphBuilder(name="pipeline", start_node=start)
    graph.add_edge(start, a)
    graph.add_edge(a, b)

    frozen = graph.freeze()

    assert list(frozen.nodes) == ["start", "a", "b"]
    assert frozen.start == "start"
    assert frozen.nodes["a"].parents == (Edge("start", "a"),)
    assert frozen.nodes["a"].children == (Edge("a", "b"),)
    assert frozen.nodes["b"].function is b


def test_every_method_that_adds_returns_the_graph() -> None:
    graph = GraphBuilder("g", start)

    assert graph.add_node(a).add_edge(start, a).add_edges(a, [b, c]).route(b, [total]).validate() is graph
    assert pairs(graph) == [("start", "a"), ("a", "b"), ("a", "c"), ("b", "total")]


def test_a_router_alone_brings_its_handlers() -> None:
    graph = GraphBuilder("g", analyze)

    assert list(graph.nodes) == ["analyze", "handle_error", "handle_normal"]
    assert [(edge.target, edge.routed) for edge in graph.edges] == [("handle_error", True), ("handle_normal", True)]
    assert graph.freeze().nodes["analyze"].kind == "router"


def test_next_brings_what_it_names_all_the_way_down() -> None:
    second = tensorlake_function(name="second", next=[b, c])(a.call)
    first = tensorlake_function(name="first", next=second)(a.call)

    graph = GraphBuilder("g", first)

    assert pairs(graph) == [("first", "second"), ("second", "b"), ("second", "c")]
    assert all(edge.routed for edge in graph.edges)
    graph.validate()


def test_a_long_chain_of_next_is_followed() -> None:
    function = tensorlake_function(name="last")(a.call)
    for position in range(2000):
        function = tensorlake_function(name=f"step{position}", next=function)(a.call)

    assert len(GraphBuilder("g", function).freeze().nodes) == 2001


def test_a_route_to_annotation_brings_its_targets() -> None:
    @tensorlake_function()
    def decide(x: int) -> RouteTo[int, a | b]: ...

    graph = GraphBuilder("g", decide)

    assert pairs(graph) == [("decide", "a"), ("decide", "b")]
    assert all(edge.routed for edge in graph.edges)


@tensorlake_router()
def to_later(x: int) -> "list[comes_later]": ...  # noqa: F821


def test_a_route_to_a_function_that_is_defined_later_is_followed_once_it_is_there() -> None:
    graph = GraphBuilder("g", to_later)
    with pytest.raises(GraphError, match="'to_later' has a route to 'comes_later', but the graph has no function"):
        graph.validate()

    globals()["comes_later"] = tensorlake_function(name="comes_later")(a.call)
    try:
        assert pairs(graph.validate()) == [("to_later", "comes_later")]
    finally:
        del globals()["comes_later"]


def test_a_route_by_name_leads_to_the_node_of_that_name() -> None:
    jump = tensorlake_function(name="jump", next="elsewhere")(a.call)
    elsewhere = tensorlake_function(name="elsewhere")(b.call)

    graph = GraphBuilder("g", jump).add_node(elsewhere)

    assert pairs(graph.validate()) == [("jump", "elsewhere")]


def test_an_edge_of_a_router_is_one_more_route() -> None:
    graph = GraphBuilder("g", start).add_edge(start, analyze).add_edge(analyze, c)

    routes = [edge.target for edge in graph.edges if edge.source == "analyze"]
    assert sorted(routes) == ["c", "handle_error", "handle_normal"]


def test_an_edge_that_a_declaration_says_too_is_the_same_edge() -> None:
    graph = GraphBuilder("g", analyze).add_edge(analyze, handle_error).route(analyze, [handle_error, handle_normal])

    assert sorted(pairs(graph.validate())) == [("analyze", "handle_error"), ("analyze", "handle_normal")]


def test_routing_a_plain_function_lets_it_choose() -> None:
    graph = GraphBuilder("g", start).route(start, [a, b])

    assert all(edge.routed for edge in graph.validate().edges)


def test_names_of_nodes_stand_for_them() -> None:
    graph = GraphBuilder("g", start).add_edge("start", a).add_edge("a", b)

    assert pairs(graph) == [("start", "a"), ("a", "b")]
    with pytest.raises(GraphError, match=r"there is no node 'strat' \(did you mean 'start'\?\)"):
        graph.add_edge("strat", c)


def test_classes_are_nodes_and_stay_one_node() -> None:
    graph = GraphBuilder("g", start).add_edge(start, Model).add_edge(Model, a)

    assert pairs(graph.validate()) == [("start", "Model"), ("Model", "a")]
    assert graph.nodes["Model"].call is Model


def test_plain_functions_are_told_to_be_decorated() -> None:
    with pytest.raises(UsageError, match=r"is a plain function\. Decorate it with @tensorlake_function"):
        GraphBuilder("g", start).add_edge(start, len)  # type: ignore[arg-type]


def test_graphs_share_functions_and_leave_no_trace_on_them() -> None:
    before = dict(vars(a))
    one = GraphBuilder("one", start).add_edge(start, a).add_edge(a, b)
    other = GraphBuilder("other", a).add_edge(a, c)

    assert pairs(one.validate()) == [("start", "a"), ("a", "b")]
    assert pairs(other.validate()) == [("a", "c")]
    assert vars(a) == before


def test_a_list_is_taken_whole_where_the_child_asks_for_it() -> None:
    @tensorlake_function()
    def numbers(x: int) -> list[int]: ...

    @tensorlake_function()
    def mean(xs: list[int]) -> float: ...

    graph = GraphBuilder("g", numbers).add_edges(numbers, [mean, a])

    assert [(edge.target, edge.whole) for edge in graph.edges] == [("mean", True), ("a", False)]


def test_nodes_are_in_topological_order_and_else_as_declared() -> None:
    graph = GraphBuilder("g", start).add_edges(start, [c, a]).add_edge(a, b).add_edge(c, b).add_edge(start, total)

    assert list(graph.freeze().nodes) == ["start", "c", "a", "b", "total"]
    assert [edge.source for edge in graph.freeze().nodes["b"].parents] == ["a", "c"]


def test_a_frozen_graph_is_not_touched_by_later_changes() -> None:
    graph = GraphBuilder("g", start, tags={"team": "x"}).add_edge(start, a)
    frozen = graph.freeze()

    graph.add_edge(a, b)
    graph.tags["team"] = "y"

    assert list(frozen.nodes) == ["start", "a"]
    assert frozen.tags == {"team": "x"}


def test_a_frozen_graph_travels() -> None:
    frozen = GraphBuilder("g", analyze, retries=Retries(max_retries=2)).freeze()

    back = cloudpickle.loads(cloudpickle.dumps(frozen))

    assert list(back.nodes) == list(frozen.nodes)
    assert back.retries == Retries(max_retries=2)


def test_the_definition_is_plain_data() -> None:
    graph = GraphBuilder("g", start, description="d", tags={"k": "v"}, version="1").add_edge(start, total)

    definition = json.loads(json.dumps(graph.definition()))

    assert definition["name"] == "g"
    assert definition["start_node"] == "start"
    assert (definition["description"], definition["tags"], definition["version"]) == ("d", {"k": "v"}, "1")
    assert definition["nodes"]["total"] == {"kind": "reducer", "description": "", "options": {"accumulate": "Total"}}
    assert definition["edges"] == [
        {"source": "start", "target": "total", "into": None, "whole": False, "routed": False}
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "a b"}, "Graph: name 'a b' isn't allowed"),
        ({"name": ""}, "Graph: name '' isn't allowed"),
        ({"name": "../x"}, "Graph: name '../x' isn't allowed"),
        ({"name": ".."}, "Graph: name '..' isn't allowed"),
        ({"name": "x" * 201}, "has 201 characters"),
        ({"version": "1/2"}, "version '1/2' isn't allowed"),
        ({"tags": {"k": 1}}, "tags={'k': 1} isn't allowed"),
        ({"retries": "3"}, "retries='3' isn't allowed"),
        ({"on_error": "ignore"}, "on_error='ignore' isn't allowed"),
    ],
)
def test_a_bad_option_of_a_graph_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        GraphBuilder(**{"name": "g", "start_node": start, **options})

    assert said in str(caught.value)


@pytest.mark.parametrize("into", ["", "two words", 3])
def test_into_is_the_name_of_a_parameter(into: Any) -> None:
    with pytest.raises(OptionError, match="Give the name of a parameter"):
        GraphBuilder("g", start).add_edge(start, a, into=into)


# cells that run again


def notebook() -> dict[str, Any]:
    return {
        "__name__": "__main__",
        "tensorlake_function": tensorlake_function,
        "tensorlake_router": tensorlake_router,
    }


def run_cell(source: str, cells: dict[str, Any]) -> None:
    exec(source, cells)


FIRST = "@tensorlake_function()\ndef first(x: int) -> int: return x"
SECOND = "@tensorlake_function()\ndef second(x: int) -> int: return x"
ROUTE = "@tensorlake_router()\ndef route(x: int) -> first | second: return first"
ROUTE_FIRST = "@tensorlake_router()\ndef route(x: int) -> list[first]: return first"


@pytest.fixture
def cells() -> dict[str, Any]:
    cells = notebook()
    for source in (FIRST, SECOND, ROUTE):
        run_cell(source, cells)
    return cells


def test_a_redefined_function_takes_its_place_when_it_is_wired_again(cells: dict[str, Any]) -> None:
    graph = GraphBuilder("g", cells["first"]).add_edge(cells["first"], cells["second"])

    run_cell(FIRST, cells)
    graph.add_edge(cells["first"], cells["second"])

    assert graph.validate().nodes["first"] is cells["first"]
    assert pairs(graph) == [("first", "second")]


def test_an_edge_of_a_function_that_was_not_redefined_is_a_duplicate(cells: dict[str, Any]) -> None:
    graph = GraphBuilder("g", cells["first"])
    graph.add_edge(cells["first"], cells["second"]).add_edge(cells["first"], cells["second"])

    with pytest.raises(GraphError, match="the edge 'first' → 'second' is declared twice"):
        graph.validate()


def test_rebinding_replaces_a_node_and_keeps_its_edges(cells: dict[str, Any]) -> None:
    graph = GraphBuilder("g", cells["first"]).add_edge(cells["first"], cells["second"])

    run_cell(SECOND, cells)

    assert graph.rebind(cells["second"])
    assert graph.nodes["second"] is cells["second"]
    assert pairs(graph.validate()) == [("first", "second")]


def test_rebinding_says_whether_the_graph_holds_the_function(cells: dict[str, Any]) -> None:
    graph = GraphBuilder("g", cells["first"])
    old = cells["first"]
    assert graph.rebind(old)
    assert not graph.rebind(cells["second"])
    assert not graph.rebind(tensorlake_function(name="first")(a.call))

    run_cell(FIRST, cells)
    assert graph.rebind(cells["first"])
    assert not graph.rebind(old)
    assert graph.nodes["first"] is cells["first"]


def test_a_redefined_handler_is_the_one_that_its_router_leads_to(cells: dict[str, Any]) -> None:
    graph = GraphBuilder("g", cells["route"])

    run_cell(FIRST, cells)

    assert graph.nodes["first"] is cells["first"]
    assert graph.rebind(cells["first"])


def test_a_router_that_no_longer_leads_somewhere_takes_the_node_away(cells: dict[str, Any]) -> None:
    graph = GraphBuilder("g", cells["route"])

    run_cell(ROUTE_FIRST, cells)
    graph.rebind(cells["route"])

    assert list(graph.validate().nodes) == ["route", "first"]


def test_another_function_of_the_same_name_is_refused_when_it_is_added() -> None:
    impostor = tensorlake_function(name="a")(b.call)

    with pytest.raises(GraphError) as caught:
        GraphBuilder("g", start).add_edge(start, a).add_edge(a, impostor)

    assert "two functions are called 'a'" in str(caught.value)
    assert f"{__name__}.a and {__name__}.b. Give one of them another name=." in str(caught.value)


def test_another_function_of_the_same_name_is_refused_when_a_route_leads_to_it() -> None:
    impostor = tensorlake_function(name="a")(b.call)
    router = tensorlake_function(name="router", next=[impostor])(c.call)

    with pytest.raises(GraphError, match="two functions are called 'a'"):
        GraphBuilder("g", start).add_edge(start, a).add_edge(a, router).validate()


def test_decorating_again_under_the_same_name_is_a_redefinition() -> None:
    slower = tensorlake_function(timeout=900)(a)
    graph = GraphBuilder("g", start).add_edge(start, a).add_node(slower)

    assert graph.nodes["a"] is slower


def test_an_earlier_definition_does_not_push_out_a_later_one(cells: dict[str, Any]) -> None:
    old: Function = cells["first"]
    graph = GraphBuilder("g", old)
    run_cell(FIRST, cells)
    graph.rebind(cells["first"])

    graph.add_edge(old, cells["second"])

    assert graph.nodes["first"] is cells["first"]
