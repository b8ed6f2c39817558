# annotations here are evaluated, as in most notebooks
from collections.abc import Iterator
from typing import Any, TypedDict

import pytest

from tensorlake_nb.core.functions.function import Function, tensorlake_function, tensorlake_router
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.errors import GraphError

# mypy: disable-error-code="no-untyped-def, empty-body, type-arg"


class Keys(TypedDict):
    left: int
    right: int


def function(name: str, **annotations: Any) -> Function:
    """A function with parameters so annotated; ``gives`` is what it returns."""
    gives = annotations.pop("gives", None)
    source = f"def {name}({', '.join(annotations)}): ..."
    scope: dict[str, Any] = {}
    exec(source, scope)
    scope[name].__annotations__.update(annotations, **({} if gives is None else {"return": gives}))
    return tensorlake_function()(scope[name])


start = function("start", x=int, gives=int)
a = function("a", x=int, gives=int)
b = function("b", x=int, gives=int)
c = function("c", x=int, gives=int)


def problems(graph: GraphBuilder) -> tuple[str, ...]:
    with pytest.raises(GraphError) as caught:
        graph.validate()
    return caught.value.problems


def binds(parent: Function, child: Function) -> str | None:
    try:
        GraphBuilder("g", parent).add_edge(parent, child).validate()
    except GraphError as error:
        (problem,) = error.problems
        return problem
    return None


def test_a_node_that_nothing_leads_to_is_named() -> None:
    assert problems(GraphBuilder("g", start).add_edge(a, b)) == (
        "'a' can't be reached from the start node 'start'. Add an edge that leads to it.",
        "'b' can't be reached from the start node 'start'. Add an edge that leads to it.",
    )


def test_an_unknown_route_is_told_with_the_closest_name() -> None:
    router = tensorlake_function(name="router", next=["handel"])(a.call)
    handle = tensorlake_function(name="handle")(b.call)

    (unknown, unreached) = problems(GraphBuilder("g", router).add_node(handle))

    assert unknown.startswith(
        "'router' has a route to 'handel', but the graph has no function of that name (did you mean"
    )
    assert unreached.startswith("'handle' can't be reached")


@pytest.mark.parametrize(("next_", "is_refused"), [([a], True), ([a, b], False), (["b"], False), ([], True)])
def test_a_router_whose_annotation_contradicts_its_next_is_refused(next_: Any, is_refused: bool) -> None:
    def chosen(x: int) -> list[b]:  # type: ignore[valid-type]
        return [b]

    builder = GraphBuilder("g", tensorlake_router(name="router", next=next_)(chosen)).add_node(a).add_node(c)

    found = [each for each in problems(builder) if "is annotated" in each]  # 'c' can't be reached in any case
    assert bool(found) is is_refused
    for each in found:
        assert each.startswith("router 'router' is annotated with 'b', but its next= names ")


def test_a_router_without_routes_is_told_how_to_declare_them() -> None:
    router = tensorlake_router(name="router")(a.call)

    (problem,) = problems(GraphBuilder("g", router))

    assert problem.startswith("router 'router' has no routes. Annotate it with the functions that it returns")
    GraphBuilder("g", router).route(router, [b]).validate()
    GraphBuilder("g", tensorlake_router(name="router", next=[])(a.call)).validate()


def test_a_cycle_is_named_by_its_nodes() -> None:
    graph = GraphBuilder("g", start).add_edge(start, a).add_edge(a, b).add_edge(b, c).add_edge(c, a)

    assert problems(graph) == ("'a' → 'b' → 'c' → 'a' is a cycle, and a graph has to end. Remove one of these edges.",)


def test_a_function_that_feeds_itself_is_a_cycle() -> None:
    assert problems(GraphBuilder("g", start).add_edge(start, a).add_edge(a, a)) == (
        "'a' → 'a' is a cycle, and a graph has to end. Remove one of these edges.",
    )


def test_a_cycle_is_found_above_what_hangs_below_it() -> None:
    graph = GraphBuilder("g", start).add_edge(start, c).add_edge(a, b).add_edge(b, a).add_edge(start, a).add_edge(b, c)

    (problem,) = problems(graph)

    assert problem.startswith(("'a' → 'b' → 'a'", "'b' → 'a' → 'b'"))


def test_the_start_node_has_no_parents() -> None:
    assert problems(GraphBuilder("g", start).add_edge(start, a).add_edge(a, start)) == (
        "an edge leads into the start node 'start', from 'a'. Remove it, or start the graph elsewhere.",
    )


def test_an_edge_beyond_next_is_dead() -> None:
    jump = tensorlake_function(name="jump", next=[a])(start.call)

    (problem,) = problems(GraphBuilder("g", jump).add_edge(jump, b))

    assert problem == (
        "the edge 'jump' → 'b' would never be taken, because 'jump' goes on to next='a' only. "
        "Add b to next=, or remove the edge."
    )


def test_an_edge_that_next_names_or_a_route_declares_is_alive() -> None:
    jump = tensorlake_function(name="jump", next=[a])(start.call)

    GraphBuilder("g", jump).add_edge(jump, a).validate()
    GraphBuilder("g", jump).route(jump, [b]).validate()


def test_a_child_without_parameters_takes_nothing() -> None:
    assert binds(start, function("nothing")) == (
        "nothing() takes no value, but 'start' gives some. Add a parameter, or remove the edge."
    )


