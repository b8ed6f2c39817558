"""The picture of a graph or run: boxes and wires, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

Kind = Literal["function", "router", "reducer"]
State = Literal["waiting", "running", "computed", "replayed", "failed", "cancelled", "not reached"]

#: Told by its glyph and its word before any colour.
GLYPHS: Mapping[State, str] = {
    "waiting": "○",
    "running": "▶",
    "computed": "✓",
    "replayed": "↺",
    "failed": "✕",
    "cancelled": "⊘",
    "not reached": "–",
}


@dataclass(frozen=True, slots=True)
class BoxCounts:
    """The numbers of a node's elements by state; ``total`` is None until its parents are finished."""

    pending: int = 0
    running: int = 0
    computed: int = 0
    replayed: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int | None = None

    @classmethod
    def of(cls, numbers: Mapping[str, int | None]) -> BoxCounts:
        """Read the counts of one node out of a run's snapshot; names that mean nothing here are left out."""
        total = numbers.get("total")
        known = {name: numbers.get(name) or 0 for name in cls.__slots__ if name != "total"}
        return cls(**known, total=total)

    @property
    def settled(self) -> int:
        return self.computed + self.replayed + self.failed + self.cancelled

    @property
    def state(self) -> State:
        """The one state that a person should see first."""
        if self.failed:
            return "failed"
        if self.running:
            return "running"
        if self.cancelled:
            return "cancelled"
        if self.pending:
            return "running" if self.settled else "waiting"
        if self.computed:
            return "computed"
        return "replayed" if self.replayed else "waiting"

    def words(self, over: bool) -> str:
        """One short line: ``37/100``, ``97 replayed, 3 computed``; ``over`` once nothing more is going to happen."""
        parts = [
            f"{n} {word}" for word in ("failed", "cancelled", "replayed", "computed") if (n := getattr(self, word))
        ]
        if over:
            return ", ".join(parts) or "not reached"
        if not self.settled and not self.running:
            return "waiting"
        done = f"{self.settled}/{self.total}" if self.total is not None else f"{self.settled} so far"
        return ", ".join([done, *parts[:1]]) if self.failed else done


@dataclass(frozen=True, slots=True)
class Box:
    """A node: its name, what kind it is, a sentence about it, and (for a run) its counts."""

    name: str
    kind: Kind = "function"
    about: str = ""
    counts: BoxCounts | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """An edge; ``routed`` wires are taken only by the elements that the source sends there."""

    source: str
    target: str
    into: str | None = None
    routed: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph as it is shown, and for a run also how far it is (``status``) and what it waits for (``doing``)."""

    name: str
    start: str
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    about: str = ""
    problems: tuple[str, ...] = ()
    status: str | None = None
    doing: str = ""

    @property
    def over(self) -> bool:
        return self.status not in (None, "running")

    def with_counts(
        self,
        counts: Mapping[str, Mapping[str, int | None]],
        status: str,
        notes: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Picture:
        """Return the picture with a run's counts in its boxes and notes on some of them."""
        boxes = tuple(
            replace(
                box,
                counts=BoxCounts.of(counts.get(box.name, {})),
                about=" · ".join(filter(None, [box.about, *notes.get(box.name, ())])),
            )
            for box in self.boxes
        )
        return replace(self, boxes=boxes, status=status)


def state_of(box: Box, over: bool) -> State | None:
    """Return the state of a box; a box still waiting after the run was never reached. None if no run is shown."""
    if box.counts is None:
        return None
    return "not reached" if over and box.counts.state == "waiting" else box.counts.state


def paths(start: str, wires: Sequence[Wire]) -> list[list[str]]:
    """Cut a graph into as few readable paths as following it greedily gives, each wire in exactly one of them.

    The first begins at ``start``; ``a → b → c; b → d`` is how a person would write it, and how ``--wire`` reads it.
    """
    left: dict[str, list[str]] = {}
    for wire in wires:
        left.setdefault(wire.source, []).append(wire.target)
    found: list[list[str]] = []
    for source in _starting_with(start, left):
        while left.get(source):
            path = [source]
            while left.get(path[-1]):
                path.append(left[path[-1]].pop(0))
            found.append(path)
    return found


def _starting_with(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from (name for name in list(rest) if name != first)


def of_definition(definition: Mapping[str, Any]) -> Picture:
    """Read a graph's recorded definition, whatever version wrote it: what it doesn't say is left blank."""
    boxes = tuple(
        Box(
            name=str(name),
            kind=node["kind"] if node.get("kind") in get_args(Kind) else "function",
            about=str(node.get("description") or ""),
        )
        for name, node in definition.get("nodes", {}).items()
    )
    wires = tuple(
        Wire(str(edge["source"]), str(edge["target"]), edge.get("into"), bool(edge.get("routed")))
        for edge in definition.get("edges", ())
    )
    return Picture(
        name=str(definition.get("name", "")),
        start=str(definition.get("start_node", "")),
        boxes=boxes,
        wires=wires,
        about=str(definition.get("description") or ""),
    )
