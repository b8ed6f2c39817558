"""Project modules that functions import when they are called: sent as texts, and imported from these on a worker.

Such an import would otherwise find what the worker happened to import first, which may be older than what stands in
the file now, or find nothing at all on another machine.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import threading
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tensorlake_nb.core.code.module_files import locate, module_text
from tensorlake_nb.core.origin import Origin
from tensorlake_nb.engine.travel.unpickler import PROCESS


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a module, and the file that it stands in."""

    filename: str
    is_package: bool
    text: str


@dataclass(frozen=True, slots=True)
class Shipment:
    """The modules that one function imports, with all that these import; ``process`` sent them."""

    process: str
    modules: Mapping[str, Text]

    def install(self) -> None:
        """Let imports in this process find these texts; modules made of other texts are imported anew.

        In the process that sent them nothing changes: what is loaded there is the author's.
        """
        if self.process != PROCESS and self.modules:
            _FINDER.serve(self.modules)


def shipment(parts: Iterable[str]) -> Shipment:
    """Gather the texts of the modules among the parts of a fingerprint (``"module utils"``)."""
    modules: dict[str, Text] = {}
    for part in parts:
        name = part.removeprefix("module ").removesuffix(" (text)")
        location = locate(name) if name != part else None
        if location is None or location.origin is not Origin.PROJECT:
            continue
        if location.filename is None:
            if location.folder is not None:
                modules[name] = Text(f"{location.folder}/__init__.py", True, "")
            continue
        text = module_text(location.filename)
        if text is not None:
            modules[name] = Text(location.filename, location.is_package, text)
    return Shipment(PROCESS, modules)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds modules among the texts that were sent last."""

    def __init__(self) -> None:
        self._texts: dict[str, Text] = {}
        self._lock = threading.RLock()

    def serve(self, modules: Mapping[str, Text]) -> None:
        with self._lock:
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)
            if all(self._texts.get(name) == text for name, text in modules.items()):
                return
            self._texts.update(modules)
            # One may hold parts of another, so all of them are made anew.
            for name in modules:
                sys.modules.pop(name, None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        found = self._texts.get(fullname)
        if found is None:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=found.filename, is_package=found.is_package)
        spec.has_location = True
        if found.is_package:  # what wasn't sent may still lie beside it
            spec.submodule_search_locations = [found.filename.rpartition("/")[0]]
        return spec

    def get_source(self, fullname: str) -> str:
        return self._texts[fullname].text

    def is_package(self, fullname: str) -> bool:
        return self._texts[fullname].is_package

    def get_code(self, fullname: str) -> types.CodeType:
        found = self._texts[fullname]
        return compile(found.text, found.filename, "exec", dont_inherit=True)


_FINDER = _Finder()
