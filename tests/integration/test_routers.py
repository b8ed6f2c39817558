"""Routers and RouteTo: who is called, with what, and what a route that doesn't exist says."""

from __future__ import annotations

from typing import Any, List, Union  # noqa: UP035 - as users write it

import pytest

from tensorlake_nb import Graph, RouteTo, TaskFailedError, tensorlake_function, tensorlake_router


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


@tensorlake_function()
def small(x: int) -> str:
    return f"small {x}"


@tensorlake_function()
def large(x: int) -> str:
    return f"large {x}"


def _pick(x: int) -> list[Any]:
    return [small] if x < 10 else [large] if x < 100 else [small, large] if x < 1000 else []


@tensorlake_router()
def with_typing(x: int) -> List[Union[small, large]]:  # type: ignore[valid-type]  # noqa: UP006, UP007
    return _pick(x)


@tensorlake_router
def with_bars(x: int) -> list[small | large]:  # type: ignore[valid-type]
    return _pick(x)


@tensorlake_router()
def with_union(x: int) -> Union[small, large]:  # type: ignore[valid-type]  # noqa: UP007
    return small if x < 10 else large if x < 100 else _pick(x)


@tensorlake_router()
def with_text(x: int) -> "List[Union[small, large]]":  # type: ignore[valid-type]  # noqa: UP006, UP007, UP037
    return _pick(x)


@tensorlake_router(next=[small, large])
def with_next(x: int):  # type: ignore[no-untyped-def]
    return _pick(x)


@tensorlake_router()
def with_names(x: int):  # type: ignore[no-untyped-def]
    return [each.name for each in _pick(x)]


@pytest.mark.parametrize("router", [with_typing, with_bars, with_union, with_text, with_next, with_names])
def test_routes_are_declared_in_many_ways(router: Any) -> None:
    graph = Graph("routes", spread).add_edge(spread, router)
    if router is with_names:
        graph.route(router, [small, large])

    run = graph.run(items=[1, 50, 500, 5000, 2])

    assert run.output(small) == ["small 1", "small 500", "small 2"]
    assert run.output(large) == ["large 50", "large 500"]
    assert run.counts(small)["computed"] == 3


def test_edges_declare_the_routes_of_a_router_without_any() -> None:
    @tensorlake_router()
    def bare(x: int):  # type: ignore[no-untyped-def]
        return _pick(x)

    run = Graph("edges", spread).add_edge(spread, bare).add_edges(bare, [small, large]).run(items=[1, 50])

    assert (run.output(small), run.output(large)) == (["small 1"], ["large 50"])


def test_a_router_can_start_a_graph_and_passes_its_input_on() -> None:
    run = Graph("start", with_typing).run(x=500)

    assert (run.output(small), run.output(large)) == (["small 500"], ["large 500"])
    assert run.output(with_typing) == [500]


def test_a_router_changes_nothing_that_it_passes_on() -> None:
    @tensorlake_function()
    def keep(x: list[int]) -> str:
        return repr(x)

    @tensorlake_router(next=[keep])
    def spoil(x: list[int]):  # type: ignore[no-untyped-def]
        x.append(99)
        return keep

    run = Graph("spoil", spoil).run(x=[1, 2])

    assert run.output(keep) == ["[1, 2]"]


def test_a_router_can_lead_to_a_router() -> None:
    @tensorlake_function()
    def other(x: int) -> str:
        return f"other {x}"

    @tensorlake_router(next=[with_typing, other])
    def first(x: int):  # type: ignore[no-untyped-def]
        return with_typing if x >= 0 else other

    run = Graph("routers", spread).add_edge(spread, first).run(items=[1, -1, 50])

    assert run.output(small) == ["small 1"]
    assert run.output(large) == ["large 50"]
    assert run.output(other) == ["other -1"]


def test_route_to_sends_a_value_along_some_routes() -> None:
    @tensorlake_function(next=[small, large])
    def double(x: int) -> RouteTo[int, small | large]:  # type: ignore[valid-type]
        return RouteTo(2 * x, _pick(2 * x))

    graph = Graph("route_to", spread).add_edge(spread, double)

    first = graph.run(items=[1, 40, 400, 4000])
    again = graph.run(items=[1, 40, 400, 4000])

    for run in (first, again):
        assert run.output(double) == [2, 80, 800, 8000]
        assert run.output(small) == ["small 2", "small 800"]
        assert run.output(large) == ["large 80", "large 800"]
    assert again.counts(double)["computed"] == 0


def test_a_branch_ends_where_route_to_names_no_target_and_its_value_stays() -> None:
    @tensorlake_function(next=[small])
    def stop(x: int):  # type: ignore[no-untyped-def]
        return RouteTo(x + 1, [])

    run = Graph("ends", stop).run(x=1)

    assert (run.output(stop), run.output(small)) == ([2], [])
    assert run.status == "succeeded"


