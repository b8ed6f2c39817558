# annotations here are evaluated, as in most notebooks; the quoted ones stand for those with `from __future__`
from typing import Any, List, Literal, Optional, Union  # noqa: UP035

import pytest

from tensorlake_nb.core.functions.function import (
    Function,
    TensorlakeCompute,
    tensorlake_function,
    tensorlake_router,
)
from tensorlake_nb.core.functions.targets import RouteTo
from tensorlake_nb.core.graphs.routes import declared_routes, declared_targets, may_choose, replaces

# mypy knows no functions in annotations
# mypy: disable-error-code="valid-type, no-untyped-def, type-arg, name-defined, misc, empty-body"


@tensorlake_function()
def left(x: int): ...


@tensorlake_function(name="right-hand")
def right(x: int): ...


class Model(TensorlakeCompute):
    def run(self, x: int) -> int:
        return x


@tensorlake_router()
def by_union(x: int) -> List[Union[left, right]]: ...  # noqa: UP006, UP007


@tensorlake_router()
def by_bar(x: int) -> list[left | right]: ...


@tensorlake_router()
def by_one(x: int) -> left: ...


@tensorlake_router()
def by_optional(x: int) -> Optional[Union[left, Model]]: ...  # noqa: UP007, UP045


@tensorlake_router()
def by_tuple(x: int) -> tuple[left, right]: ...


@tensorlake_router()
def by_text(x: int) -> "List[Union[left, right]]": ...  # noqa: UP006, UP007


@tensorlake_router()
def by_texts(x: int) -> List[Union["left", "right"]]: ...  # noqa: UP006


@tensorlake_router()
def by_text_in_builtin(x: int) -> list["left | right"]: ...


@tensorlake_router()
def by_literal(x: int) -> list[Literal["left", "right-hand"]]: ...


@tensorlake_function()
def by_route_to(x: int) -> RouteTo[int, left | right]: ...


@tensorlake_function()
def by_route_to_texts(x: int) -> RouteTo["int", "left | right"]: ...


@tensorlake_function()
def by_route_to_list(x: int) -> RouteTo[int, [left, right]]: ...


@tensorlake_function()
def by_route_to_or_none(x: int) -> RouteTo[int, left | right] | None: ...


@tensorlake_function(next=[left, right])
def by_next(x: int) -> int: ...


@tensorlake_function(next="left")
def by_name(x: int) -> int: ...


@pytest.mark.parametrize(
    "router",
    [
        by_union,
        by_bar,
        by_tuple,
        by_text,
        by_texts,
        by_text_in_builtin,
        by_literal,
        by_route_to,
        by_route_to_texts,
        by_route_to_list,
        by_route_to_or_none,
        by_next,
    ],
    ids=lambda router: router.name,
)
def test_routes_are_read_from_every_way_to_declare_them(router: Function) -> None:
    assert declared_routes(router) == ("left", "right-hand")
    assert may_choose(router)


def test_one_target_needs_no_list() -> None:
    assert declared_routes(by_one) == ("left",)
    assert declared_routes(by_name) == ("left",)
    assert declared_targets(by_name) == (left,)
    assert declared_routes(by_optional) == ("left", "Model")


@tensorlake_router()
def to_later(x: int) -> "list[left | defined_later | nowhere.found]": ...  # noqa: F821


@tensorlake_function()
def defined_later(x: int): ...


def test_a_name_that_is_defined_later_is_found_when_it_is_there() -> None:
    assert declared_targets(to_later) == (left, defined_later, "found")


def test_names_can_be_given_that_count_first() -> None:
    assert declared_routes(to_later, {"defined_later": right}) == ("left", "right-hand", "found")


@tensorlake_router()
def says_nothing(x: int): ...


@tensorlake_router()
def says_list(x: int) -> list: ...


@tensorlake_router()
def says_names(x: int) -> list[str]: ...


@tensorlake_router()
def says_any_function(x: int) -> "List[TensorlakeCompute]": ...  # noqa: UP006


@tensorlake_function()
def returns_no_route(x: int) -> "list[int] | None": ...


@pytest.mark.parametrize("router", [says_nothing, says_list, says_names, says_any_function, returns_no_route])
def test_an_annotation_without_functions_declares_no_routes(router: Function) -> None:
    assert declared_routes(router) is None


def test_only_routers_and_functions_with_routes_choose_among_their_edges() -> None:
    def bare_route_to(x: int) -> RouteTo: ...

    assert may_choose(says_nothing)
    assert may_choose(tensorlake_function()(bare_route_to))
    assert not may_choose(returns_no_route)
    assert not may_choose(left)


def test_an_empty_next_declares_that_there_are_no_routes() -> None:
    assert declared_routes(tensorlake_function(next=[])(lambda_like)) == ()


def lambda_like(x: int) -> int:
    return x


def test_an_annotation_names_with_next_what_next_does_not() -> None:
    def both(x: int) -> RouteTo[int, right]: ...

    assert declared_routes(tensorlake_function(next=[left])(both)) == ("left", "right-hand")


def test_handlers_of_an_enclosing_function_are_seen_through_the_closure() -> None:
    @tensorlake_function()
    def inner(x: int): ...

    @tensorlake_router()
    def router(x: int) -> "list[inner]":
        return [inner]

    assert declared_targets(router) == (inner,)


CELL = """
@tensorlake_function()
def handle(x: int): ...
"""
ROUTER = """
@tensorlake_router()
def route(x: int) -> list[handle]:
    return [handle]
"""


def test_a_route_leads_to_the_function_that_its_name_means_now() -> None:
    notebook: dict[str, Any] = {
        "__name__": "__main__",
        "tensorlake_function": tensorlake_function,
        "tensorlake_router": tensorlake_router,
    }
    exec(CELL + ROUTER, notebook)
    first = notebook["handle"]
    assert declared_targets(notebook["route"]) == (first,)

    exec(CELL, notebook)  # the cell of the handler runs again, that of the router doesn't

    assert notebook["handle"] is not first
    assert replaces(notebook["handle"], first)
    assert declared_targets(notebook["route"]) == (notebook["handle"],)


def test_a_function_from_elsewhere_under_the_same_name_is_no_redefinition() -> None:
    other = tensorlake_function(name="left")(lambda_like)

    assert not replaces(other, left)
