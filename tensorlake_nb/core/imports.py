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

from tensorlake_nb.core.origin import OWN, Origin, origin_of_file
from tensorlake_nb.core.source import simplified, texts_of


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
class Slice:
    """The statements of a module that some of its names need.

    Attributes
    ----------
    text
        Their canonical source.
    imports
        ``(module, level, name)`` of what they import; no name for a module that is bound itself.
    unbound
        Names that were asked for and that no statement binds: submodules, most likely.
    """

    text: str
    imports: tuple[tuple[str, int, str | None], ...]
    unbound: tuple[str, ...]


def slice_module(text: str, names: Iterable[str] | None) -> Slice | None:
    """Take from a module what some names need, or all of it; None where the text isn't Python."""
    return _slice(text, None if names is None else frozenset(names))


@lru_cache(maxsize=512)
def _slice(text: str, names: frozenset[str] | None) -> Slice | None:
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
    taken = {i for i, item in enumerate(statements) if names is None or _has_effect(item)}
    seen = set[int]()
    while True:
        fresh = {i for i in range(len(statements)) if i in taken or binds[i] & wanted or "*" in binds[i]} - seen
        if not fresh:
            break
        seen |= fresh
        for i in fresh:
            if not isinstance(statements[i], ast.Import | ast.ImportFrom):
                wanted |= {node.id for node in ast.walk(statements[i]) if isinstance(node, ast.Name)}
    lines, imports = [], list[tuple[str, int, str | None]]()
    for i in sorted(seen):
        found = [node for node in ast.walk(statements[i]) if isinstance(node, ast.Import | ast.ImportFrom)]
        only = statements[i] if isinstance(statements[i], ast.Import | ast.ImportFrom) else None
        for node in found:
            kept = [
                alias
                for alias in node.names
                if node is not only or names is None or alias.name == "*" or _alias_name(alias) in wanted
            ]
            for alias in kept:
                if isinstance(node, ast.Import):
                    imports.append((alias.name, 0, None))
                else:
                    imports.append((node.module or "", node.level, alias.name))
            if node is only:
                origin = "" if isinstance(node, ast.Import) else f"from {'.' * node.level}{node.module or ''} "
                lines += [f"{origin}import {ast.unparse(alias)}" for alias in kept]
        if only is None:
            lines.append(ast.unparse(statements[i]))
    unbound = tuple(sorted(set(names or ()) - bound - {"*"}))
    return Slice("\n".join(lines), tuple(imports), unbound)


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


def _has_effect(statement: ast.stmt) -> bool:
    """Whether a statement may do more than bind a name: calls, loops, branches, decorators that register."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return bool(statement.decorator_list)
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
        return False
    if isinstance(statement, ast.Assign):
        return not all(isinstance(target, ast.Name) for target in statement.targets)
    if isinstance(statement, ast.AnnAssign):
        return not isinstance(statement.target, ast.Name)
    return True


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
