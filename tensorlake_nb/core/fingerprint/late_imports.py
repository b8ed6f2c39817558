"""Modules that a function imports when it is called, followed through the project's own files."""

from __future__ import annotations

import re
import sys
import types
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tensorlake_nb.core.code.late_modules import Location, absolute_name, docstrings, locate, module_text, slice_module
from tensorlake_nb.core.code.names_read import Import
from tensorlake_nb.core.code.reflection_names import CLASS_MAKERS
from tensorlake_nb.core.code.source import index_source
from tensorlake_nb.core.origin import Origin, package_of
from tensorlake_nb.core.values.digest import digest

#: What stood in the file of a loaded module when it was first looked at.
_first_texts: WeakKeyDictionary[types.ModuleType, bytes] = WeakKeyDictionary()

_WORD = re.compile(r"[A-Za-z_]\w*")
_MAKES_CLASSES = re.compile(rf"^\s*class \w|\b(?:{'|'.join(sorted(CLASS_MAKERS))})\b", re.MULTILINE)

if TYPE_CHECKING:
    from tensorlake_nb.core.fingerprint.walk import Reach


class ImportReach:
    """Collects which names of which of the project's modules are needed, then makes a part of each module."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._needed: dict[str, set[str] | None] = {}  # None: all of it
        self._fresh: list[str] = []
        self._locations: dict[str, Location | None] = {}
        self._labels: dict[str, str] = {}

    def follow(self, module: str, found: Import) -> None:
        """Follow one import statement; ``module`` is its full name."""
        if found.names is not None:
            for name, chains in found.names:
                self._name(module, name, {chain[0] if chain else None for chain in chains})
            return
        self._parents(module)
        for chain in found.chains:
            self._attribute(module, list(chain))

    def perhaps(self, text: str, package: str | None) -> None:
        """Follow a text that may be the name of one of the project's modules, from within a package if it has dots."""
        bare = text.lstrip(".")
        module = absolute_name(bare, len(text) - len(bare), package)
        if all(step.isidentifier() for step in module.split(".")):
            location = self._locate(module)
            if location is not None and location.origin is Origin.PROJECT and location.filename is not None:
                self._parents(module)
                self.need(module, None)

    def _attribute(self, module: str, chain: list[str]) -> None:
        """``module.a.b``: as far as ``a`` is a submodule, else the name ``a`` of the module."""
        if not chain:
            self.need(module, None)
            return
        below = f"{module}.{chain[0]}"
        self.need(module, chain[0])
        location = self._locate(module)
        if location is not None and location.origin is Origin.PROJECT and location.is_package and self._locate(below):
            self._attribute(below, chain[1:])

    def _name(self, module: str, name: str, firsts: set[str | None]) -> None:
        self._parents(module)
        below = f"{module}.{name}"
        location = self._locate(module)
        if location is not None and location.origin is Origin.PROJECT and location.is_package and self._locate(below):
            for first in sorted(firsts, key=str):
                self.need(below, first)
        self.need(module, name)

    def _parents(self, module: str) -> None:
        steps = module.split(".")
        for i in range(1, len(steps)):
            self.need(".".join(steps[:i]), "")

    def need(self, module: str, name: str | None) -> None:
        """Say that a name of a module is needed: all of it for None, only what runs on import for ``""``."""
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
        self._reach.took_from(module)
        self._reach.met(self._label(module))
        held = self._needed.get(module, set())
        if held is None or (module in self._needed and name in held):
            return
        if name is None:
            self._needed[module] = None
        else:
            self._needed[module] = held | {name}
        self._fresh.append(module)

    def _label(self, module: str) -> str:
        """The label of a module's text, another than that of the module as it is loaded."""
        if module not in self._labels:
            label = f"module {module}"
            self._labels[module] = label if label not in self._reach.parts else f"{label} (text)"
            self._reach.parts[self._labels[module]] = ""
        return self._labels[module]

    def need_text(self, module: str, name: str) -> bool:
        """Need a name of a module if the module is the project's own and has a text; False if it doesn't."""
        location = self._locate(module)
        if location is None or location.origin is not Origin.PROJECT or location.filename is None:
            return False
        text = module_text(location.filename)
        if text is None or slice_module(text, {name}) is None:
            return False
        self.need(module, name)
        return True

    def _beside(self, module: str, name: str | None) -> None:
        """Follow an import of which nothing is taken: of the project's own modules, what runs on import."""
        for each in (module, *([f"{module}.{name}"] if name is not None else [])):
            location = self._locate(each)
            if location is not None and location.origin is Origin.PROJECT:
                self._parents(each)
                self.need(each, "")

    def _locate(self, module: str) -> Location | None:
        if module not in self._locations:
            self._locations[module] = locate(module)
        return self._locations[module]

    def finish(self) -> None:
        """Make or renew the part of every module that something new is needed of."""
        while self._fresh:
            module = self._fresh.pop()
            with self._reach.filling(self._label(module)):
                self._module(module)

    def _module(self, module: str) -> None:
        location, label = self._locate(module), self._label(module)
        if location is None:
            return
        if location.filename is None:  # a folder without __init__.py: what lies in it is needed by its own name
            self._reach.text_part(label, module, {})
            return
        text = module_text(location.filename)
        names = self._needed[module]
        found = slice_module(text, names - {""} if names is not None else None) if text is not None else None
        if found is None:
            self._reach.note(f"module `{module}` has no source: it is known by its name only")
            self._reach.text_part(label, module, {})
            return
        counted = found.text
        if "__doc__" in str(text) or "getdoc" in str(text):
            self._reach.read.add("docstrings")
        if "docstrings" in self._reach.counting:
            counted = "\n".join((found.text, *docstrings(str(text), found.lines)))
        self._reach.text_part(label, counted, {})
        self._reach.sources[label] = counted
        self._reach.names.update(_WORD.findall(found.text))
        if _MAKES_CLASSES.search(found.text):
            self._reach.making.add(label)
        package = module if location.is_package else module.rpartition(".")[0]
        for imported, level, name in found.imports:
            whole = absolute_name(imported, level, package)
            if name is None:
                self._parents(whole)
                self.need(whole, None)
            else:
                self._name(whole, name, {None})
        for imported, level, name in found.beside:
            self._beside(absolute_name(imported, level, package), name)
        for name in found.texts:
            self.perhaps(name, package)
        loaded = sys.modules.get(module)
        if loaded is not None and text is not None and not _is_current(loaded, location.filename, text):
            self._reach.note(f"module `{module}` was edited after it was loaded: both texts count until it is reloaded")
            self._reach.module_ref(loaded)


def _is_current(module: types.ModuleType, filename: str, text: str) -> bool:
    """Whether a loaded module is what stands in its file, as far as its functions and our memory of the text tell."""
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
