"""Graphs of values → a part for each node of a cycle, which says how the whole cycle looks from that node.

A *component* is a largest set of nodes that all lead to each other. Its nodes are numbered in the order in which they
are met from one of them, and written down in that order with the numbers that they lead to. Two nodes have the same
part exactly if what they belong to looks the same from them: the same nodes, under the same edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from tensorlake_nb.core.values.encoding import HASHED, count
from tensorlake_nb.core.values.encoding import field as sized

#: First byte of what is hashed for a value in a cycle; no other encoding begins with it.
CYCLE = b"^"
#: Starts that are tried without looking for better ones.
_FEW = 8
#: Nodes that are colored anew, over all rounds, before equal members of sets are taken as they come.
_ENOUGH = 20_000_000


@dataclass(slots=True)
class Links:
    """The nodes that a node leads to inside its component: in order, and as sets."""

    ordered: list[int] = field(default_factory=list)
    sets: list[list[int]] = field(default_factory=list)


def components(children: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Strongly connected components of the nodes that node 0 leads to, those that others lead to first.

    References
    ----------
    .. [1] R. Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1 (1972).
    """
    order, low = {0: 0}, {0: 0}
    open_nodes, is_open = [0], {0}
    walk = [(0, iter(children[0]))]
    while walk:
        node, rest = walk[-1]
        for child in rest:
            if child not in order:
                order[child] = low[child] = len(order)
                open_nodes.append(child)
                is_open.add(child)
                walk.append((child, iter(children[child])))
                break
            if child in is_open:
                low[node] = min(low[node], order[child])
        else:
            walk.pop()
            if walk:
                low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
            if low[node] == order[node]:
                at = len(open_nodes) - 1
                while open_nodes[at] != node:
                    at -= 1
                found = open_nodes[at:]
                del open_nodes[at:]
                is_open.difference_update(found)
                yield found


def cycle_parts(colors: Sequence[bytes], links: Sequence[Links], entries: Sequence[int]) -> dict[int, bytes]:
    """Return the parts of those nodes of one component that something outside leads to.

    Parameters
    ----------
    colors
        The known part of each node: its own, and that of the nodes it leads to outside.
    links
        Where each node leads inside.
    entries
        The nodes that are asked for.
    """
    refined = _refined(colors, links)
    if any(link.sets for link in links):  # equal members of a set have no order, so each entry is a start of its own
        written = {entry: _written(entry, colors, refined, links)[0] for entry in entries}
        return {entry: _part(hashed, 0) for entry, hashed in written.items()}
    whole, places = _by_best_start(colors, refined, links)
    return {entry: _part(whole, places[entry]) for entry in entries}


def _part(written: bytes, place: int) -> bytes:
    return HASHED + blake3(CYCLE + written + count(place)).digest()


def _refined(colors: Sequence[bytes], links: Sequence[Links]) -> list[bytes]:
    """Colors that take in those of the nodes around, until a few starts stand out or nothing more can be told."""
    has_sets = any(link.sets for link in links)
    current, kinds, rounds = list(colors), len(set(colors)), 0
    while kinds < len(current):
        if rounds * len(current) > _ENOUGH if has_sets else _smallest(current)[0] <= rounds + _FEW:
            break
        following = []
        for color, link in zip(current, links, strict=True):
            pieces = [color, *[current[child] for child in link.ordered]]
            for members in link.sets:
                pieces += sorted([current[child] for child in members])
            following.append(blake3(b"".join(map(sized, pieces))).digest())
        if len(set(following)) == kinds:
            break
        current, kinds, rounds = following, len(set(following)), rounds + 1
    return current


def _smallest(colors: Sequence[bytes]) -> tuple[int, bytes]:
    """Return the number of nodes with the rarest color, and that color."""
    sizes: dict[bytes, int] = {}
    for color in colors:
        sizes[color] = sizes.get(color, 0) + 1
    return min((size, color) for color, size in sizes.items())


def _written(
    start: int, colors: Sequence[bytes], refined: Sequence[bytes], links: Sequence[Links]
) -> tuple[bytes, list[int]]:
    """Return the hash of a component as seen from one node, and its nodes in the order in which they are met."""
    number, met = {start: 0}, [start]
    hasher = blake3(count(len(links)))
    for node in met:
        link = links[node]
        hasher.update(sized(colors[node]))
        out = []
        for child in link.ordered:
            if child not in number:
                number[child] = len(met)
                met.append(child)
            out.append(number[child])
        for members in link.sets:
            for child in sorted([child for child in members if child not in number], key=refined.__getitem__):
                number[child] = len(met)
                met.append(child)
            out += sorted([number[child] for child in members])
        hasher.update(b"".join(map(count, out)))
    return hasher.digest(), met


def _by_best_start(
    colors: Sequence[bytes], refined: Sequence[bytes], links: Sequence[Links]
) -> tuple[bytes, list[int]]:
    """Return the least hash of a component over all starts, and the place of each node seen from that start.

    Where several starts look alike, the component looks alike from others too: those share the first place of theirs.
    """
    rarest = _smallest(refined)[1]
    alike = list(range(len(colors)))
    failed: set[int] = set()
    best, order = b"", list[int]()
    for start in [node for node, color in enumerate(refined) if color == rarest]:
        group = _group(alike, start)
        if group in failed or (order and group == _group(alike, order[0])):
            continue
        found, met = _written(start, colors, refined, links)
        if order and found == best:
            for one, other in zip(order, met, strict=True):
                alike[_group(alike, other)] = _group(alike, one)
            failed = {_group(alike, node) for node in failed}
        elif not order or found < best:
            failed.update(_group(alike, node) for node in order[:1])
            best, order = found, met
        else:
            failed.add(group)
    places = [0] * len(colors)
    first: dict[int, int] = {}
    for place, node in enumerate(order):
        places[node] = first.setdefault(_group(alike, node), place)
    return best, places


def _group(alike: list[int], node: int) -> int:
    """Return the representative of all nodes that are known to look alike."""
    while alike[node] != node:
        alike[node] = alike[alike[node]]
        node = alike[node]
    return node
