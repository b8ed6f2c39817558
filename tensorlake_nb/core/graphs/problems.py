"""Find everything wrong with a graph that can be known before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, is_typeddict

from tensorlake_nb.core.functions.annotations import EMPTY, alternatives, is_known
from tensorlake_nb.core.functions.binding import Binder, describe
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.functions.targets import target_name
from tensorlake_nb.core.functions.type_matching import class_of, element_hint, fits, gives_many, output_hint
from tensorlake_nb.core.graphs.joins import trace_joins
from tensorlake_nb.core.graphs.routes import contradictions, declared_routes
from tensorlake_nb.core.graphs.wiring import Edge, Wiring, in_order
from tensorlake_nb.core.identifiers import did_you_mean, listed


def find_problems(wiring: Wiring, start: str, edges: Sequence[Edge]) -> tuple[str, ...]:
    """Return one sentence or two per problem, each saying what to do; empty for a graph that can run.

    Parameters
    ----------
    wiring
        The graph's declarations.
    start
        Name of the start node.
    edges
        The edges of ``wiring.links``, in the same order, with how they carry lists.
    """
    parents: dict[str, list[Edge]] = {name: [] for name in wiring.nodes}
    for edge in edges:
        parents[edge.target].append(edge)
    shape = [
        *_clashes(wiring),
        *_routes(wiring),
        *_repeated(wiring),
        *_dead(wiring),
        *_start(start, parents[start]),
        *_cycles(wiring, start),
        *_unreachable(wiring, start),
    ]
    bindings: list[str] = []
    sound = not shape
    for name, incoming in parents.items():
        found = list(_bindings(name, incoming, wiring.nodes))
        sound &= not found
        bindings.extend(found)
    if sound:  # the sides of a join can be traced only where everything else is right
        bindings.extend(_joins(wiring, edges, parents))
    return tuple(dict.fromkeys([*shape, *bindings]))


def _clashes(wiring: Wiring) -> Iterator[str]:
    for one, other in wiring.clashes:
        yield clash(one, other)


def clash(one: Function, other: Function) -> str:
    """Say that two functions have one name."""
    places = " and ".join(f"{f.__module__}.{f.__qualname__}" for f in (one, other))
    return f"two functions are called {one.name!r}: {places}. Give one of them another name=."


def _routes(wiring: Wiring) -> Iterator[str]:
    for source, name in wiring.unknown:
        hint = did_you_mean(name, wiring.nodes)
        yield (
            f"{source!r} has a route to {name!r}, but the graph has no function of that name{hint}. "
            "Define it before the graph runs, or correct the annotation or next=."
        )
    leading = {link.source for link in wiring.links} | {source for source, _ in wiring.unknown}
    for name, function in wiring.nodes.items():
        if function.is_router and name not in leading and function.options.next is None:
            yield (
                f"router {name!r} has no routes. Annotate it with the functions that it returns, "
                f'-> list[Literal["a", "b"]], or give next=[a, b], or say graph.route({name}, [a, b]).'
            )
        strange = contradictions(function)
        if strange:
            yield (
                f"router {name!r} is annotated with {listed(strange)}, but its next= names "
                f"{listed(map(target_name, function.options.next or ())) or 'nothing'}. "
                "Add what is missing to next=, or correct the annotation."
            )


def _repeated(wiring: Wiring) -> Iterator[str]:
    for link in wiring.repeated:
        into = f" into {link.into!r}" if link.into is not None else ""
        yield (
            f"the edge {link.source!r} → {link.target!r}{into} is declared twice. "
            "Remove one of them; in a notebook, make the Graph in the cell that adds its edges."
        )


def _dead(wiring: Wiring) -> Iterator[str]:
    for link in wiring.links:
        function = wiring.nodes[link.source]
        if link.origin != "edge" or function.is_router or function.options.next is None:
            continue
        names = declared_routes(function) or ()
        routed = {other.target for other in wiring.links if other.source == link.source and other.origin != "edge"}
        if link.target not in names and link.target not in routed:
            yield (
                f"the edge {link.source!r} → {link.target!r} would never be taken, because {link.source!r} goes on to "
                f"next={listed(names)} only. Add {link.target} to next=, or remove the edge."
            )


def _start(start: str, incoming: Sequence[Edge]) -> Iterator[str]:
    if incoming:
        sources = listed(edge.source for edge in incoming)
        yield f"an edge leads into the start node {start!r}, from {sources}. Remove it, or start the graph elsewhere."


def _cycles(wiring: Wiring, start: str) -> Iterator[str]:
    """Name one cycle, if there is one that doesn't pass through the start node (of which enough is said)."""
    pairs = [(link.source, link.target) for link in wiring.links if link.target != start]
    left = set(wiring.nodes) - set(in_order(list(wiring.nodes), pairs))
    sources = {target: source for source, target in reversed(pairs) if source in left and target in left}
    walked: list[str] = []
    name = next((name for name in wiring.nodes if name in sources), None)
    while name is not None and name not in walked:  # backwards, until a node comes again
        walked.append(name)
        name = sources.get(name)
    if name is not None:
        cycle = [name, *reversed(walked[walked.index(name) :])]
        yield f"{' → '.join(map(repr, cycle))} is a cycle, and a graph has to end. Remove one of these edges."