def test_a_plain_value_of_a_function_with_routes_goes_everywhere() -> None:
    @tensorlake_function(next=[small, large])
    def plain(x: int):  # type: ignore[no-untyped-def]
        return x

    run = Graph("everywhere", plain).run(x=7)

    assert (run.output(small), run.output(large)) == (["small 7"], ["large 7"])


def test_each_item_of_a_list_can_have_its_own_route() -> None:
    @tensorlake_function(next=[small, large])
    def deal(items: list[int]):  # type: ignore[no-untyped-def]
        return [RouteTo(x, small if x < 10 else large) for x in items]

    run = Graph("dealt", deal).run(items=[1, 20, 3])

    assert (run.output(small), run.output(large)) == (["small 1", "small 3"], ["large 20"])


def test_a_route_that_is_not_declared_is_an_error_that_lists_the_routes() -> None:
    @tensorlake_router(next=[small, large])
    def wrong(x: int):  # type: ignore[no-untyped-def]
        return "tables"

    with pytest.raises(TaskFailedError) as raised:
        Graph("wrong", wrong).run(x=1)

    for part in ("'wrong'", "'tables'", "'small'", "'large'"):
        assert part in str(raised.value)


@pytest.mark.parametrize("made_by", ["router", "route_to"])
def test_another_graph_may_give_the_same_function_other_routes(made_by: str) -> None:
    """Which routes there are is no part of a key: a checkpoint of one graph is read with the routes of another."""
    if made_by == "router":

        @tensorlake_router()
        def choose(x: int):  # type: ignore[no-untyped-def]
            return ["small"]
    else:

        @tensorlake_function()
        def choose(x: int):  # type: ignore[no-untyped-def]
            return x

    one = Graph("one", choose).route(choose, [small])
    two = Graph("two", choose).route(choose, [small, large])

    first, second = one.run(x=3), two.run(x=3)

    assert first.output(small) == ["small 3"]
    assert second.output(small) == ["small 3"]
    assert second.output(large) == ([] if made_by == "router" else ["large 3"])


def test_a_replayed_choice_that_is_no_route_here_is_the_same_error() -> None:
    @tensorlake_router()
    def choose(x: int):  # type: ignore[no-untyped-def]
        return ["small"]

    Graph("one", choose).route(choose, [small]).run(x=3)

    with pytest.raises(TaskFailedError, match="small"):
        Graph("two", choose).route(choose, [large]).run(x=3)


def test_a_plain_value_goes_everywhere_beside_routed_ones_when_it_is_replayed() -> None:
    @tensorlake_function(next=[small, large])
    def some(x: int):  # type: ignore[no-untyped-def]
        return x if x == 7 else RouteTo(x, small)

    graph = Graph("beside", spread).add_edge(spread, some)
    graph.run(items=[7, 8])

    run = graph.run(items=[7, 8, 9])

    assert (run.output(small), run.output(large)) == (["small 7", "small 8", "small 9"], ["large 7"])
    assert run.counts(some)["replayed"] == 2


def test_a_router_passes_on_what_it_is_given_in_each_graph() -> None:
    """By name at the start, a dict that names the parameter or doesn't below a parent: a key stands for one of them."""

    @tensorlake_function()
    def show(x: object) -> str:
        return repr(x)

    @tensorlake_router(next=[show])
    def on(x: object):  # type: ignore[no-untyped-def]
        return show

    @tensorlake_function()
    def dicts() -> list[dict[str, int]]:
        return [{"x": 5}, {"y": 5}]

    at_start = Graph("start", on).run(x=5)
    below = Graph("below", dicts).add_edge(dicts, on).run()
    shown = Graph("shown", show).run(x=5)

    assert at_start.output(show) == shown.output(show) == ["5"]
    assert below.output(show) == ["5", "{'y': 5}"]
    assert Graph("again", on).run(x=5).output(show) == ["5"]


def test_a_router_takes_a_list_whole_in_one_graph_and_as_an_item_in_another() -> None:
    @tensorlake_function()
    def count(x: list[int]) -> int:
        return len(x)

    @tensorlake_router(next=[count])
    def on(x: list[int]):  # type: ignore[no-untyped-def]
        return count

    @tensorlake_function()
    def items() -> list[list[int]]:
        return [[1, 2, 3]]

    @tensorlake_function()
    def whole() -> list[int]:
        return [1, 2, 3]

    @tensorlake_function()
    def more() -> list[list[int]]:
        return [[1, 2, 3], [4]]

    @tensorlake_function()
    def lengths() -> list[int]:
        return [3, 1]

    @tensorlake_function()
    def row(n: int) -> list[int]:
        return list(range(1, n + 1))

    for source, wanted in ((items, [3]), (whole, [3]), (more, [3, 1]), (whole, [3])):
        assert Graph(source.name, source).add_edge(source, on).run().output(count) == wanted
    rows = Graph("rows", lengths).add_edge(lengths, row).add_edge(row, on).run()
    assert (rows.output(on), rows.output(count)) == ([[1, 2, 3], [1]], [3, 1])
