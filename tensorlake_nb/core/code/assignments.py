"""The attributes of packages' modules, classes and functions that the project assigns: ``pd.Series.factor = 2``.

A number or a ``functools.partial`` shows nothing of who put it where it stands, so the texts of cells and of the
project's modules are read for assignments and ``setattr``, and the names in them looked up, without running anything.
"""

from __future__ import annotations

import ast
import functools
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.code.module_files import module_text
from tensorlake_nb.core.code.source import UNPARSABLE, cell_texts, magic_body


@dataclass(frozen=True, slots=True)
class _Target:
    """``pd.Series.factor`` in a text; the attribute is None where only a running program knows it."""

    steps: tuple[str, ...]
    attribute: str | None


def assigned(own: Mapping[str, types.ModuleType]) -> Iterator[tuple[Any, str | None]]:
    """Each module, class or function of which the project's code assigns an attribute, and the attribute's name.

    Parameters
    ----------
    own
        The project's modules by their names, ``__main__`` among them.
    """
    for name, module in own.items():
        file = getattr(module, "__file__", None)
        texts = list(cell_texts()) if name == "__main__" else []
        if isinstance(file, str) and (text := module_text(file)) is not None:
            texts.append(text)
        for text in texts:
            targets, imports = _read(text)
            for target in targets:
                owner = _look_up(target.steps, vars(module), imports)
                if isinstance(owner, types.ModuleType | type | types.FunctionType):
                    yield owner, target.attribute


@functools.lru_cache(maxsize=4096)
def _read(text: str) -> tuple[tuple[_Target, ...], Mapping[str, tuple[str, str]]]:
    """Return the targets that a text assigns to, and its imports: name → (module, the name in it or nothing)."""
    try:
        tree = ast.parse(text)
    except UNPARSABLE:
        return (), {}
    targets, imports = dict[_Target, None](), dict[str, tuple[str, str]]()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name, ctx=ast.Store()):
                targets |= _target(owner, name)
            case ast.Call(func=ast.Name(id="setattr"), args=[owner, ast.Constant(value=str(name)), _]):
                targets |= _target(owner, name)
            case ast.Call(func=ast.Name(id="setattr"), args=[owner, _, _]):
                targets |= _target(owner, None)
            case ast.Import(names=names):
                for alias in names:
                    bound = alias.name if alias.asname else alias.name.partition(".")[0]
                    imports[alias.asname or bound] = (bound, "")
            case ast.ImportFrom(module=str(module), names=names, level=0):
                imports |= {alias.asname or alias.name: (module, alias.name) for alias in names}
            case ast.Call() if (body := magic_body(node)) is not None:
                below, bindings = _read(body)
                targets |= dict.fromkeys(below)
                imports |= bindings
    return tuple(targets), imports


def _target(owner: ast.expr, attribute: str | None) -> dict[_Target, None]:
    """Return the target if its owner is a dotted name such as ``pd.Series``, else nothing."""
    steps: list[str] = []
    while isinstance(owner, ast.Attribute):
        steps.append(owner.attr)
        owner = owner.value
    if not isinstance(owner, ast.Name) or owner.id in ("self", "cls"):
        return {}
    return {_Target((owner.id, *reversed(steps)), attribute): None}


def _look_up(steps: tuple[str, ...], namespace: Mapping[str, Any], imports: Mapping[str, tuple[str, str]]) -> Any:
    """Return the object that a dotted name stands for; None if there is none, or if finding it would run a program."""
    first, *rest = steps
    if first in namespace:
        found: Any = namespace[first]
    elif first in imports:  # inside a function
        module, name = imports[first]
        found, rest = sys.modules.get(module), [name, *rest] if name else rest
    else:
        return None
    for step in rest:
        held = getattr(found, "__dict__", {}) if isinstance(found, types.ModuleType | type) else {}
        if step in held:
            found = held[step]
        else:
            found = sys.modules.get(f"{found.__name__}.{step}") if isinstance(found, types.ModuleType) else None
        found = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    return found
