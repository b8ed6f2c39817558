"""Walk all that a function reaches: helpers, classes, globals by value, closures, defaults, modules, packages.

Everything reached becomes a *part* with a label (``"helper clean"``, ``"global LIMIT"``). The part of a function is its
canonical source and, for every name that it reads, the label of what the name stands for now. So all parts together
say what the function does: functions may call each other in circles, and the order of definitions doesn't show. Labels
are given in the order of discovery, which follows sorted names and is the same in every process.
"""

from __future__ import annotations

import builtins
import inspect
import re
import types
from collections.abc import Collection
from typing import Any

from tensorlake_nb.core.code.module_files import absolute_name
from tensorlake_nb.core.code.names_read import Reads, named_in_texts, reads_of
from tensorlake_nb.core.code.raw_annotations import annotations_of
from tensorlake_nb.core.code.reflection_names import CLASS_MAKERS, DYNAMIC, IMPORTERS, MODULE_NAMES, READERS
from tensorlake_nb.core.code.source import code_digest, function_source, has_text
from tensorlake_nb.core.fingerprint.annotations import annotation_ref
from tensorlake_nb.core.fingerprint.callables import code_ref, dispatch_ref
from tensorlake_nb.core.fingerprint.classes import class_refs
from tensorlake_nb.core.fingerprint.late_imports import LateImports
from tensorlake_nb.core.fingerprint.modules import follow, whole_module
from tensorlake_nb.core.fingerprint.parts import Labels
from tensorlake_nb.core.fingerprint.redefined_classes import definition_of
from tensorlake_nb.core.fingerprint.values import short_repr, value_part
from tensorlake_nb.core.origin import (
    Origin,
    origin_of,
    origin_of_builtin,
    origin_of_class,
    origin_of_module,
    package_of,
    version_of,
)
from tensorlake_nb.core.values.encoding import name_of

_MISSING = object()
#: Names of values that aren't shown in explanations.
_SECRET = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)


def _is_shells_own(name: str, found: Any) -> bool:
    """Return True if a global is a builtin in IPython's wrapper: cells have its ``open``, scripts the plain one."""
    own = getattr(builtins, name, None)
    if own is None or getattr(found, "__wrapped__", None) is not own:
        return False
    return str(getattr(found, "__globals__", {}).get("__name__", "")).startswith("IPython.")


