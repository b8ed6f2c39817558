"""Graphs and functions of the user's namespace: found by name, wired together, and kept up to date with the cells."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.functions.function import Function, TensorlakeCompute, as_function
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.core.graphs.routes import declared_routes
from tensorlake_nb.core.identifiers import did_you_mean
from tensorlake_nb.engine.runs.graph import Graph, before_use
from tensorlake_nb.errors import GraphError, TensorlakeError, UsageError

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
    """Whether a value is something that graphs are made of."""
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
    """Whether `find_graph` would find one, or several."""
    graphs = graphs_in(namespace)
    return name in graphs or any(graph.name == name for graph in graphs.values())


def inputs_of(graph: GraphBuilder) -> list[str]:
    """Return the names of a run's inputs: the parameters of the start function, without those the engine fills."""
    function = graph.nodes[graph.start_node]
    return list(function.signature.parameters)[function.first_value :]


@dataclass(frozen=True, slots=True)
class Before:
    """What the namespace held before a cell ran, to tell what the cell made."""

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
            "%%tensorlake: the cell makes no Graph and no function. Make one, or name a graph that there is"
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


# --- redefinitions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Update:
    """A graph took over a redefined function; ``stale`` are the nodes whose outputs may differ (none: same code)."""

    graph: str
    function: str
    stale: tuple[str, ...]

    def __str__(self) -> str:
        follows = self.stale[1:]
        tail = f", and {', '.join(follows)} where its outputs differ" if follows else ""
        return f"graph {self.graph!r}: {self.function} was changed and will be computed again{tail}"


def catch_up(graph: GraphBuilder, namespace: Namespace) -> list[Update]:
    """Give a graph the functions as the namespace defines them now.

    A function is a redefinition of a node's when it stands under the same name, from the same module and qualified
    name, and was decorated later.
    """
    updates = []
    for held in list(graph.nodes.values()):
        current = namespace.get(held.__name__)
        if not is_function(current):
            continue
        latest = as_function(current)
        same_place = (latest.__module__, latest.__qualname__) == (held.__module__, held.__qualname__)
        if latest.call is held.call or latest.name != held.name or not same_place or latest.defined <= held.defined:
            continue
        changed = _fingerprint_of(latest) != _fingerprint_of(held)
        if graph.rebind(latest):
            stale = (held.name, *descendants(graph, held.name)) if changed else ()
            updates.append(Update(graph.name, held.name, stale))
    return updates


def _fingerprint_of(function: Function) -> str | None:
    try:
        return fingerprint(function).fingerprint
    except TensorlakeError:  # what it reaches has no digest: the run will say so
        return None


def descendants(graph: GraphBuilder, name: str) -> list[str]:
    """Nodes that follow, in topological order where the graph has one."""
    try:
        order = list(graph.freeze().nodes)
        children = {node.name: [edge.target for edge in node.children] for node in graph.freeze().nodes.values()}
    except GraphError:
        return []
    reached = {name}
    for node in order:
        if node in reached:
            reached.update(children[node])
    return [node for node in order if node in reached and node != name]


def refresh(namespace: Namespace) -> None:
    """Bring every graph of the namespace up to date, and print one line for each change of code."""
    for graph in graphs_in(namespace).values():
        for update in catch_up(graph, namespace):
            if update.stale:
                print(update)


def watch_use() -> None:
    """Bring a graph up to date before each use of it: a cell may redefine a function and run the graph at once."""
    if _update_used not in before_use:
        before_use.append(_update_used)


def _update_used(graph: GraphBuilder) -> None:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return
    for update in catch_up(graph, shell.user_ns):
        if update.stale:
            print(update)


def keep(graph: Graph, namespace: dict[str, Any]) -> None:
    """Put a graph that the magic made under its name, unless the user's variables hold it or use that name."""
    if graph.name.isidentifier() and all(held is not graph for held in graphs_in(namespace).values()):
        held = namespace.get(graph.name)
        if held is None or isinstance(held, Graph):
            namespace[graph.name] = graph
