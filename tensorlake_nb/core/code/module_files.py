"""Modules found and read without being imported.

What a function imports when it is called may not be loaded yet, or differ from process to process: such imports count
by what stands in the files.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from typing import Any

from tensorlake_nb.core.code.source import UNPARSABLE, simplified, texts_of
from tensorlake_nb.core.origin import OWN, Origin, origin_of_file

_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Location:
    """The source of a module; ``folder`` is that of a package without a file, a folder of modules."""

    origin: Origin
    filename: str | None
    is_package: bool
    folder: str | None = None


def absolute_name(module: str, level: int, package: str | None) -> str:
    """Return the full name of a module that is imported from within a package."""
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
class ModuleSource:
    """A module as its text has it.

    Attributes
    ----------
    text
        Canonical source: without comments and docstrings.
    imports
        ``(module, level, name)`` of each import, inside functions too; no name where the module itself is bound.
    strings
        All texts that stand in it, sorted: where it imports by a text, each may be the name of a module.
    words
        All names in it, and all words in its texts.
    """

    text: str
    imports: tuple[tuple[str, int, str | None], ...]
    strings: tuple[str, ...]
    words: frozenset[str]


@lru_cache(maxsize=512)
def read_module(text: str) -> ModuleSource:
    """Read the text of a module; one that isn't Python counts as it stands."""
    try:
        tree = simplified(text)
        source = ast.unparse(tree)
    except UNPARSABLE:
        tree, source = ast.Module([], []), text
    imports, strings = list[tuple[str, int, str | None]](), set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                imports += [(alias.name, 0, None) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                imports += [(module or "", level, alias.name) for alias in names]
            case ast.Constant(value=str(string)):
                strings.add(string)
    return ModuleSource(source, tuple(imports), tuple(sorted(strings)), frozenset(_WORD.findall(source)))


@lru_cache(maxsize=512)
def with_docstrings(text: str) -> str:
    """Return the canonical source of a module with its docstrings."""
    try:
        return ast.unparse(ast.parse(text))
    except UNPARSABLE:
        return text


def module_text(filename: str) -> str | None:
    """Return the present text of a module's file."""
    last = "" if filename.endswith(".py") else None  # an empty file has no lines to show
    for text in texts_of(filename):
        last = text
    return last
