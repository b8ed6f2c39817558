"""Interpret graphs in plain Python: specifications of small graphs, their functions, and an interpreter.

The interpreter knows neither batches nor keys nor stores: it takes whole lists through one node after the other. It is
what engines are compared with, so it shares no code with them, but for where a frozen graph lets the sides of joins
meet.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorlake_nb import Graph, RouteTo, tensorlake_function, tensorlake_router
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.graphs.builder import FrozenGraph

#: Nodes that answer with targets for each value, and those whose items each have targets of their own.
ROUTING = ("router", "routed", "routed_items")
FOLDS = ("fold", "tree")
GENERATORS = ("generator", "async_generator")
KINDS = (
    *("number", "perhaps", "several", "nested", "pair", "named", "asynchronous", "join"),
    *(*ROUTING, *FOLDS, *GENERATORS),
)


@dataclass(frozen=True)
class NodeSpec:
    """One node: what its function does, and what feeds it.

    Attributes
    ----------
    salt
        Makes functions of one kind differ.
    whole
        Its parameter is annotated with a sequence: a list comes whole.
    parents
        Numbers of earlier nodes, in the order of the edges; none for the start node.
    cacheable
        Its outputs are kept for other runs.
    """

    kind: str
    salt: int
    whole: bool = False
    parents: tuple[int, ...] = ()
    cacheable: bool = True


class Fault(Exception):
    """The error that functions raise when they are told to fail."""


def number(value: Any, salt: int) -> int:
    """A small number that depends on all of a value."""
    return zlib.crc32(f"{salt}:{value!r}".encode()) % 1009


def items(value: Any, salt: int) -> list[int]:
    """None to three numbers."""
    return [number((value, i), salt) % 5 for i in range(number(value, salt) % 4)]


def answer(kind: str, salt: int, value: Any, targets: Sequence[str] = ()) -> Any:
    """Return the output of a function of a kind."""
    mine = number(value, salt)
    chosen = [target for i, target in enumerate(targets) if mine >> i & 1]
    match kind:
        case "number" | "asynchronous":
            return mine % 6
        case "perhaps":
            return None if mine % 3 == 0 else mine % 6
        case "several":
            return items(value, salt)
        case "nested":
            return [items((value, i), salt) for i in range(mine % 3)]
        case "pair":
            return (mine % 7, value)
        case "named":
            return {"x": value}
        case "router":
            return chosen
        case "routed":
            return mine % 6 if mine % 5 == 0 else RouteTo(mine % 6, chosen)
        case "routed_items":
            return [RouteTo(item, [t for i, t in enumerate(targets) if item >> i & 1]) for item in items(value, salt)]
    raise ValueError(kind)


def make_function(name: str, spec: NodeSpec, targets: tuple[str, ...], faults: str, pace_s: float = 0.0) -> Function:
    """The function of a node; it fails for a value whose number stands in the file ``faults``."""
    kind, salt = spec.kind, spec.salt

    def check(value: Any) -> None:
        if pace_s:
            time.sleep(pace_s)
        path = Path(faults)
        if path.is_file() and str(number(value, salt) % 7) in path.read_text().split():
            raise Fault(f"told to fail for {value!r}")

    def call(x):  # type: ignore[no-untyped-def]
        check(x)
        return answer(kind, salt, x, targets)

    def call_whole(x: Sequence):  # type: ignore[no-untyped-def,type-arg]
        check(x)
        return answer(kind, salt, x, targets)

    async def call_async(x):  # type: ignore[no-untyped-def]
        check(x)
        return answer(kind, salt, x, targets)

    def generate(x) -> Iterator:  # type: ignore[no-untyped-def,type-arg]
        check(x)
        yield from items(x, salt)

    async def generate_async(x) -> AsyncIterator:  # type: ignore[no-untyped-def,type-arg]
        check(x)
        for item in items(x, salt):
            yield item

    def fold(acc, x):  # type: ignore[no-untyped-def]
        check(x)
        acc.append(x)
        return acc

    def meet(left, right):  # type: ignore[no-untyped-def]
        return (left, right, salt)

    def merge(left: list[Any], right: list[Any]) -> list[Any]:
        return left + right

    match kind:
        case "router":
            return tensorlake_router(name=name, cacheable=spec.cacheable)(call_whole if spec.whole else call)
        case "fold":
            return tensorlake_function(name=name, cacheable=spec.cacheable, accumulate=list)(fold)
        case "tree":
            return tensorlake_function(name=name, cacheable=spec.cacheable, accumulate=list, combine=merge)(fold)
        case "join":
            return tensorlake_function(name=name, cacheable=spec.cacheable)(meet)
        case "asynchronous":
            return tensorlake_function(name=name, cacheable=spec.cacheable, max_concurrency=3)(call_async)
        case "generator":
            return tensorlake_function(name=name, cacheable=spec.cacheable)(generate)
        case "async_generator":
            return tensorlake_function(name=name, cacheable=spec.cacheable)(generate_async)
    return tensorlake_function(name=name, cacheable=spec.cacheable)(call_whole if spec.whole else call)


def name_of(position: int) -> str:
    """The name of a node."""
    return f"n{position}"


def targets_of(specs: Sequence[NodeSpec], position: int) -> tuple[str, ...]:
    """The names of the nodes that a node feeds."""
    return tuple(name_of(i) for i, spec in enumerate(specs) if position in spec.parents)


def make_graph(specs: Sequence[NodeSpec], faults: str = "", pace_s: float = 0.0, **options: Any) -> Graph:
    """The graph of some specifications, each of whose calls takes ``pace_s``; the first one starts it."""
    functions = [
        make_function(name_of(i), spec, targets_of(specs, i) if spec.kind in ROUTING else (), faults, pace_s)
        for i, spec in enumerate(specs)
    ]
    graph = Graph("random", functions[0], **options)
    for i, spec in enumerate(specs):
        for parent, side in zip(spec.parents, ("left", "right"), strict=False):
            if spec.kind == "join":
                graph.add_edge(functions[parent], functions[i], into=side)
            else:
                graph.add_edge(functions[parent], functions[i])
    for i, spec in enumerate(specs):
        if spec.kind in ROUTING and targets_of(specs, i):
            graph.route(functions[i], [functions[int(target[1:])] for target in targets_of(specs, i)])
    return graph


@dataclass
class Item:
    """One output: its value, where it goes (``None``: everywhere), and the outputs that it descends from."""

    value: Any
    targets: tuple[str, ...] | None
    line: dict[str, int]


@dataclass
class Stream:
    """A node's outputs, call by call: of each call whether it gave a list, and its items."""

    calls: list[tuple[bool, list[Item]]] = field(default_factory=list)
    broken: bool = False

    @property
    def items(self) -> list[Item]:
        return [item for _, each in self.calls for item in each]


