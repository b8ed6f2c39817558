"""Graphs and functions of the user's namespace: found by name, wired together, and kept up to date with the cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorlake_nb.core.functions.function import Function, TensorlakeCompute
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.errors import UsageError

Namespace = Mapping[str, Any]


def graphs_in(namespace: Namespace) -> dict[str, Graph]:
    """Return every graph once, by the first variable that holds it; IPython's own ``_`` names don't count."""
    found: dict[str, Graph] = {}
    seen: set[int] = set()
    for variable, value in list(namespace.items()):
        if isinstance(value, Graph) and not variable.startswith("_") and id(value) not in seen:
            seen.add(id(value))
            found[variable] = value
    return found


def functions_in(namespace: Namespace) -> dict[str, Any]:
    """Return functions and TensorlakeCompute classes by variable."""
    return {
        variable: value
        for variable, value in list(namespace.items())
        if not variable.startswith("_") and is_function(value)
    }


def is_function(value: Any) -> bool:
    """Return True if graphs are made of values like this one."""
    if isinstance(value, type):
        return issubclass(value, TensorlakeCompute) and value is not TensorlakeCompute and hasattr(value, "run")
    return isinstance(value, Function)


def find_graph(name: str, namespace: Namespace) -> Graph:
    """Return the graph of that name, or in the variable of that name.

    Raises
    ------
    UsageError
        When there is none, with the names that there are; or when several graphs share the name.
    """
    graphs = graphs_in(namespace)
    named = [graph for graph in graphs.values() if graph.name == name]
    if len(named) == 1:
        return named[0]
    if name in graphs:
        return graphs[name]
    if named:
        variables = ", ".join(variable for variable, graph in graphs.items() if graph.name == name)
        raise UsageError(f"{len(named)} graphs are named {name!r}: say which variable ({variables})")
    known = ", ".join(graph.name for graph in graphs.values()) or "none"
    raise UsageError(f"no graph {name!r} in this notebook (graphs: {known})")


def has_graph(name: str, namespace: Namespace) -> bool:
    """Return True if `find_graph` would find at least one graph."""
    graphs = graphs_in(namespace)
    return name in graphs or any(graph.name == name for graph in graphs.values())


def inputs_of(graph: GraphBuilder) -> list[str]:
    """Return the names of a run's inputs: the parameters of the start function, without those the engine fills."""
    function = graph.nodes[graph.start_node]
    return list(function.signature.parameters)[function.first_value :]
