"""Find or make the graph that a cell is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.functions.function import as_function
from tensorlake_nb.core.graphs.routes import declared_routes
from tensorlake_nb.core.identifiers import did_you_mean
from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.errors import UsageError
from tensorlake_nb.notebook.namespace.find import Namespace, find_graph, functions_in, graphs_in, has_graph


@dataclass(frozen=True, slots=True)
class Before:
    """The namespace before a cell ran, to find what the cell made."""

    graphs: Mapping[str, int]
    functions: Mapping[str, int]

    @classmethod
    def of(cls, namespace: Namespace) -> Before:
        """Note identities only: nothing is kept alive."""
        return cls(
            {variable: id(graph) for variable, graph in graphs_in(namespace).items()},
            {variable: id(function) for variable, function in functions_in(namespace).items()},
        )

    def new_graphs(self, namespace: Namespace) -> list[Graph]:
        """Graphs that a variable holds now and didn't before."""
        return [graph for name, graph in graphs_in(namespace).items() if self.graphs.get(name) != id(graph)]

    def new_functions(self, namespace: Namespace) -> list[Any]:
        """Functions that a variable holds now and didn't before, in order of the namespace."""
        return [value for name, value in functions_in(namespace).items() if self.functions.get(name) != id(value)]


def graph_of_cell(name: str | None, namespace: Namespace, before: Before) -> Graph:
    """Find the graph that a cell is about, or make it of the cell's functions where only one way is open.

    In this order: the graph of that name, the only graph that the cell made, the graph that begins at the only one of
    the cell's functions that no other declares as a route.

    Raises
    ------
    UsageError
        When no graph or several could be meant.
    """
    new = before.new_graphs(namespace)
    named = [graph for graph in new if graph.name == name]
    if len(named) == 1:
        return named[0]
    if name is not None and not named and has_graph(name, namespace):
        return find_graph(name, namespace)
    if len(new) == 1:
        return new[0]
    if len(new) > 1:
        names = ", ".join(repr(graph.name) for graph in new)
        raise UsageError(f"%%tensorlake: the cell makes {len(new)} graphs ({names}); say which: %%tensorlake NAME")
    return _graph_of_functions(name, before.new_functions(namespace))


def _graph_of_functions(name: str | None, candidates: Iterable[Any]) -> Graph:
    functions = [as_function(candidate) for candidate in candidates]
    if not functions:
        raise UsageError(
            "%%tensorlake: the cell makes no Graph and no function. Make one, or give the name of an existing graph"
        )
    if name is None:
        raise UsageError("%%tensorlake: the cell makes no Graph. Give it a name to make one: %%tensorlake NAME")
    routed = {target for function in functions for target in declared_routes(function) or ()}
    starts = [function for function in functions if function.name not in routed]
    if len(starts) != 1:
        names = ", ".join(function.name for function in starts or functions)
        raise UsageError(
            f"%%tensorlake: which of {names} comes first? Make a Graph in the cell, or give --wire 'first -> next'"
        )
    return Graph(name=name, start_node=starts[0])


def wire(name: str, paths: Iterable[tuple[str, ...]], namespace: Namespace) -> Graph:
    """Make the graph that ``--wire`` describes, of functions called so in the namespace.

    Raises
    ------
    UsageError
        For a name that isn't a function.
    """
    available = functions_in(namespace)
    by_name = {as_function(function).name: function for function in available.values()}

    def function(called: str) -> Any:
        if called in available:
            return available[called]
        if called in by_name:
            return by_name[called]
        if called in namespace:
            raise UsageError(f"%%tensorlake: --wire {called!r} is no function; decorate it with @tensorlake_function")
        hint = did_you_mean(called, available)
        raise UsageError(
            f"%%tensorlake: --wire {called!r} isn't defined{hint} (functions: {', '.join(available) or 'none'})"
        )

    paths = tuple(paths)
    graph = Graph(name=name, start_node=function(paths[0][0]))
    edges = [(path[i], path[i + 1]) for path in paths for i in range(len(path) - 1)]
    for source, target in dict.fromkeys(edges):
        graph.add_edge(function(source), function(target))
    return graph


def keep(graph: Graph, namespace: dict[str, Any]) -> None:
    """Put a graph that the magic made under its name, unless the user's variables hold it or use that name."""
    if graph.name.isidentifier() and all(held is not graph for held in graphs_in(namespace).values()):
        held = namespace.get(graph.name)
        if held is None or isinstance(held, Graph):
            namespace[graph.name] = graph
