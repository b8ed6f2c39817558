# annotations here are evaluated, as in most notebooks
from itertools import pairwise
from typing import Any

from tensorlake_nb.core.functions.function import Function, tensorlake_function, tensorlake_router
from tensorlake_nb.core.graphs.builder import GraphBuilder

# mypy: disable-error-code="no-untyped-def, empty-body"


def one(name: str, gives: Any = int, **options: Any) -> Function:
    def f(x): ...

    if gives is not None:
        f.__annotations__["return"] = gives
    return tensorlake_function(name=name, **options)(f)


def many(name: str) -> Function:
    return one(name, list[int])


def unknown(name: str) -> Function:
    return one(name, None)


def fold(name: str) -> Function:
    def f(total, x): ...

    return tensorlake_function(name=name, accumulate=int)(f)


@tensorlake_function()
def join(**sides: int) -> int: ...


def joined(graph: GraphBuilder, **sides: Function) -> tuple[str | None, set[str]]:
    """The ancestor and the broadcast sides of a join that is added to a graph."""
    for into, function in sides.items():
        graph.add_edge(function, join, into=into)
    node = graph.freeze().nodes["join"]
    assert node.joined
    return node.ancestor, set(node.broadcast)


def test_two_branches_of_a_mapped_stream_meet_at_its_elements() -> None:
    docs, title, body = many("docs"), one("title"), one("body")
    graph = GraphBuilder("g", docs).add_edges(docs, [title, body])

    assert joined(graph, a=title, b=body) == ("docs", set())


def test_a_side_may_be_the_ancestor_itself() -> None:
    docs, title = many("docs"), one("title")
    graph = GraphBuilder("g", docs).add_edge(docs, title)

    assert joined(graph, doc=docs, title=title) == ("docs", set())


def test_a_lone_side_is_its_own_ancestor() -> None:
    docs = many("docs")

    assert joined(GraphBuilder("g", docs), doc=docs) == ("docs", set())


def test_branches_of_different_length_meet_where_they_part() -> None:
    docs, a, b, c = many("docs"), one("a"), one("b"), one("c")
    graph = GraphBuilder("g", docs).add_edges(docs, [a, b]).add_edge(b, c)

    assert joined(graph, left=a, right=c) == ("docs", set())


def test_a_single_value_beside_a_map_is_broadcast_to_its_elements() -> None:
    start, config, items, x = one("start"), one("config"), many("items"), one("x")
    graph = GraphBuilder("g", start).add_edges(start, [config, items]).add_edge(items, x)

    assert joined(graph, item=x, config=config) == ("x", {"config"})


def test_a_value_above_the_map_can_be_broadcast_into_it() -> None:
    start, items, x = one("start"), many("items"), one("x")
    graph = GraphBuilder("g", start).add_edge(start, items).add_edge(items, x)

    assert joined(graph, item=x, original=start) == ("x", {"original"})


def test_a_side_that_says_nothing_counts_as_many_beside_a_single_one() -> None:
    start, config, items, x = one("start"), one("config"), unknown("items"), one("x")
    graph = GraphBuilder("g", start).add_edges(start, [config, items]).add_edge(items, x)

    assert joined(graph, item=x, config=config) == ("x", {"config"})


def test_a_side_that_says_nothing_counts_as_single_beside_a_map() -> None:
    start, config, items, x = one("start"), unknown("config"), many("items"), one("x")
    graph = GraphBuilder("g", start).add_edges(start, [config, items]).add_edge(items, x)

    assert joined(graph, item=x, config=config) == ("x", {"config"})


def test_single_values_meet_once_in_a_run() -> None:
    start, a, b = one("start"), one("a"), one("b")
    graph = GraphBuilder("g", start).add_edges(start, [a, b])

    assert joined(graph, left=a, right=b) == ("start", set())


