"""A decorated function has the parameters and the result of the plain one."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from tensorlake_nb import Function, RouteTo, TensorlakeCompute, tensorlake_function, tensorlake_router


@tensorlake_function
def urls(site: str, n: int = 3) -> list[str]:
    return [site] * n


@tensorlake_function(timeout=30)
async def fetch(url: str) -> bytes:
    return url.encode()


@tensorlake_function(accumulate=int)
def total(so_far: int, page: bytes) -> int:
    return so_far + len(page)


@tensorlake_router
def choose(url: str) -> list[Literal["fetch", "total"]]:
    return ["fetch"] if url else []


@tensorlake_router(next=[fetch])
def forward(url: str) -> Function:
    return fetch


class Tokenize(TensorlakeCompute):
    def run(self, text: str) -> list[str]:
        return text.split()


assert_type(urls("site", n=4), list[str])
assert_type(total(0, b"page"), int)
assert_type(choose("url"), list[Literal["fetch", "total"]])
assert_type(forward("url"), Function)
assert_type(tensorlake_function(timeout=5)(urls)("site"), list[str])
assert_type(tensorlake_function(urls)("site"), list[str])
assert_type(tensorlake_function(len)([]), int)
assert_type(tensorlake_function(Tokenize), Function)
assert_type(tensorlake_function(timeout=5)(Tokenize), Function)

urls(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
urls("site", extra=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
total(0, page="text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
choose()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tensorlake_function(timuot=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
tensorlake_function(next=[urls, 3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
tensorlake_function(3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
tensorlake_router(accumulate=list)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def awaited() -> None:
    assert_type(await fetch("url"), bytes)


def any_function(function: Function, typed: Function[[int], str]) -> None:
    assert_type(function("anything"), Any)
    assert_type(typed(3), str)


def any_options(**options: Any) -> None:
    # either overload may be meant: mypy takes what both give, pyright the plain function
    @tensorlake_function(name="step", **options)  # pyright: ignore[reportUntypedFunctionDecorator]
    def step(x: int) -> int:
        return x

    step(3)


any_function(urls, typed=urls)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@tensorlake_function
def routed(x: int) -> RouteTo[float, Literal["fetch", "total"]]:
    if x == 0:
        return RouteTo(0.5, "nowhere")  # pyright: ignore[reportReturnType]
    if x == 1:
        return RouteTo("text", "fetch")  # type: ignore[arg-type]  # pyright: ignore[reportReturnType]
    if x == 2:
        return RouteTo(0.5, [])
    if x == 3:
        return RouteTo(0.5, [fetch, total])
    if x == 4:
        return RouteTo(0.5, ["fetch", total])
    return RouteTo(0.5, "fetch") if x == 5 else RouteTo(0.5, ["fetch", "total"])


@tensorlake_function(next=[fetch, total])
def routed_by_next(x: int) -> RouteTo[float, Any]:
    return RouteTo(0.5, fetch)


assert_type(RouteTo(0.5, fetch), RouteTo[float, Any])
RouteTo(0.5, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
