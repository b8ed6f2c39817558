"""Modules that a function imports when it is called.

Each of the project's own counts by its whole text, and so does each that it imports in turn, wherever in the text the
import stands: what a module does to others when it is imported can't be told from outside.
"""

from __future__ import annotations

import functools
import re
import sys
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tensorlake_nb.core.code.module_files import (
    Location,
    absolute_name,
    locate,
    module_text,
    read_module,
    with_docstrings,
)
from tensorlake_nb.core.code.names_read import Chain, Import
from tensorlake_nb.core.code.reflection_names import CLASS_MAKERS, IMPORTERS
from tensorlake_nb.core.code.source import index_source
from tensorlake_nb.core.origin import Origin, package_of
from tensorlake_nb.core.values.digest import digest

#: The text of a loaded module's file when it was first read.
_first_texts: WeakKeyDictionary[types.ModuleType, bytes] = WeakKeyDictionary()

_MAKES_CLASSES = re.compile(rf"^\s*class \w|\b(?:{'|'.join(sorted(CLASS_MAKERS))})\b", re.MULTILINE)
#: Where a module uses one of these names, its texts may name modules, those below a package too.
_NAMES_MODULES = IMPORTERS | {"__all__"}

if TYPE_CHECKING:
    from tensorlake_nb.core.fingerprint.walk import Reach


class LateImports:
    """Makes a part of each module that is imported while code runs."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._labels: dict[str, str] = {}
        self._locate = functools.cache(locate)

    def follow(self, module: str, found: Import) -> None:
        """Follow one import statement of a function; ``module`` is its full name."""
        taken = set(found.chains)
        for name, chains in found.names or ():
            taken |= {(name, *chain) for chain in chains or {()}}
        for chain in sorted(taken):
            self._take(module, chain)

    def perhaps(self, text: str, package: str | None) -> None:
        """Follow a text that may be the name of one of the project's modules, from within a package if it has dots."""
        bare = text.lstrip(".")
        module = absolute_name(bare, len(text) - len(bare), package)
        if all(step.isidentifier() for step in module.split(".")) and self._file(module) is not None:
            self._take(module)

    def need_text(self, module: str) -> bool:
        """Need a module if it is the project's own and has a text; False if it doesn't."""
        filename = self._file(module)
        if filename is None or module_text(filename) is None:
            return False
        self._need(module)
        return True

    def _file(self, module: str) -> str | None:
        """Return the file of one of the project's modules."""
        location = self._locate(module)
        return location.filename if location is not None and location.origin is Origin.PROJECT else None

    def _take(self, module: str, chain: Chain = ()) -> None:
        """Need a module, the packages that it lies in, and those below it that a chain of attributes leads through."""
        steps = module.split(".")
        for i in range(1, len(steps) + 1):
            self._need(".".join(steps[:i]))
        for name in chain:
            location = self._locate(module)
            if location is None or location.origin is not Origin.PROJECT or not location.is_package:
                return
            module = f"{module}.{name}"
            if self._locate(module) is None:  # another attribute
                return
            self._need(module)

    def _need(self, module: str) -> None:
        location = self._locate(module)
        if location is None:
            self._reach.note(f"module `{module}` isn't found")
            self._reach.parts[self._label(module)] = "missing"
            return
        if location.origin is Origin.INSTALLED:
            self._reach.package(package_of(module))
        if location.origin is not Origin.PROJECT:
            self._reach.tops.add(module.partition(".")[0])
            return
        is_known = module in self._labels
        label = self._reach.met(self._label(module))
        if not is_known:
            self._reach.took_from(module)
            self._reach.later(label, lambda: self._fill(label, module, location))

    def _label(self, module: str) -> str:
        """Return the label of a module's text, distinct from the label of the loaded module."""
        if module not in self._labels:
            label = f"module {module}"
            self._labels[module] = label if label not in self._reach.parts else f"{label} (text)"
            self._reach.parts[self._labels[module]] = ""
        return self._labels[module]

    def _fill(self, label: str, module: str, location: Location) -> None:
        text = module_text(location.filename) if location.filename is not None else None
        if text is None:
            if location.filename is not None:  # else a folder without __init__.py: what lies in it has names of its own
                self._reach.note(f"module `{module}` has no source: it is known by its name only")
            self._reach.text_part(label, module, {})
            return
        source = read_module(text)
        self._reach.text_part(label, source.text, {})
        self._reach.sources[label] = source.text
        self._reach.where_read("docstrings", lambda: self._documented(label, text))
        self._reach.names |= source.words
        self._reach.looks(source.words)
        if _MAKES_CLASSES.search(source.text):
            self._reach.making.add(label)
        package = module if location.is_package else module.rpartition(".")[0]
        for imported, level, name in source.imports:
            self._take(absolute_name(imported, level, package), () if name is None else (name,))
        for string in source.strings if not _NAMES_MODULES.isdisjoint(source.words) else ():
            self.perhaps(string, package)
            self._take(module, (string,) if string.isidentifier() else ())
        loaded = sys.modules.get(module)
        if loaded is not None and not _is_current(loaded, str(location.filename), text):
            self._reach.note(f"module `{module}` was edited after it was loaded: both texts count until it is reloaded")
            self._reach.module_ref(loaded)

    def _documented(self, label: str, text: str) -> Mapping[str, str]:
        self._reach.sources[label] = with_docstrings(text)
        return {"docstrings": self._reach.sources[label]}


def _is_current(module: types.ModuleType, filename: str, text: str) -> bool:
    """Return True if a loaded module matches its file, by its functions and our memory of the text."""
    first = _first_texts.setdefault(module, digest(text))
    if first != digest(text):
        return False
    for value in vars(module).values():
        code = getattr(value, "__code__", None)
        if isinstance(code, types.CodeType) and code.co_filename == filename:
            index = index_source(text, code.co_flags)
            if index is None or index.find(code) is None:
                return False
    return True
