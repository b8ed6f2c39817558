"""Edits of a program: those that turn a knob or change the tree of a text, and those that mean nothing."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from tests.edits.all_parts import PARTS
from tests.edits.programs import Node, Program, program


@dataclass(frozen=True)
class Edit:
    """A program after an edit.

    Attributes
    ----------
    neutral
        The edit means nothing to anything that is reached.
    """

    what: str
    after: Program
    neutral: bool


def turned(trees: tuple[Node, ...], rng: random.Random) -> Edit | None:
    """One knob of one part turned."""
    nodes = [node for tree in trees for node in tree if node.knobs]
    if not nodes:
        return None
    node = rng.choice(nodes)
    knob = rng.choice(sorted(node.knobs))
    value = rng.choice([value for value in PARTS[node.part].turned[knob] if value != node.knobs[knob]])
    after = tuple(tree.with_knob(node.number, knob, value) if node in tree else tree for tree in trees)
    return Edit(f"{node.part}: {node.knobs[knob]} becomes {value}", program(after), neutral=False)


# what changes the tree of a text

_SWAPPED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.FloorDiv, ast.Div: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.Is: ast.IsNot,
}  # fmt: skip


def _mutations(tree: ast.Module) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each small change of a tree: what it is, and what makes it."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                yield f"a constant in line {line}", partial(setattr, node, "value", _other(value))
            case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in _SWAPPED:
                yield f"an operator in line {line}", partial(setattr, node, "op", _SWAPPED[type(op)]())
            case ast.Compare(ops=[first, *rest]) if type(first) in _SWAPPED:
                yield f"a comparison in line {line}", partial(setattr, node, "ops", [_SWAPPED[type(first)](), *rest])
            case ast.IfExp(body=body, orelse=orelse):
                yield f"the branches in line {line}", partial(vars(node).update, body=orelse, orelse=body)
            case ast.ClassDef(bases=[_, _, *_]):
                yield f"the bases in line {line}", node.bases.reverse
            case _:
                pass
        for decorator in getattr(node, "decorator_list", []):
            yield f"a decorator in line {line}", partial(vars(node)["decorator_list"].remove, decorator)
        statements = getattr(node, "body", None)
        if isinstance(statements, list):
            for at in range(len(statements) - 1):
                yield f"a statement after line {line}", partial(statements.pop, at)
                yield f"two statements after line {line}", partial(_exchange, statements, at)


def _exchange(statements: list[ast.stmt], at: int) -> None:
    statements.insert(at, statements.pop(at + 1))


def _other(value: bool | int | float | str) -> bool | int | float | str:
    return not value if isinstance(value, bool) else value + "z" if isinstance(value, str) else value + 1


def mutated(before: Program, rng: random.Random) -> Edit | None:
    """One text of a program with a small change to its tree."""
    place = rng.choice(_places(before))
    tree = ast.parse(before.texts[place])
    # the imports at a module's top stand there for whatever it may hold
    found = [change for change in _mutations(tree) if not change[0].endswith("after line 0") or place.isdigit()]
    if not found:
        return None
    what, make = rng.choice(found)
    make()
    try:
        text = ast.unparse(ast.fix_missing_locations(tree))
    except (ValueError, RecursionError):
        return None
    return Edit(f"{what} of {place}", before.with_text(place, text + "\n"), neutral=False)


# what means nothing


def _lines_inserted(text: str, rng: random.Random, inserted: Callable[[str], list[str]]) -> str | None:
    """Lines put before some statement, at its indentation, where that leaves the tree as it is."""
    lines = text.splitlines()
    heads = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    if not heads:
        return None
    node = rng.choice(heads)
    decorators = [one.lineno for one in getattr(node, "decorator_list", [])]
    at = min([node.lineno, *decorators]) - 1
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    return "\n".join([*lines[:at], *inserted(indent), *lines[at:]]) + "\n"


def _commented(text: str, rng: random.Random) -> str | None:
    return _lines_inserted(text, rng, lambda indent: [f"{indent}# what a person says of it"])


def _spaced(text: str, rng: random.Random) -> str | None:
    return _lines_inserted(text, rng, lambda indent: ["", indent])


def _rewritten(text: str, rng: random.Random) -> str | None:
    return ast.unparse(ast.parse(text)) + "\n" if text else None


def _documented(text: str, rng: random.Random) -> str | None:
    """A docstring added to a function or class, or the one that is there changed."""
    tree = ast.parse(text)
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.body[0].lineno > node.lineno
        and ast.get_docstring(node) is None
    ]
    if not found:
        return None
    node = rng.choice(found)
    first = node.body[0]
    at = min([first.lineno, *(one.lineno for one in getattr(first, "decorator_list", []))]) - 1
    lines = text.splitlines()
    return "\n".join([*lines[:at], " " * first.col_offset + '"""Say what it does."""', *lines[at:]]) + "\n"


_UNUSED = (
    "def unused(x):\n    return x + 1\n",
    "UNUSED = 12\n",
    "class Unused:\n    a = 1\n    def m(self):\n        return self.a\n",
    "unused_too = [1, 'two', (3.0,)]\n",
    "import colorsys\n",
)


def _unread(before: Program) -> list[str]:
    """The places where what nobody names counts for nothing: where modules are imported late, no file is one."""
    late = any(re.search(r"^\s+(import|from) [mp]\d", text, re.MULTILINE) for text in before.texts.values())
    return [place for place in _places(before) if place.isdigit() or not late]


def _places(before: Program) -> list[str]:
    return [place for place, text in before.texts.items() if place != "0" and text]


def _lengthened(text: str, rng: random.Random) -> str | None:
    return text + rng.choice(_UNUSED)


_TEXTS: dict[str, Callable[[str, random.Random], str | None]] = {
    "a comment": _commented,
    "blank lines": _spaced,
    "another layout": _rewritten,
    "a docstring": _documented,
    "something unused": _lengthened,
}


def _reordered(trees: tuple[Node, ...], before: Program) -> Program | None:
    """The cells of two trees, which know nothing of each other, in the other order."""
    if len(trees) < 2:
        return None
    other = program(trees[::-1])
    return replace(other, cells=(*other.cells[:-1], before.cells[-1]))


def _joined(before: Program) -> Program:
    return replace(before, cells=(before.cells[0] + "".join(before.cells[1:-1]), before.cells[-1]))


def neutral(trees: tuple[Node, ...], before: Program, rng: random.Random) -> Edit | None:
    """An edit of nothing that is reached."""
    kind = rng.choice([*_TEXTS, "another order", "fewer cells"])
    after: Program | None
    if kind == "another order":
        after = _reordered(trees, before)
    elif kind == "fewer cells":
        after = _joined(before)
    elif any("__doc__" in text for text in before.texts.values()):
        after = None  # where docstrings are read, those of all modules that are imported late count
    else:
        place = rng.choice(_unread(before) if kind == "something unused" else _places(before))
        text = _TEXTS[kind](before.texts[place], rng)
        after = None if text is None else before.with_text(place, text)
    return None if after is None else Edit(kind, after, neutral=True)


def edited_unused(before: Program, rng: random.Random) -> tuple[Program, Edit]:
    """A program with something unused, and the same with that changed or renamed."""
    place = rng.choice(_unread(before))
    one, other = rng.choice(
        (("unused(x):\n    return x", "unused(x):\n    return -x"), ("unused(x): pass", "idle(x): pass"))
    )
    first, second = (before.with_text(place, f"{before.texts[place]}def {text}\n") for text in (one, other))
    return first, Edit("what is unused", second, neutral=True)