def _unreachable(wiring: Wiring, start: str) -> Iterator[str]:
    reached, pending = {start}, [start]
    targets: dict[str, list[str]] = {}
    for link in wiring.links:
        targets.setdefault(link.source, []).append(link.target)
    while pending:
        for target in targets.get(pending.pop(), ()):
            if target not in reached:
                reached.add(target)
                pending.append(target)
    for name in wiring.nodes:
        if name not in reached:
            yield f"{name!r} can't be reached from the start node {start!r}. Add an edge that leads to it."


def _bindings(name: str, incoming: Sequence[Edge], nodes: Mapping[str, Function]) -> Iterator[str]:
    function = nodes[name]
    if function.is_reducer and not callable(function.options.accumulate):
        yield f"reducer {name!r} has no callable accumulate=. Give a class, or a function such as lambda: 0."
    sides = [edge for edge in incoming if edge.into is not None]
    if not sides:
        for edge in incoming:
            problem = edge_problem(edge, nodes[edge.source], function)
            if problem:
                yield problem
    elif len(sides) < len(incoming):
        plain = listed(edge.source for edge in incoming if edge.into is None)
        yield (
            f"{name!r} is a join of {listed(edge.source for edge in sides)}, but the edge from {plain} doesn't say "
            "into which parameter. Give every edge into it an into=, or none."
        )
    else:
        yield from _sides(function, sides)


def _sides(function: Function, sides: Sequence[Edge]) -> Iterator[str]:
    binder = Binder(function)
    fed: dict[str, str] = {}
    for edge in sides:
        into = edge.into or ""
        if not binder.accepts(into):
            hint = did_you_mean(into, binder.value_parameters)
            edge_text = f"the edge {edge.source!r} → {edge.target!r}"
            yield f"{edge_text} goes into {into!r}, which {describe(function)} doesn't have{hint}."
        elif into in fed:
            yield (
                f"{fed[into]!r} and {edge.source!r} both go into {into!r} of {function.name!r}. "
                "Give them parameters of their own, or unite them in a node before it."
            )
        fed[into] = edge.source
    missing = [name for name in binder.required if name not in fed]
    if missing:
        yield f"no edge goes into {listed(missing)} of {describe(function)}. Add one for each, or give it a default."


def _joins(wiring: Wiring, edges: Sequence[Edge], parents: Mapping[str, Sequence[Edge]]) -> Iterator[str]:
    order = in_order(list(wiring.nodes), [(edge.source, edge.target) for edge in edges])
    for name, join in trace_joins(wiring.nodes, order, parents).items():
        if join.crowded:
            shared = f"one element of {join.ancestor!r}" if join.ancestor is not None else "the one row of the run"
            sides = listed(join.crowded)
            verb = "have" if len(join.crowded) > 1 else "has"
            yield (
                f"the sides of {name!r} can't be matched: {sides} {verb} several values for {shared}, the nearest that "
                "the sides share. Reduce such a side to one value first, or join it further up."
            )


def edge_problem(edge: Edge, parent: Function, child: Function) -> str | None:
    """Say why no output of the parent can be bound along an edge; None when some may."""
    binder = Binder(child)
    if not binder.value_parameters:
        return f"{describe(child)} takes no value, but {parent.name!r} gives some. Add a parameter, or remove the edge."
    if (edge.whole and gives_many(parent) is not False) or (parent.is_router and Binder(parent).takes_list):
        return None
    element = element_hint(output_hint(parent))
    if not is_known(element):
        return None
    reasons = [_misfit(option, binder) for option in alternatives(element)]
    if not reasons or None in reasons:
        return None
    return f"{parent.name!r} → {child.name!r} can't bind: {reasons[0]}"


def _misfit(given: Any, binder: Binder) -> str | None:
    """Say why a value so annotated doesn't bind, None if it may."""
    cls = class_of(given)
    if cls is None:
        return None
    expected = describe(binder.function)
    if is_typeddict(cls):
        return _missing_keys(cls, binder)
    if cls is tuple and not binder.takes_whole(tuple):
        return _wrong_length(get_args(given), binder)
    if any(_may_be(cls, container) for container in (dict, list, tuple)):
        return None
    text = getattr(given, "__name__", None) or str(given)
    if not binder.takes_lone:
        missing = listed(name for name in binder.required[1:] or binder.required)
        return f"{expected} gets one {text} at a time, which leaves nothing for {missing}. Return a tuple or a dict."
    if binder.takes_list and fits(given, binder.hints.get(binder.single or "", EMPTY)) is False:
        return (
            f"{expected} takes a list, but gets one {text} at a time. To gather a stream, make it a reducer "
            f"(accumulate=...); to be called once per element, annotate {binder.single}: {text}."
        )
    return None


def _may_be(cls: type, container: type) -> bool:
    try:
        return issubclass(cls, container) or issubclass(container, cls)
    except TypeError:
        return True


def _missing_keys(cls: Any, binder: Binder) -> str | None:
    if binder.takes_whole(dict):
        return None
    strange = sorted(key for key in cls.__required_keys__ if not binder.accepts(key))
    missing = [name for name in binder.required if name not in cls.__required_keys__ | cls.__optional_keys__]
    if strange:
        return f"{describe(binder.function)} has no parameter for {listed(strange)} of {cls.__name__}. Add **kwargs."
    if missing:
        return f"{describe(binder.function)} needs {listed(missing)}, which {cls.__name__} doesn't have."
    return None


def _wrong_length(items: tuple[Any, ...], binder: Binder) -> str | None:
    if not items or ... in items or binder.fits_positions(len(items)):
        return None
    return (
        f"{describe(binder.function)} gets tuples of {len(items)} by position, which it can't take. "
        "Change its parameters, or give it a single one annotated tuple."
    )
