"""Modules that a function imports when it is called: found and read without being imported.

What is loaded by then differs from process to process, so these imports count by what stands in the files: the
statements that bind the imported names, those that they need, and all that run for their effect.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from typing import Any

from tensorlake_nb.core.code.side_effects import SideEffects, finds_by_text, imports_by_text, names_in, texts_in
from tensorlake_nb.core.code.source import simplified, texts_of
from tensorlake_nb.core.origin import OWN, Origin, origin_of_file


@dataclass(frozen=True, slots=True)
class Location:
    """Where a module would come from; ``folder`` is that of a package without a file, a folder of modules."""

    origin: Origin
    filename: str | None
    is_package: bool
    folder: str | None = None


def absolute_name(module: str, level: int, package: str | None) -> str:
    """The full name of a module that is imported from within a package."""
    if not level:
        return module
    base = (package or "").split(".")
    base = base[: len(base) - (level - 1)]
    return ".".join([*base, module] if module else base)


def locate(module: str) -> Location | None:
    """Find a module's file as the import system would, without running anything; None where there is none."""
    top = module.partition(".")[0]
    if top == OWN:
        return Location(Origin.OWN, None, True)
    path: Any = None
    steps = module.split(".")
    spec: ModuleSpec | None = None
    for i in range(len(steps)):
        spec = _find_spec(".".join(steps[: i + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None:
        return None
    if spec.origin in (None, "built-in", "frozen"):
        if top in sys.stdlib_module_names:
            return Location(Origin.STDLIB, None, path is not None)
        folders = list(path or ())
        origin = origin_of_file(folders[0] + "/__init__.py") if folders else Origin.PROJECT
        return Location(origin, None, path is not None, folders[0] if folders else None)
    assert spec.origin is not None
    return Location(origin_of_file(spec.origin), spec.origin, path is not None)


def _find_spec(name: str, path: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(name, path) if find is not None else None
        except Exception:  # a finder that fails here will say so when the import is run
            continue
        if spec is not None:
            return spec  # type: ignore[no-any-return]
    # Not found any more, as after os.chdir() away from a notebook's folder: what is loaded is what an import gives.
    held = getattr(sys.modules.get(name), "__dict__", {}).get("__spec__")
    return held if isinstance(held, ModuleSpec) else None


@dataclass(frozen=True, slots=True)
class ModuleSlice:
    """The statements of a module that some of its names need.

    Attributes
    ----------
    text
        Their canonical source.
    imports
        ``(module, level, name)`` of what they import; no name for a module that is bound itself.
    beside
        The same of other imports that run: the modules may do more than bind names.
    texts
        What may be names of modules, where one is imported by a text.
    lines
        Where they begin.
    """

    text: str
    imports: tuple[tuple[str, int, str | None], ...]
    beside: tuple[tuple[str, int, str | None], ...]
    texts: tuple[str, ...]
    lines: frozenset[int]


def slice_module(text: str, names: Iterable[str] | None) -> ModuleSlice | None:
    """Take from a module what some names need, or all of it; None where the text isn't Python."""
    return _slice(text, None if names is None else frozenset(names))


@lru_cache(maxsize=512)
def _slice(text: str, names: frozenset[str] | None) -> ModuleSlice | None:
    try:
        tree = simplified(text)
    except (SyntaxError, ValueError):
        return None
    statements = [item for item in tree.body if not _is_guarded(item)]
    binds = [_bound(item) for item in statements]
    bound = set().union(*binds) if binds else set()
    wanted = set(bound) if names is None else set(names)
    if "*" in wanted:
        wanted |= bound
    if not wanted <= bound:  # a submodule most likely, else what the module's own __getattr__ gives
        wanted.add("__getattr__")
    effects = SideEffects(statements, _is_project)
    taken = {i for i, item in enumerate(statements) if names is None or effects.has_effect(item)}
    seen = set[int]()
    while True:
        fresh = {i for i in range(len(statements)) if i in taken or binds[i] & wanted or "*" in binds[i]} - seen
        if not fresh:
            break
        seen |= fresh
        for i in fresh:
            if not isinstance(statements[i], ast.Import | ast.ImportFrom):
                wanted |= names_in(statements[i])
    chosen = [statements[i] for i in sorted(seen)]
    if names is not None and any(finds_by_text(item) for item in chosen):
        return _slice(text, None)
    lines, imports, beside = [], list[tuple[str, int, str | None]](), list[tuple[str, int, str | None]]()
    for i, statement in enumerate(statements):
        only = statement if isinstance(statement, ast.Import | ast.ImportFrom) else None
        if i not in seen:
            beside += _imported(only, only.names) if only is not None else []
            continue
        if only is None:
            lines.append(ast.unparse(statement))
            for node in ast.walk(statement):
                imports += _imported(node, node.names) if isinstance(node, ast.Import | ast.ImportFrom) else []
            continue
        kept = [a for a in only.names if names is None or a.name == "*" or _alias_name(a) in wanted]
        imports += _imported(only, kept)
        beside += _imported(only, [alias for alias in only.names if alias not in kept])
        origin = "" if isinstance(only, ast.Import) else f"from {'.' * only.level}{only.module or ''} "
        lines += [f"{origin}import {ast.unparse(alias)}" for alias in kept]
    texts = texts_in(chosen) if any(imports_by_text(item) for item in chosen) else ()
    begun = frozenset(item.lineno for item in chosen)
    return ModuleSlice("\n".join(lines), tuple(imports), tuple(beside), texts, begun)


@lru_cache(maxsize=512)
def docstrings(text: str, lines: frozenset[int]) -> tuple[str, ...]:
    """The texts that stand by themselves in those statements of a module that begin on some lines, and its own."""
    tree = ast.parse(text)
    chosen = [item for item in tree.body if item.lineno in lines]
    own = ast.get_docstring(tree, clean=False)
    found = [said for item in chosen for node in ast.walk(item) if (said := _text_of(node)) is not None]
    return (*([own] if own is not None else []), *found)


def _text_of(node: ast.AST) -> str | None:
    """What a statement that is nothing but a text says."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return None
    return node.value.value if isinstance(node.value.value, str) else None


def _imported(statement: ast.Import | ast.ImportFrom, names: Iterable[ast.alias]) -> list[tuple[str, int, str | None]]:
    if isinstance(statement, ast.Import):
        return [(alias.name, 0, None) for alias in names]
    return [(statement.module or "", statement.level, alias.name) for alias in names]


def _is_project(module: str, level: int) -> bool:
    location = locate(module.partition(".")[0]) if not level else None
    return location is None or location.origin is Origin.PROJECT


def _alias_name(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = set[str]()
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {_alias_name(alias) for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def _is_guarded(statement: ast.stmt) -> bool:
    """Whether a statement is skipped on import: ``if __name__ == "__main__"`` or ``if TYPE_CHECKING``."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = ast.unparse(statement.test)
    return test in ("__name__ == '__main__'", "TYPE_CHECKING", "typing.TYPE_CHECKING", "False")


def module_text(filename: str) -> str | None:
    """What stands in a module's file now."""
    last = "" if filename.endswith(".py") else None  # an empty file has no lines to show
    for text in texts_of(filename):
        last = text
    return last