class Reach(Labels):
    """Collects everything that some functions reach.

    Attributes
    ----------
    sources
        Label → canonical source or short repr.
    opaque
        The parts that couldn't be seen, as sentences; in order, without repeats.
    unkeyed
        Of those, what is sent although no digest tells it from another of its type.
    classes
        The project's own classes, by module and qualified name.
    modules
        The project's own modules that something was taken from.
    making
        Labels of functions and modules that make classes when they run.
    names, tops
        All names that the code that was reached uses; the packages and modules of others that it takes something of.
    """

    def __init__(self, home: str) -> None:
        super().__init__()
        self.home = home
        self.sources: dict[str, str] = {}
        self.opaque: dict[str, None] = {}
        self.unkeyed: dict[str, None] = {}
        self.classes: dict[tuple[str, str], type] = {}
        self.modules: set[str] = set()
        self.names: set[str] = set()
        self.tops: set[str] = set()
        self.making: set[str] = set()
        self.imports = LateImports(self)

    def versions(self) -> dict[type, str]:
        """Return the version of each of the project's classes, as a whole."""
        labels = {cls: self._labels.get(id(cls)) for cls in self._kept if isinstance(cls, type)}
        return {cls: self.version(label) for cls, label in labels.items() if label is not None}

    def makers(self) -> str:
        """Return the versions of functions that create classes only when they run; empty if there are none."""
        return " ".join(self.version(label) for label in sorted(self.making))

    # ----------------------------------------------------------------------------------------------------- labels

    def name_in(self, module: str | None, name: str) -> str:
        """Return a name as seen from the fingerprinted function."""
        return name if module == self.home else f"{module}.{name}"

    def note(self, sentence: str) -> None:
        """Say what couldn't be seen."""
        self.opaque[sentence] = None

    def unkey(self, sentence: str) -> None:
        """Say what is sent without a digest that would tell it from another."""
        self.unkeyed[sentence] = None
        self.note(sentence)

    def package(self, package: str) -> str:
        """Return the label of an installed package, whose version becomes a part."""
        label = f"package {package}"
        self.tops.add(package)
        self.parts.setdefault(label, version_of(package))
        self.sources.setdefault(label, self.parts[label])
        return label

    # ------------------------------------------------------------------------------------------------- references

    def ref(self, obj: Any, label: str, home: str | None = None) -> str:
        """Return the label of an object that is referred to: code has its own, a value gets the label given."""
        code = self.code_ref(obj)
        return code if code is not None else self.value_ref(obj, label, home)

    def value_ref(self, value: Any, label: str, home: str | None = None) -> str:
        """Return the label of a value, which becomes a part; ``home`` is the module that it is a global of."""
        key = (id(value), label)
        held = self.known(key)
        if held is not None:
            return held
        module = inspect.getattr_static(value, "__module__", None) if callable(value) else None
        if isinstance(module, str):
            self.installed(module)
        taken = self.new_label(label, key, value)
        with self.filling(taken):
            self.parts[taken] = value_part(self, value, label, home).hex()
        self.sources[taken] = self.shown(value, label)
        return taken

    def shown(self, value: Any, label: str) -> str:
        """Return what explanations show of a value: nothing where its label sounds like a secret's."""
        return "(not shown)" if _SECRET.search(label) else short_repr(value)

    def installed(self, module: str) -> None:
        """Note the package of a module, if it is an installed one."""
        if module != "__main__" and origin_of_module(module) is Origin.INSTALLED:
            self.package(package_of(module))

    def code_ref(self, obj: Any) -> str | None:
        """Return the label of a function, class, module or the like; None for a value."""
        return code_ref(self, obj)

    def encode(self, value: Any, label: str) -> bytes:
        """Return the digest of a value inside this reach; ``label`` names it in notes."""
        return value_part(self, value, label)

    # -------------------------------------------------------------------------------------------------- functions

    def function_ref(self, function: types.FunctionType, label: str | None = None) -> str:
        """Return the label of a function; its reach is followed later."""
        held = self.known(id(function))
        if held is not None:
            return held
        origin, code = origin_of(function), function.__code__
        if origin is not Origin.PROJECT:
            module = str(function.__globals__.get("__name__"))
            self.tops.add(module.partition(".")[0])
            name = f"{origin.value} {module}:{code.co_qualname}"
            if origin is Origin.INSTALLED:
                self.package(package_of(module, code.co_filename))
            if hasattr(function, "registry") and hasattr(function, "dispatch"):
                return dispatch_ref(self, function)
            self.looks((code.co_qualname,))
            if "<lambda>" in code.co_qualname and origin is Origin.INSTALLED:  # a module may have several
                held_consts = [each for each in code.co_consts if isinstance(each, int | float | str | bytes)]
                name += f" {code.co_firstlineno} {code.co_names} {held_consts}"
            elif function.__closure__ is None and "<locals>" not in code.co_qualname:
                return name
            taken = self.new_label(label or f"wrapper {code.co_qualname}", id(function), function)
            self.later(taken, lambda: self._wrapper(function, taken, name))
            return taken
        self.took_from(function.__globals__.get("__name__"))
        if label is None:
            parent = code.co_qualname.rpartition(".")[0]
            kind = "method" if parent and not parent.endswith("<locals>") else "helper"
            label = f"{kind} {self.name_in(function.__globals__.get('__name__'), code.co_qualname)}"
        taken = self.new_label(label, id(function), function)
        self.later(taken, lambda: self._function(function, taken))
        return taken

    def _wrapper(self, function: types.FunctionType, label: str, name: str) -> None:
        """Follow a closure of a package's code: the package's version counts, and the project's values in it."""
        if origin_of(function) is Origin.INSTALLED:
            self.read.add("annotations")  # decorators that check or convert arguments do
        owner = label.partition(" ")[2]
        refs = self._closure(function, owner)
        refs.update(self._defaults(function, owner))
        self.text_part(label, name, refs)
        self.sources[label] = name

    def _function(self, function: types.FunctionType, label: str) -> None:
        code, namespace = function.__code__, function.__globals__
        owner = "" if label == "code" else label.partition(" ")[2]
        text = function_source(code, namespace)
        if text is None:
            name = owner or code.co_qualname
            if has_text(code):
                self.note(
                    f"the source of `{name}` isn't what is loaded: it is known by its bytecode until it is reloaded"
                )
            else:
                self.note(f"`{name}` has no source: it is known by its bytecode")
            self.sources[label] = f"<bytecode of {code.co_qualname}, {len(code.co_code)} bytes>"
            text = f"bytecode {code_digest(code).hex()}"
        else:
            self.sources[label] = text
        reads = reads_of(code)
        refs = self._globals(reads, namespace, owner or code.co_qualname)
        refs.update(self._closure(function, owner, reads))
        refs.update(self._defaults(function, owner))
        for name, value in sorted(vars(function).items()):
            refs[f"attribute {name}"] = self.ref(value, f"attribute {owner or code.co_name}.{name}")
        if (function.__name__, function.__qualname__) != (code.co_name, code.co_qualname):
            self.where_read("names", lambda: {"name": f"{function.__name__} {function.__qualname__}"})
        package = namespace.get("__package__")
        if not IMPORTERS.isdisjoint({*reads.attributes, *reads.globals}):
            self.note(f"`{owner or code.co_qualname}` imports by a text: only modules that it names in full are seen")
            for name in sorted(reads.strings):
                self.imports.perhaps(name, package)
        for found in reads.imports:
            self.imports.follow(absolute_name(found.module, found.level, package), found)
        imported = [name for found in reads.imports for name, _ in found.names or ()]
        if "modules" in reads.attributes and "sys" in reads.globals:
            self.note(f"`{owner or code.co_qualname}` looks into sys.modules: what it reads that way isn't seen")
        self.names.update(reads.attributes, reads.globals, reads.strings, imported)
        self.looks(
            {*reads.attributes, *reads.globals, *imported, *(text for text in reads.strings if text[:2] == "__")}
        )
        self.where_read("docstrings", lambda: {"docstring": repr(function.__doc__)})
        self.where_read("annotations", lambda: self._annotations(function, owner))
        if reads.makes_classes or not CLASS_MAKERS.isdisjoint({*reads.globals, *reads.attributes, *imported}):
            self.making.add(label)
        self.text_part(label, text, refs)

    def _annotations(self, function: types.FunctionType, owner: str) -> dict[str, str]:
        refs = {}
        for name, annotation in annotations_of(function).items():
            wanted = f"annotation {owner}.{name}" if owner else f"annotation {name}"
            refs[f"annotation {name}"] = annotation_ref(self, annotation, function.__globals__, wanted)
        for i, each in enumerate(getattr(function, "__type_params__", ())):
            label = f"type parameter {owner or function.__code__.co_name}.{each.__name__}"
            refs[f"type parameter {i}"] = self.ref(each, label)
        return refs

    def looks(self, names: Collection[str]) -> None:
        """Note what one of the names that code uses reads, that decides nothing otherwise."""
        self.read.update(what for what, readers in READERS.items() if not readers.isdisjoint(names))

    def _globals(self, reads: Reads, namespace: dict[str, Any], owner: str) -> dict[str, str]:
        refs = {}
        names = (set(reads.globals) | named_in_texts(reads, namespace)) - MODULE_NAMES
        dynamic = sorted(name for name in DYNAMIC & set(reads.globals) if name not in namespace)
        if dynamic:
            self.note(f"`{owner}` calls {' and '.join(dynamic)}: what it reads that way isn't seen")
        for name in sorted(names):
            found = namespace.get(name, _MISSING)
            if _is_shells_own(name, found):
                found = _MISSING
            if found is _MISSING:
                found = getattr(builtins, name, _MISSING)
                if found is _MISSING:
                    refs[f"global {name}"] = "undefined"
                    self.note(f"`{name}`, which `{owner}` reads, isn't defined")
                    continue
                if origin_of_builtin(found):
                    continue
            chains = reads.globals.get(name, {()})
            refs[f"global {name}"] = follow(self, found, chains, name, namespace.get("__name__"))
            if name in reads.writes:
                self.note(f"`{owner}` assigns the global `{name}`: its value when the run starts counts")
        return refs

    def _closure(self, function: types.FunctionType, owner: str, reads: Reads | None = None) -> dict[str, str]:
        refs = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                held = cell.cell_contents
            except ValueError:
                refs[f"closure {name}"] = "empty"
                continue
            chains = reads.closures.get(name, {()}) if reads is not None else {()}
            label = f"closure {owner}.{name}" if owner else f"closure {name}"
            if isinstance(held, types.ModuleType):
                refs[f"closure {name}"] = follow(self, held, chains, name, None)
            else:
                refs[f"closure {name}"] = self.ref(held, label)
        return refs

    def _defaults(self, function: types.FunctionType, owner: str) -> dict[str, str]:
        code, refs = function.__code__, {}
        positional = code.co_varnames[: code.co_argcount]
        values = function.__defaults__ or ()
        found = [*zip(positional[len(positional) - len(values) :], values, strict=True)]
        found += sorted((function.__kwdefaults__ or {}).items())
        for name, value in found:
            refs[f"default {name}"] = self.ref(value, f"default {owner}.{name}" if owner else f"default {name}")
        return refs

    # ---------------------------------------------------------------------------------------- classes and modules

    def class_ref(self, cls: type, label: str | None = None) -> str:
        """Return the label of a class; its reach is followed later."""
        cls = definition_of(cls)
        held = self.known(id(cls))
        if held is not None:
            return held
        origin = origin_of_class(cls)
        if origin is not Origin.PROJECT:
            self.tops.add(cls.__module__.partition(".")[0])
            if origin is Origin.INSTALLED:
                self.package(package_of(cls.__module__))
            return f"{origin.value} {name_of(cls)}"
        wanted = label or f"class {self.name_in(cls.__module__, cls.__qualname__)}"
        taken = self.new_label(wanted, id(cls), cls)
        self.took_from(cls.__module__)
        self.classes.setdefault((cls.__module__, cls.__qualname__), cls)
        self.later(taken, lambda: self._class(cls, taken))
        return taken

    def _class(self, cls: type, label: str) -> None:
        text, refs = class_refs(self, cls)
        meta = str(type(cls).__module__)
        if origin_of_module(meta) is Origin.INSTALLED and package_of(meta) != "pydantic":
            refs["docstring"] = repr(cls.__doc__)  # a package's metaclass may make a prompt or a schema of it
        self.where_read("docstrings", lambda: {"docstring": repr(cls.__doc__)})
        self.sources[label] = text
        self.text_part(label, "class", refs)

    def module_ref(self, module: types.ModuleType) -> str:
        """Return the label of a module that is used as a whole; all that a project module holds is followed."""
        origin = origin_of(module)
        if origin is Origin.INSTALLED:
            self.package(package_of(module.__name__))
        if origin is not Origin.PROJECT:
            self.tops.add(module.__name__.partition(".")[0])
            return f"{origin.value} module {module.__name__}"
        held = self.known(id(module))
        if held is not None:
            return held
        self.took_from(module.__name__)
        label = self.new_label(f"module {module.__name__}", id(module), module)
        self.later(label, lambda: whole_module(self, module, label))
        return label

    def took_from(self, module: Any) -> None:
        """Note that something of one of the project's modules is needed."""
        if isinstance(module, str) and module != "__main__":
            self.modules.add(module)
