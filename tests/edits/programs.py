"""Programs drawn from parts: cells, and modules beside them, that define ``f``."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from string import Template

from tests.edits.all_parts import PARTS
from tests.edits.parts import PRELUDE

LEAVES = ("v", "(v + 1)", "(v * 2)", "abs(v - 3)")
#: How a definition comes to where it is used: it stands there, or in a module of its own.
WAYS = (
    *["here"] * 8,
    "from",
    "import",
    "import as",
    "star",
    "late from",
    "late import",
    "package",
    "late package",
    "re-exported",
    "relative",
)
_DEEPEST = 3


@dataclass(frozen=True)
class Program:
    """What a notebook holds: cells in their order, the last of which defines ``f``; texts of modules by path."""

    cells: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """Each text by its place: the number of a cell, the path of a file."""
        return {**{str(number): cell for number, cell in enumerate(self.cells)}, **self.files}

    def with_text(self, place: str, text: str) -> Program:
        """The same with one text replaced."""
        if place in self.files:
            return replace(self, files={**self.files, place: text})
        number = int(place)
        return replace(self, cells=(*self.cells[:number], text, *self.cells[number + 1 :]))


@dataclass(frozen=True)
class Node:
    """A part in a program: under which number, how its knobs stand, what lies below it, and how it is come by."""

    part: str
    number: int
    knobs: dict[str, str]
    below: Node | str
    way: str

    def __iter__(self) -> Iterator[Node]:
        """This node and those below it."""
        yield self
        if isinstance(self.below, Node):
            yield from self.below

    def with_knob(self, number: int, knob: str, value: str) -> Node:
        """The same tree with one knob of one node turned."""
        if number == self.number:
            return replace(self, knobs={**self.knobs, knob: value})
        assert isinstance(self.below, Node)
        return replace(self, below=self.below.with_knob(number, knob, value))


def drawn(rng: random.Random, first: int) -> tuple[Node, ...]:
    """Some trees of parts, numbered from ``first`` on."""
    numbers = iter(range(first, first + 100))

    def tree(depth: int) -> Node:
        number = next(numbers)
        name = rng.choice(sorted(PARTS))
        part = PARTS[name]
        knobs = {knob: rng.choice(values) for knob, values in part.turned.items()}
        holds = "$inner" in part.text + part.use and depth < _DEEPEST and rng.random() < 0.6
        return Node(name, number, knobs, tree(depth + 1) if holds else rng.choice(LEAVES), rng.choice(WAYS))

    return tuple(tree(1) for _ in range(rng.choice((1, 1, 2))))


def program(trees: tuple[Node, ...]) -> Program:
    """The text of some trees."""
    cells: list[str] = [PRELUDE]
    files: dict[str, str] = {}
    uses = [_laid_out(tree, None, cells, files) for tree in trees]
    cells.append(f"def f(v):\n    return [{', '.join(uses)}]\n")
    return Program(tuple(cells), files)


def _laid_out(node: Node, place: str | None, cells: list[str], files: dict[str, str]) -> str:
    """Write what a node defines, and say how it is used from ``place``."""

    def write(text: str, where: str | None) -> None:
        if where is None:
            cells.append(text)
        else:
            files[where] = files.setdefault(where, PRELUDE) + text

    module, home = f"m{node.number}", place
    if node.way != "here":
        packed = node.way in ("package", "late package", "re-exported", "relative")
        package = f"p{node.number}"
        home = f"{package}/{module}.py" if packed else f"{module}.py"
        if packed:
            files[f"{package}/__init__.py"] = f"from .{module} import *\n" if node.way == "re-exported" else ""
            module = package if node.way == "re-exported" else f"{package}.{module}"
    inner = node.below if isinstance(node.below, str) else _laid_out(node.below, home, cells, files)
    part = PARTS[node.part]
    given = {"n": str(node.number), "inner": f"({inner})", **node.knobs}
    # knobs may name what has a number as well
    given |= {knob: Template(value).substitute(n=node.number) for knob, value in node.knobs.items()}
    write(Template(part.text).substitute(given), home)
    use = Template(part.use).substitute(given)
    names = sorted(
        {*re.findall(rf"\b[A-Za-z]+{node.number}\b", Template(part.use).substitute({**given, "inner": "v"}))}
    )
    listed = ", ".join(names)
    match node.way:
        case "here":
            return use
        case "from" | "package" | "re-exported":
            write(f"from {module} import {listed}\n", place)
            return use
        case "star":
            write(f"from {module} import *\n", place)
            return use
        case "relative":
            files[f"p{node.number}/front.py"] = f"from .{module.partition('.')[2]} import {listed}\n"
            write(f"from p{node.number}.front import {listed}\n", place)
            return use
        case "import" | "import as":
            called = module if node.way == "import" else f"q{node.number}"
            write(f"import {module}\n" if called == module else f"import {module} as {called}\n", place)
            return _prefixed(use, names, called)
        case "late import":
            late = f"import {module}\n    return {_prefixed(use, names, module)}"
        case _:
            late = f"from {module} import {listed}\n    return {use}"
    write(f"def l{node.number}(v):\n    {late}\n", place)
    return f"l{node.number}(v)"


def _prefixed(use: str, names: list[str], module: str) -> str:
    return re.sub(rf"\b({'|'.join(names)})\b", rf"{module}.\1", use)
