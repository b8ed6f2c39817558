"""A graph is wired from decorated functions, classes that are functions, and names of what it has."""

from __future__ import annotations

from typing import assert_type

from tensorlake_nb import Graph, TensorlakeCompute, tensorlake_function, tensorlake_router


@tensorlake_function
def urls(site: str) -> list[str]:
    return [site]


@tensorlake_function
def fetch(url: str) -> bytes:
    return url.encode()


@tensorlake_function(accumulate=int)
def total(so_far: int, page: bytes) -> int:
    return so_far + len(page)


@tensorlake_router(next=["fetch", total])
def choose(url: str) -> str:
    return "fetch"


class Tokenize(TensorlakeCompute):
    def run(self, page: bytes) -> list[bytes]:
        return page.split()


def plain(url: str) -> bytes:
    return url.encode()


class Plain:
    def run(self, page: bytes) -> int:
        return len(page)


graph = Graph("site", start_node=urls)
assert_type(graph.add_edge(urls, fetch).add_edges("fetch", [total, Tokenize]).add_node(Tokenize), Graph)
assert_type(graph.add_edges(urls, (step for step in (fetch, total))).route(choose, [fetch, "total"]), Graph)
assert_type(
    Graph("words", Tokenize).add_edge(Tokenize, total, into="page").route("Tokenize", total).rebind(total), bool
)

Graph("site", "urls")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Graph("site", plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Graph("site", Plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Graph("site", urls, on_error="stop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
graph.add_edge(3, fetch)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
graph.add_edge(urls, plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
graph.add_edge(urls, Tokenize())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
graph.add_edges(urls, [fetch, 3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
graph.add_node(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
graph.route(choose, [plain])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
graph.rebind("total")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