def test_two_reducers_meet_once_in_a_run() -> None:
    docs, total, count = many("docs"), fold("total"), fold("count")
    graph = GraphBuilder("g", docs).add_edges(docs, [total, count])

    assert joined(graph, total=total, count=count) == (None, set())


def test_a_total_is_broadcast_to_the_elements_it_was_folded_from() -> None:
    docs, total = many("docs"), fold("total")
    graph = GraphBuilder("g", docs).add_edge(docs, total)

    assert joined(graph, doc=docs, total=total) == ("docs", {"total"})


def test_three_sides_of_different_ancestors_meet_at_the_nearest_that_all_share() -> None:
    # docs → meta, docs → cleaned → words and cleaned → lines: words and lines meet at cleaned, all three at docs
    docs, meta, cleaned, words, lines = many("docs"), one("meta"), one("cleaned"), one("words"), one("lines")
    graph = GraphBuilder("g", docs).add_edges(docs, [meta, cleaned]).add_edges(cleaned, [words, lines])

    assert joined(graph, meta=meta, words=words, lines=lines) == ("docs", set())


def test_three_sides_of_which_one_is_single_meet_at_the_ancestor_of_the_others() -> None:
    start, config, docs, a, b = one("start"), one("config"), many("docs"), one("a"), one("b")
    graph = GraphBuilder("g", start).add_edges(start, [config, docs]).add_edges(docs, [a, b])

    assert joined(graph, a=a, config=config, b=b) == ("docs", {"config"})


def test_below_a_union_nobody_knows_by_which_parent_an_element_came() -> None:
    docs, a, b, both, other = many("docs"), one("a"), one("b"), one("both"), one("other")
    graph = GraphBuilder("g", docs).add_edges(docs, [a, b, other]).add_edge(a, both).add_edge(b, both)

    assert joined(graph, both=both, other=other) == ("docs", set())


def test_the_arms_of_a_router_meet_at_the_router() -> None:
    docs, small, large, side = many("docs"), one("small"), one("large"), one("side")

    def choose(x: int): ...

    router = tensorlake_router()(choose)
    graph = GraphBuilder("g", docs).add_edge(docs, router).route(router, [small, large]).add_edge(router, side)

    assert joined(graph, small=small, side=side) == ("choose", set())


def test_a_gathered_list_belongs_to_the_call_that_gave_it() -> None:
    def gather(xs: list[int]) -> int: ...

    docs, words, count = many("docs"), many("words"), tensorlake_function(name="count")(gather)
    title = one("title")
    graph = GraphBuilder("g", docs).add_edges(docs, [words, title]).add_edge(words, count)

    assert joined(graph, count=count, title=title) == ("docs", set())


def test_what_comes_after_a_join_belongs_to_the_element_that_its_sides_met_at() -> None:
    def meet(left: int, right: int) -> int: ...

    docs, a, b = many("docs"), one("a"), one("b")
    first, after, beside = tensorlake_function(name="first")(meet), one("after"), one("beside")
    graph = GraphBuilder("g", docs).add_edges(docs, [a, b]).add_edge(a, first, into="left")
    graph.add_edge(b, first, into="right").add_edge(first, after).add_edge(a, beside)

    assert joined(graph, after=after, beside=beside) == ("docs", set())


def test_a_broadcast_value_is_no_ancestor_of_the_rows_it_went_to() -> None:
    def meet(item: int, config: int) -> int: ...

    start, docs = one("start"), many("docs")
    chain = [one(f"c{i}") for i in range(5)]
    first, second = tensorlake_function(name="first")(meet), tensorlake_function(name="second")(meet)
    graph = GraphBuilder("g", start).add_edges(start, [chain[0], docs])
    for earlier, later in pairwise(chain):
        graph.add_edge(earlier, later)
    for row in (first, second):
        graph.add_edge(docs, row, into="item").add_edge(chain[4], row, into="config")

    assert joined(graph, one=first, other=second) == ("docs", set())
