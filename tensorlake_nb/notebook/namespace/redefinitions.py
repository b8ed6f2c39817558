"""Keep graphs up to date with functions that cells define again."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.functions.function import Function, as_function
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.engine.runs.graph import before_use
from tensorlake_nb.errors import GraphError, TensorlakeError
from tensorlake_nb.notebook.namespace.find import Namespace, graphs_in, is_function


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
