"""What holds for values that share and contain each other: a digest says how all looks from where it is asked."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
from collections.abc import Callable
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.values.cycles import components
from tensorlake_nb.core.values.digest import digest, list_digest


@dataclasses.dataclass(eq=False)
class Row:
    leaf: Any
    held: Any = None


class Plain:
    def __init__(self, leaf: Any) -> None:
        self.leaf, self.held = leaf, ()


#: (leaf, held values) → a value that can be filled later.
KINDS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, list[Any]], None]]] = {
    "list": (lambda leaf: [leaf], lambda made, held: made.extend(held)),
    "dict": (lambda leaf: {"leaf": leaf}, lambda made, held: made.update(enumerate(held))),
    "row": (Row, lambda made, held: setattr(made, "held", held[0] if len(held) == 1 else tuple(held))),
    "plain": (Plain, lambda made, held: setattr(made, "held", tuple(held))),
}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Nodes by kind and leaf, and where each leads; node 0 is the value."""

    nodes: tuple[tuple[str, int], ...]
    edges: tuple[tuple[int, ...], ...]

    def built(self) -> list[Any]:
        made = [KINDS[kind][0](leaf) for kind, leaf in self.nodes]
        for (kind, _), value, held in zip(self.nodes, made, self.edges, strict=True):
            KINDS[kind][1](value, [made[i] for i in held])
        return made


@st.composite
def graphs(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(KINDS)) -> Drawn:
    n = draw(st.integers(1, 6))
    nodes = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 1)), min_size=n, max_size=n))
    edges = draw(st.lists(st.lists(st.integers(0, n - 1), max_size=3).map(tuple), min_size=n, max_size=n))
    return Drawn(tuple(nodes), tuple(edges))


def _circles(graph: Drawn, start: int) -> dict[int, int]:
    """Node → the number of the cycle that it belongs to, as far as it is in one."""
    swapped = [start if i == 0 else 0 if i == start else i for i in range(len(graph.nodes))]
    children = [[swapped[child] for child in graph.edges[swapped[i]]] for i in range(len(swapped))]
    found = [[swapped[node] for node in members] for members in components(children)]
    rings = [members for members in found if len(members) > 1 or members[0] in graph.edges[members[0]]]
    return {node: i for i, members in enumerate(rings) for node in members}


def same(one: Drawn, a: int, other: Drawn, b: int) -> bool:
    """Whether node a of one graph looks like node b of another; in cycles it counts which nodes are the same one."""
    mine, theirs = _circles(one, a), _circles(other, b)
    pairs, backwards = {a: b}, {b: a}
    pending = [(a, b)]
    while pending:
        x, y = pending.pop()
        if one.nodes[x] != other.nodes[y] or len(one.edges[x]) != len(other.edges[y]):
            return False
        for child, twin in zip(one.edges[x], other.edges[y], strict=True):
            if (x in mine and mine.get(child) == mine[x]) != (y in theirs and theirs.get(twin) == theirs[y]):
                return False
            if x in mine and mine.get(child) == mine[x]:
                if pairs.get(child, twin) != twin or backwards.get(twin, child) != child:
                    return False
                if child not in pairs:
                    pairs[child], backwards[twin] = twin, child
                    pending.append((child, twin))
            elif not same(one, child, other, twin):
                return False
    return True


@given(graphs())
def test_a_copy_and_what_comes_back_from_pickle_have_the_same_digest(graph: Drawn) -> None:
    value = graph.built()[0]

    assert digest(copy.deepcopy(value)) == digest(value)
    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


@given(graphs(), graphs())
@settings(max_examples=80, deadline=None)
def test_digests_are_equal_exactly_where_what_is_seen_is(one: Drawn, other: Drawn) -> None:
    mine, theirs = one.built(), other.built()

    for a, value in enumerate(mine):
        for b, held in enumerate([*mine, *theirs]):
            graph, node = (one, b) if b < len(mine) else (other, b - len(mine))
            assert (digest(value) == digest(held)) == same(one, a, graph, node)


@given(graphs(("plain",)), st.data())
@settings(max_examples=150)
def test_another_leaf_or_another_edge_is_another_value_where_it_can_be_seen(graph: Drawn, data: st.DataObject) -> None:
    node = data.draw(st.integers(0, len(graph.nodes) - 1))
    nodes, edges = list(graph.nodes), list(graph.edges)
    if data.draw(st.booleans()):
        nodes[node] = (nodes[node][0], 1 - nodes[node][1])
    else:
        edges[node] = data.draw(st.lists(st.integers(0, len(nodes) - 1), max_size=3).map(tuple))
    changed = Drawn(tuple(nodes), tuple(edges))

    assert (digest(changed.built()[0]) == digest(graph.built()[0])) == same(graph, 0, changed, 0)


@given(graphs(), st.data())
def test_a_value_is_the_same_wherever_it_is_met_first(graph: Drawn, data: st.DataObject) -> None:
    made = graph.built()
    order = data.draw(st.permutations(made))

    assert digest([*order, made]) == list_digest(b"".join(digest(each) for each in [*order, made]))


@given(graphs())
@settings(max_examples=15, deadline=None)
def test_a_function_that_reaches_a_copy_is_the_same_function(graph: Drawn) -> None:
    def print_of(held: Any) -> str:
        return fingerprint(lambda: held).fingerprint

    made = graph.built()

    assert print_of(copy.deepcopy(made)) == print_of(made)
    changed = Drawn((("list", 7), *graph.nodes[1:]), graph.edges)
    assert print_of(changed.built()) != print_of(made)


class Member:
    """Equal members of a set have no order, and what they hold leads back to it."""

    def __init__(self, leaf: int) -> None:
        self.leaf, self.near = leaf, set[Member]()


@given(st.integers(1, 7), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=10), st.integers(0, 99))
@settings(max_examples=100)
def test_in_which_order_sets_give_their_members_does_not_count(n: int, pairs: list[tuple[int, int]], seed: int) -> None:
    pairs = [(a, b) for a, b in pairs if a < n and b < n]
    order = random.Random(seed).sample(range(n), n)

    def built(numbers: list[int]) -> Member:
        made = {i: Member(i % 2) for i in numbers}
        for a, b in pairs:
            made[a].near.add(made[b])
            made[b].near.add(made[a])
        return made[0]

    assert digest(built(order)) == digest(built(list(range(n))))
    assume(any(0 in pair for pair in pairs))
    value = built(order)
    next(iter(value.near)).leaf = 5
    assert digest(value) != digest(built(order))
