"""Code → the names that it reads: globals, closures and imports, with the attributes taken of them.

Names are read off the bytecode, since that is what runs: scopes, comprehensions, nested functions and classes,
f-strings and patterns are all resolved in it.
"""

from __future__ import annotations

import dis
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from tensorlake_nb.core.code.reflection_names import DYNAMIC, TEXT_READERS
from tensorlake_nb.core.code.source import constants, nested_codes

#: Attributes taken one after another: ``("sub", "clean")`` for ``utils.sub.clean``; none for the bare name.
Chain = tuple[str, ...]

_GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_CLOSURES = {"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_LOCALS = ("LOAD_FAST", "STORE_FAST_LOAD_FAST")
_KEPT = 4096
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Import:
    """An import statement inside a function.

    Attributes
    ----------
    module, level
        As written: ``from ..a import b`` has module ``"a"`` and level 2.
    names
        The names taken of the module, with the attributes of each; None where the module itself is bound.
    chains
        Attributes taken of a module that is bound itself, counted from ``module``.
    """

    module: str
    level: int
    names: tuple[tuple[str, frozenset[Chain]], ...] | None
    chains: frozenset[Chain]


@dataclass(slots=True)
class Reads:
    """The names that code reads from outside itself."""

    globals: dict[str, set[Chain]] = field(default_factory=dict)
    closures: dict[str, set[Chain]] = field(default_factory=dict)
    locals: dict[str, set[Chain]] = field(default_factory=dict)
    writes: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    imports: list[Import] = field(default_factory=list)
    makes_classes: bool = False


_held: OrderedDict[int, tuple[CodeType, Reads]] = OrderedDict()


def reads_of(code: CodeType) -> Reads:
    """Everything that code and the code inside it read by name."""
    held = _held.get(id(code))
    if held is not None:
        return held[1]
    reads = Reads()
    pending: list[tuple[str, int, str, list[str] | None]] = []
    for inner in nested_codes(code):
        _read(inner, reads, pending)
        reads.strings.update(item for item in constants(inner) if isinstance(item, str))
    for module, level, alias, names in pending:
        reads.imports.append(_import(module, level, alias, names, reads))
    _held[id(code)] = (code, reads)
    while len(_held) > _KEPT:
        _held.popitem(last=False)
    return reads


def named_in_texts(reads: Reads, namespace: Mapping[str, Any]) -> set[str]:
    """Return the globals that code reads through a text: ``globals()["LIMIT"]``, ``df.query("a > @LIMIT")``."""
    found = set[str]()
    if any(name in reads.globals and name not in namespace for name in DYNAMIC):
        found |= {text for text in reads.strings if text in namespace}
    if reads.attributes & TEXT_READERS:
        sentences = [text for text in reads.strings if text.strip() != text or " " in text or "@" in text]
        found |= {word for text in sentences for word in _WORD.findall(text) if word in namespace}
    return found


def _read(code: CodeType, reads: Reads, pending: list[tuple[str, int, str, list[str] | None]]) -> None:
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "EXTENDED_ARG", "PUSH_NULL")]
    cells = {*code.co_cellvars, *code.co_freevars}
    for i, step in enumerate(steps):
        name = step.opname
        if name in _GLOBALS:
            reads.globals.setdefault(step.argval, set()).add(_chain(steps, i))
        elif name in _CLOSURES:
            reads.closures.setdefault(step.argval, set()).add(_chain(steps, i))
        elif name.startswith(_LOCALS):
            *whole, last = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            for local, chain in [
                *((first, ()) for first in whole if not name.startswith("S")),
                (last, _chain(steps, i)),
            ]:
                if local not in cells:  # from 3.13 on a cell is loaded as a local where a function inside is given it
                    reads.locals.setdefault(local, set()).add(chain)
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            reads.writes.add(step.argval)
        elif name == "LOAD_BUILD_CLASS":
            reads.makes_classes = True
        elif name in _ATTRIBUTES or name == "LOAD_SUPER_ATTR":
            reads.attributes.add(step.argval)
        elif name == "IMPORT_NAME":
            level, taken = steps[i - 2].argval, steps[i - 1].argval
            if taken:
                pending.extend((step.argval, level, alias, [item]) for item, alias in _taken(steps, i, taken))
            else:
                pending.append((step.argval, level, _alias(steps, i), None))


def _chain(steps: list[dis.Instruction], at: int) -> Chain:
    chain = []
    for step in steps[at + 1 :]:
        if step.opname not in _ATTRIBUTES:
            break
        chain.append(step.argval)
    return tuple(chain)


def _taken(steps: list[dis.Instruction], at: int, taken: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the names that ``from module import ...`` takes, each with its local name."""
    found = []
    for step, following in zip(steps[at + 1 :], steps[at + 2 :], strict=False):
        if step.opname == "IMPORT_FROM":
            found.append((step.argval, str(following.argval)))
        elif step.opname == "POP_TOP":
            break
    return found or [(name, name) for name in taken]


def _alias(steps: list[dis.Instruction], at: int) -> str:
    """Return the local name of ``import a.b``: ``a``, or after ``=`` the alias that stands for ``a.b``."""
    renamed = steps[at + 1].opname == "IMPORT_FROM"
    for step in steps[at + 1 :]:
        if step.opname.startswith("STORE_"):
            name = step.argval[0] if isinstance(step.argval, tuple) else step.argval
            whole = steps[at].argval
            return f"={name}" if renamed or "." not in whole else str(name)
    return ""


def _import(module: str, level: int, alias: str, names: list[str] | None, reads: Reads) -> Import:
    held = alias.removeprefix("=")
    uses = set[Chain]()
    for where in (reads.locals, reads.closures, reads.globals):
        uses |= where.get(held, set())
    if names is not None:
        return Import(module, level, tuple((name, frozenset(uses)) for name in names), frozenset())
    if alias.startswith("="):
        return Import(module, level, None, frozenset(uses or {()}))
    # ``import a.b`` binds ``a``: the attributes are counted from there
    steps = module.split(".")[1:]
    below = {chain[len(steps) :] for chain in uses if list(chain[: len(steps)]) == steps}
    return Import(module, level, None, frozenset(below or {()}))