def test_a_child_with_more_required_parameters_than_one_value_fills_cannot_bind() -> None:
    assert binds(start, function("two", x=int, y=int)) == (
        "'start' → 'two' can't bind: two(x: int, y: int) gets one int at a time, which leaves nothing for 'y'. "
        "Return a tuple or a dict."
    )


def test_a_child_that_gathers_below_a_scalar_is_told_of_reducers() -> None:
    problem = binds(start, function("mean", xs=list[int]))

    assert problem == (
        "'start' → 'mean' can't bind: mean(xs: list[int]) takes a list, but gets one int at a time. To gather a "
        "stream, make it a reducer (accumulate=...); to be called once per element, annotate xs: int."
    )


@pytest.mark.parametrize(
    ("gives", "child"),
    [
        (list[int], function("child", xs=list[int])),
        (list[list[int]], function("child", xs=list[int])),
        (int, function("child", x=str)),  # types are the functions' own affair
        (None, function("child", x=int, y=int)),
        (Any, function("child", x=int, y=int)),
        (int | dict, function("child", x=int, y=int)),
        (dict, function("child", x=int, y=int)),
        (tuple, function("child", x=int, y=int)),
        (tuple[int, int], function("child", x=int, y=int)),
        (tuple[int, ...], function("child", x=int, y=int)),
        (list[tuple[int, int]], function("child", x=int, y=int)),
        (Iterator[int], function("child", x=int)),
        (Keys, function("child", left=int, right=int)),
        (Keys, function("child", record=dict)),
        ("not_defined", function("child", x=int, y=int)),
        (object, function("child", xs=list[int])),
    ],
    ids=str,
)
def test_what_may_bind_is_not_refused(gives: Any, child: Function) -> None:
    assert binds(function("parent", x=int, gives=gives), child) is None


@pytest.mark.parametrize(
    ("gives", "child", "said"),
    [
        (list[int], function("child", x=int, y=int), "gets one int at a time, which leaves nothing for 'y'"),
        (int | str, function("child", x=int, y=int), "gets one int at a time"),
        (tuple[int, int], function("child", x=int), "gets tuples of 2 by position, which it can't take"),
        (tuple[int], function("child", x=int, y=int), "gets tuples of 1 by position"),
        (Keys, function("child", left=int), "child(left: int) has no parameter for 'right' of Keys"),
        (list[Keys], function("child", left=int, right=int, top=int), "needs 'top', which Keys doesn't have"),
    ],
    ids=str,
)
def test_what_surely_cannot_bind_is_refused(gives: Any, child: Function, said: str) -> None:
    problem = binds(function("parent", x=int, gives=gives), child)

    assert problem is not None
    assert said in problem


def test_what_a_router_passes_on_is_its_input() -> None:
    router = tensorlake_router(name="router")(function("router", x=int).call)

    problem = binds(router, function("two", x=int, y=int))

    assert problem is not None
    assert "gets one int at a time" in problem


join = function("join", left=int, right=int)


def test_every_edge_into_a_join_says_into_what() -> None:
    graph = GraphBuilder("g", start).add_edges(start, [a, b])
    graph.add_edge(a, join, into="left").add_edge(b, join)

    assert problems(graph) == (
        "'join' is a join of 'a', but the edge from 'b' doesn't say into which parameter. "
        "Give every edge into it an into=, or none.",
    )


def test_into_names_a_parameter_and_every_parameter_is_fed_once() -> None:
    graph = GraphBuilder("g", start).add_edges(start, [a, b, c])
    graph.add_edge(a, join, into="left").add_edge(b, join, into="left").add_edge(c, join, into="rigth")

    assert problems(graph) == (
        "'a' and 'b' both go into 'left' of 'join'. "
        "Give them parameters of their own, or unite them in a node before it.",
        "the edge 'c' → 'join' goes into 'rigth', "
        "which join(left: int, right: int) doesn't have (did you mean 'right'?).",
        "no edge goes into 'right' of join(left: int, right: int). Add one for each, or give it a default.",
    )


def test_one_node_may_feed_two_parameters() -> None:
    graph = GraphBuilder("g", start).add_edge(start, join, into="left").add_edge(start, join, into="right")

    assert graph.freeze().nodes["join"].ancestor == "start"


def test_a_joins_defaults_need_no_edge() -> None:
    @tensorlake_function()
    def join(left: int, right: int = 0, **others: int): ...

    GraphBuilder("g", start).add_edge(start, join, into="left").add_edge(start, join, into="more").validate()


def test_two_maps_below_one_element_cannot_be_joined() -> None:
    many = function("many", x=int, gives=list[int])
    also_many = function("also_many", x=int, gives=list[int])
    graph = GraphBuilder("g", start).add_edges(start, [many, also_many])
    graph.add_edge(many, join, into="left").add_edge(also_many, join, into="right")

    (problem,) = problems(graph)

    assert problem == (
        "the sides of 'join' can't be matched: 'left', 'right' have several values for one element of 'start', the "
        "nearest that the sides share. Reduce such a side to one value first, or join it further up."
    )


def test_all_problems_come_in_one_message() -> None:
    graph = GraphBuilder("g", start).add_edge(start, a).add_edge(start, a)
    graph.add_edge(a, function("nothing")).add_node(b).add_edge(a, function("mean", xs=list[int]))

    with pytest.raises(GraphError) as caught:
        graph.freeze()

    assert len(caught.value.problems) == 4
    assert str(caught.value).startswith("graph 'g' has 4 problems:\n  - the edge 'start' → 'a' is declared twice.")