class JoinRefused(Exception):
    """A side of a join has several values for one row."""


def interpret(
    specs: Sequence[NodeSpec], frozen: FrozenGraph, value: Any, fails: Callable[[NodeSpec, Any], bool] | None = None
) -> dict[str, list[Any]]:
    """The outputs of every node, for one input of the start node.

    Raises
    ------
    JoinRefused
        As a run would.
    """
    streams: dict[str, Stream] = {}
    refuses = fails if fails is not None else lambda spec, value: False
    for name in frozen.nodes:
        spec = specs[int(name[1:])]
        given, broken = _given(frozen, name, streams, value)
        if spec.kind == "join":
            given, broken = _rows(frozen, name, streams)
        stream = Stream(broken=broken)
        if spec.kind in FOLDS:
            values = [_bound(each.value) for each in given]
            if not broken and not any(refuses(spec, each) for each in values):
                stream.calls.append((False, [Item(values, None, {})]))
            else:
                stream.broken = True
        else:
            for each in given:
                if spec.kind != "join" and refuses(spec, _bound(each.value)):
                    stream.broken = True
                else:
                    stream.calls.append(_called(spec, each, targets_of(specs, int(name[1:]))))
        for position, item in enumerate(stream.items):
            item.line[name] = position
        streams[name] = stream
    return {name: [item.value for item in stream.items] for name, stream in streams.items()}


