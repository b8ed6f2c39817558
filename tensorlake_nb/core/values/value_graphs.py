"""Values as graphs: how an encoder goes through what contains itself or is nested deeper than Python's calls may be.

Each rule is asked twice, and never from inside another. At first it only tells what its value leads to. When all that
has a part, the rule makes the encoding, so that whatever is in no cycle gets the one that it has anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from tensorlake_nb.core.values.cycles import CYCLE, Links, components, cycle_parts
from tensorlake_nb.core.values.encoding import Encoding, Refusal, Rule, part_of, type_name

#: Levels of values inside values; a deeper one makes itself anew each time that it is taken apart.
_DEEPEST = 500_000


class _Node:
    """A value and what its rule leads to, by number; ``sets`` says which of those have no order among them."""

    __slots__ = ("children", "depth", "parent", "part", "rule", "sets", "value")

    def __init__(self, value: Any, rule: Rule, parent: int, depth: int) -> None:
        self.value, self.rule, self.parent, self.depth = value, rule, parent, depth
        self.children: list[int] = []
        self.sets: list[tuple[int, int]] = []
        self.part: bytes | None = None


class Nodes:
    """Answers an encoder's rules for the values inside of theirs."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._numbers: dict[int, int] = {}
        self._asked = -1
        #: Parts for what the rule that is asked meets, in order; None while that is only noted.
        self._answers: Iterator[bytes | Refusal] | None = None

    def met(self, value: Any, rule: Rule) -> bytes:
        """Return the stand-in for a value that the current rule has met, or for the whole."""
        if self._answers is None:
            number = self._numbers.get(id(value))
            if number is None:
                number = self._add(value, rule)
            if self._asked >= 0:
                self._nodes[self._asked].children.append(number)
            return CYCLE
        answer = next(self._answers, None)
        if answer is None:
            raise self._fickle()
        if isinstance(answer, Refusal):
            raise answer
        return answer

    def unordered(self, encode: Callable[[], list[bytes]]) -> list[bytes]:
        """Note that what is met meanwhile has no order."""
        node = self._nodes[self._asked]
        before = len(node.children)
        found = encode()
        if self._answers is None:
            node.sets.append((before, len(node.children)))
        return found

    def part(self, enc: Encoding, refused: Callable[[Any, Refusal], bytes]) -> bytes | None:
        """Return the part of the first value met; ``refused`` says what stands for a nested value that has none."""
        if not self._nodes:
            return None
        self._discover(enc, refused)
        found = list(components([node.children for node in self._nodes]))
        of = {number: i for i, members in enumerate(found) for number in members}
        entries = {0}
        for number in of:
            entries.update(child for child in self._nodes[number].children if of[child] != of[number])
        for members in found:
            if len(members) == 1 and members[0] not in self._nodes[members[0]].children:
                self._nodes[members[0]].part = part_of(self._encoding(members[0], enc))
            else:
                self._cycle(members, [number for number in members if number in entries], enc)
        return self._nodes[0].part

    def _add(self, value: Any, rule: Rule) -> int:
        number = self._numbers[id(value)] = len(self._nodes)
        depth = self._nodes[self._asked].depth + 1 if number else 0
        if depth > _DEEPEST:
            raise Refusal("nested too deeply")
        self._nodes.append(_Node(value, rule, self._asked, depth))
        return number

    def _discover(self, enc: Encoding, refused: Callable[[Any, Refusal], bytes]) -> None:
        pending = [0]
        while pending:
            self._asked = pending.pop()
            node, known = self._nodes[self._asked], len(self._nodes)
            try:
                node.rule(node.value, enc)
            except Refusal as refusal:
                self._stand_in(node, refusal, enc, refused)
            pending += range(len(self._nodes) - 1, known - 1, -1)

    def _stand_in(self, node: _Node, refusal: Refusal, enc: Encoding, refused: Callable[[Any, Refusal], bytes]) -> None:
        node.children, node.sets = [], []
        node.rule = lambda value, _: refused(value, refusal)
        try:
            node.rule(node.value, enc)
        except Refusal:
            self._trace(enc, refusal)
            raise refusal from None

    def _trace(self, enc: Encoding, refusal: Refusal) -> None:
        """Have each rule on the way to a refused value say where in its own value that lies."""
        number = self._asked
        while (parent := self._nodes[number].parent) >= 0:
            node = self._nodes[parent]
            before: list[bytes | Refusal] = [CYCLE] * node.children.index(number)
            self._asked, self._answers = parent, iter([*before, refusal])
            with suppress(Refusal):
                node.rule(node.value, enc)
            number = parent

    def _encoding(self, number: int, enc: Encoding) -> bytes:
        """Return a rule's result, given the parts of all that it leads to; values in the same cycle have none yet."""
        node = self._nodes[number]
        self._asked, self._answers = number, iter([self._nodes[child].part or CYCLE for child in node.children])
        encoding = node.rule(node.value, enc)
        if next(self._answers, None) is not None:
            raise self._fickle()
        return encoding

    def _fickle(self) -> Refusal:
        return Refusal(f"{type_name(self._nodes[self._asked].value)} is pickled differently each time")

    def _cycle(self, members: list[int], entries: list[int], enc: Encoding) -> None:
        place = {number: i for i, number in enumerate(members)}
        colors = [part_of(self._encoding(number, enc)) for number in members]
        links = [self._links(self._nodes[number], place) for number in members]
        made = cycle_parts(colors, links, [place[number] for number in entries])
        for number in entries:
            self._nodes[number].part = made[place[number]]

    def _links(self, node: _Node, place: dict[int, int]) -> Links:
        links, after = Links(), 0
        for start, end in node.sets:
            links.ordered += [place[child] for child in node.children[after:start] if child in place]
            within = [place[child] for child in node.children[start:end] if child in place]
            if within:
                links.sets.append(within)
            after = end
        links.ordered += [place[child] for child in node.children[after:] if child in place]
        return links