def _bound(value: Any) -> Any:
    return value["x"] if isinstance(value, dict) else value


def _called(spec: NodeSpec, given: Item, targets: Sequence[str]) -> tuple[bool, list[Item]]:
    kind, salt = spec.kind, spec.salt
    if kind == "join":
        return False, [Item((given.value["left"], given.value["right"], salt), None, dict(given.line))]
    value = _bound(given.value)
    if kind in GENERATORS:
        return True, [Item(each, None, dict(given.line)) for each in items(value, salt)]
    returned = answer(kind, salt, value, targets)
    if kind == "router":
        return False, [Item(given.value, tuple(returned), dict(given.line))]
    if returned is None:
        return True, []
    listed = returned if isinstance(returned, list) else [returned]
    made = []
    for each in listed:
        routed = isinstance(each, RouteTo)
        to = tuple(each.targets) if routed else None
        made.append(Item(each.value if routed else each, to, dict(given.line)))
    return isinstance(returned, list), made


def _given(frozen: FrozenGraph, name: str, streams: Mapping[str, Stream], value: Any) -> tuple[list[Item], bool]:
    """Return a node's inputs, in order, and True if some are missing."""
    node = frozen.nodes[name]
    if not node.parents:
        return [Item(value, None, {})], False
    found: list[Item] = []
    for edge in node.parents:
        found += _through(name, edge.whole, streams[edge.source])
    return found, any(streams[edge.source].broken for edge in node.parents)


def _through(name: str, whole: bool, stream: Stream) -> list[Item]:
    """Return the values that an edge carries."""
    if not whole:
        return [item for item in stream.items if item.targets is None or name in item.targets]
    found: list[Item] = []
    for is_list, made in stream.calls:
        if not made or not (made[0].targets is None or name in made[0].targets):
            continue
        line = {key: at for key, at in made[0].line.items() if streams_of(stream) != key}
        value = [item.value for item in made] if is_list else made[0].value
        found.append(Item(value, None, line))
    return found


def streams_of(stream: Stream) -> str | None:
    """The name of the node whose stream it is: the youngest on the line of its items."""
    for item in stream.items:
        return next(reversed(item.line))
    return None


def _rows(frozen: FrozenGraph, name: str, streams: Mapping[str, Stream]) -> tuple[list[Item], bool]:
    """The rows of a join: one for each of the ancestor's outputs that every side has a value for."""
    node = frozen.nodes[name]
    sides: dict[str, dict[int, Item]] = {}
    single: dict[str, list[Item]] = {}
    for edge in node.parents:
        assert edge.into is not None
        found = _through(name, edge.whole, streams[edge.source])
        lined = [item.line.get(node.ancestor, -1) if node.ancestor is not None else 0 for item in found]
        if edge.into in node.broadcast or -1 in lined:
            if len(found) > 1:
                raise JoinRefused(edge.into)
            single[edge.into] = found
            continue
        if len(set(lined)) < len(lined):
            raise JoinRefused(edge.into)
        sides[edge.into] = dict(zip(lined, found, strict=True))
    rows = sorted(set.intersection(*(set(side) for side in sides.values()))) if sides else [0]
    if not all(single.values()):
        rows = []
    made = []
    for row in rows:
        values = {side: found[row].value for side, found in sides.items()}
        values |= {side: found[0].value for side, found in single.items()}
        line = dict(streams[node.ancestor].items[row].line) if node.ancestor is not None else {}
        made.append(Item(values, None, line))
    return made, any(streams[edge.source].broken for edge in node.parents)
