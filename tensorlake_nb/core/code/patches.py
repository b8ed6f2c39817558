"""Find the project's patches of others' classes and modules: ``pd.Series.twice = f``, a patched ``json.dumps``.

Nothing in a function names the owner of such a method, and a package that is imported on a worker is without it. So
loaded modules, and the classes in them, are searched for code of the project: those that its namespaces bind
something of, and those of Python itself. Other values count where a text of the project assigns them.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
import sys
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.code.assignments import assigned
from tensorlake_nb.core.code.module_files import module_text
from tensorlake_nb.core.origin import OWN, Origin, origin_of, origin_of_module
from tensorlake_nb.core.values.object_rules import CACHED

#: Packages that hold the project's functions as a matter of course: the notebook itself, and what runs tests.
_LEFT_OUT = frozenset((OWN, "IPython", "ipykernel", "traitlets", "comm", "pytest", "_pytest", "pluggy", "hypothesis"))
#: Besides, the state of the process itself: its output, its path, its arguments.
_NOT_ASSIGNED = _LEFT_OUT | {"sys"}
#: Attributes that decide what a function does, and aren't in its namespace.
_PARTS_OF_FUNCTIONS = frozenset(("__code__", "__defaults__", "__kwdefaults__"))
#: Attributes that decide how errors and warnings look, but no function's output.
_HOOKS = frozenset(("excepthook", "displayhook", "unraisablehook", "breakpointhook", "showwarning", "formatwarning"))
#: Types that are no code, or code of C: most values in namespaces.
_PLAIN = frozenset(
    (
        *(str, int, float, bool, bytes, type(None), tuple, list, dict, set, frozenset, types.ModuleType),
        *(types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType),
        *(types.GetSetDescriptorType, types.MemberDescriptorType, types.BuiltinFunctionType, types.MethodWrapperType),
    )
)


@dataclass(frozen=True, slots=True)
class Patch:
    """One object of the project's in a foreign namespace.

    Attributes
    ----------
    module, owner
        Where: the module, and in it the qualified name of the class or function; empty for the module itself.
    value
        The value there, in the form of a class's namespace.
    is_new
        The package's own code doesn't name it, so only code that does can see it.
    """

    module: str
    owner: str
    name: str
    value: Any
    is_new: bool

    @property
    def path(self) -> str:
        """``pandas.Series.twice``."""
        return ".".join(filter(None, (self.module, self.owner, self.name)))

    def is_seen(self, names: set[str], tops: set[str], *, by_packages: bool) -> bool:
        """Return True if a function may reach it: by name, or through a package that called the original.

        Parameters
        ----------
        names
            All names that the code in reach uses, whatever for.
        tops
            The packages, Python's own modules among them, that it reaches.
        by_packages
            Installed packages are among these: what they call in turn isn't looked into.
        """
        return self.name in names or (not self.is_new and (by_packages or self.module.partition(".")[0] in tops))


def find_patches() -> tuple[Patch, ...]:
    """All that there are now, in the order of their paths."""
    global _loaded
    loaded = _loaded
    if loaded is None or not loaded.is_now():
        _loaded = loaded = _Loaded(loaded)
    found = {patch.path: patch for top in loaded.tops() for patch in loaded.package(top).patches()}
    found = {patch.path: patch for patch in loaded.assigned()} | found
    return tuple(found[path] for path in sorted(found))


class _Loaded:
    """The modules that are loaded at one time: the project's own, and the packages that may hold something of theirs.

    They have some hundred thousand names, and few change from one run to the next. So each package is looked through
    once, and again when any value in it is another.
    """

    def __init__(self, before: _Loaded | None) -> None:
        items = list(sys.modules.items())  # at one go: another thread may import something
        self._modules = items
        self.own = {name: module for name, module in items if _is_projects_module(name, module)}
        #: The ``id`` of each namespace of the project's: what functions of its have as their globals.
        self.spaces = frozenset(id(vars(module)) for module in self.own.values())
        self._by_top: dict[str, list[tuple[str, Any]]] = {}
        for name, module in items:
            top = name.partition(".")[0]
            if top not in _LEFT_OUT and name not in self.own:
                self._by_top.setdefault(top, []).append((name, module))
        self._packages: dict[str, _Package] = {}
        if before is not None and before.spaces == self.spaces:
            self._packages = {top: found for top, found in before._packages.items() if top in self._by_top}

    def is_now(self) -> bool:
        """Return True if the same modules are loaded now."""
        return _same(self._modules, list(sys.modules.items()))

    def tops(self) -> Iterable[str]:
        """Return the packages of which the project's namespaces hold something, and Python's own modules."""
        bound = set[str]()
        for module in self.own.values():
            for value in list(vars(module).values()):
                kind = type(value)
                home = value.__name__ if kind is types.ModuleType else kind.__module__
                if kind is types.FunctionType or issubclass(kind, type):
                    home = value.__module__
                bound.add(str(home).partition(".")[0])
        return [top for top in self._by_top if top in bound or top in sys.stdlib_module_names]

    def assigned(self) -> Iterator[Patch]:
        """Yield the project's assignments to attributes of others' modules, classes and functions."""
        for owner, assigns in assigned(self.own):
            module, qualname = _place_of(owner)
            if module.partition(".")[0] in _NOT_ASSIGNED or origin_of(owner) is Origin.PROJECT:
                continue
            held = vars(owner)
            for name in list(held) if assigns is None else [assigns]:
                value = held.get(name, _NOTHING)
                if isinstance(owner, types.FunctionType) and name in _PARTS_OF_FUNCTIONS:
                    value = getattr(owner, name)
                if value is _NOTHING or _is_its_own(value, owner, name):
                    continue
                patch = Patch(module, qualname, name, value, _is_new(owner, name, self.spaces))
                if patch.is_new or assigns is not None:
                    yield patch

    def package(self, top: str) -> _Package:
        modules = self._by_top[top]
        found = self._packages.get(top)
        if found is None or not found.is_now(modules):
            found = self._packages[top] = _Package(modules, self)
        return found


class _Package:
    """The project's objects in the modules of a package and in their classes.

    Every value is held, so that none can give its place in memory to another unnoticed.
    """

    def __init__(self, modules: list[tuple[str, Any]], loaded: _Loaded) -> None:
        self._own, self._spaces = loaded.own, loaded.spaces
        self._modules = modules
        #: Owner, names of module and class, attribute, value; and those whose own attributes others may set.
        self._found: list[tuple[Any, str, str, str, Any]] = []
        self._open: list[tuple[Any, str, str, str, Any]] = []
        classes = dict[int, type]()
        self._views = [_namespace(module) for _, module in modules]
        #: A stand-in for a module may have another namespace later.
        self._stand_ins = [
            (module, view)
            for (_, module), view in zip(modules, self._views, strict=True)
            if type(module) is not types.ModuleType
        ]
        self._values = list[Any]()
        for (name, module), namespace in zip(modules, tuple(self._views), strict=True):
            for attribute, value in self._taken(namespace):
                if self._is_projects(value):
                    if attribute not in _HOOKS and not (name == "builtins" and attribute[0] == "_"):
                        self._found.append((module, name, "", attribute, value))
                elif issubclass(type(value), type):
                    classes[id(value)] = value
        for cls in classes.values():
            self._views.append(vars(cls))
            for attribute, value in self._taken(vars(cls)):
                if self._is_projects(value):
                    self._found.append((cls, str(cls.__module__), cls.__qualname__, attribute, value))
                elif _may_hold(type(value)):
                    self._open.append((cls, str(cls.__module__), cls.__qualname__, attribute, value))
        self._values.append(_END)

    def is_now(self, modules: list[tuple[str, Any]]) -> bool:
        """Return True if the same modules hold the same names, and these and their classes have the same values."""
        if self._modules is not modules and not _same(self._modules, modules):
            return False
        for stand_in, view in self._stand_ins:
            if _namespace(stand_in) is not view:
                return False
        values = itertools.chain.from_iterable(map(_VALUES, self._views))
        try:
            if not all(map(operator.is_, itertools.chain(values, (_END,)), self._values)):
                return False
        except RuntimeError:  # another thread binds names just now
            return False
        return not self._found or all(vars(owner).get(name) is value for owner, _, _, name, value in self._found)

    def patches(self) -> Iterator[Patch]:
        """Yield the patches of the project that it holds now."""
        held = (each for each in self._open if self._holds_projects(each[-1]))
        for owner, module, qualname, name, value in itertools.chain(self._found, held):
            yield Patch(module, qualname, name, value, _is_new(owner, name, self._spaces))

    def _taken(self, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the non-plain values of a namespace, and note all its values."""
        items = list(namespace.items())
        self._values += [value for _, value in items]
        for name, value in items:
            kind = type(value)
            if kind not in _PLAIN and (kind is not types.FunctionType or id(value.__globals__) in self._spaces):
                yield name, value

    def _is_projects(self, value: Any) -> bool:
        """Return True if a value is code of the project, or made of such code."""
        kind = type(value)
        if kind is types.FunctionType:
            return id(value.__globals__) in self._spaces
        if issubclass(kind, type):
            return value.__dict__.get("__module__") in self._own
        if kind is staticmethod or kind is classmethod or kind is types.MethodType:
            return self._is_projects(value.__func__)
        if kind is property:
            return any(self._is_projects(each) for each in (value.fget, value.fset, value.fdel))
        if kind is CACHED:
            return self._is_projects(getattr(value, "__wrapped__", None))
        if kind is functools.partial or kind is functools.cached_property:
            return self._is_projects(value.func)
        return bool(kind.__flags__ & _MADE_BY_A_PROGRAM) and kind.__module__ in self._own

    def _holds_projects(self, value: Any) -> bool:
        """Return True if an attribute of the object is code of the project, as with pandas accessors."""
        for each in list(object.__getattribute__(value, "__dict__").values()):
            if type(each) in (types.FunctionType, type) and self._is_projects(each):
                return True
        return False


def _is_new(owner: Any, name: str, spaces: Collection[int]) -> bool:
    """Return True if a package doesn't use a name: its text lacks it, and it hides no inherited one."""
    if name.startswith("__"):
        return False
    files: list[Any] = [getattr(owner, "__file__", None)]
    if isinstance(owner, types.FunctionType):
        files = [owner.__code__.co_filename]
    elif isinstance(owner, type):
        if any(name in vars(base) for base in owner.__mro__[1:]):
            return False
        functions = [each for each in vars(owner).values() if type(each) is types.FunctionType]
        files = [each.__code__.co_filename for each in functions if id(each.__globals__) not in spaces][:1]
    words = [_words(file) for file in files if isinstance(file, str) and file.endswith(".py")]
    return bool(words) and not any(name in each or not each for each in words)


@functools.lru_cache(maxsize=256)
def _words(filename: str) -> frozenset[str]:
    """All the words that stand in a package's file; none where it can't be read."""
    return frozenset(re.findall(r"\w+", module_text(filename) or ""))


def _is_its_own(value: Any, owner: Any, name: str) -> bool:
    """Return True if a package's function or class still stands where it was defined: a patch was undone."""
    value = getattr(value, "__func__", value)
    module, qualname = _place_of(owner)
    home = (module, ".".join(filter(None, (qualname, name))))
    return home == (getattr(value, "__module__", None), getattr(value, "__qualname__", None))


def _place_of(owner: Any) -> tuple[str, str]:
    """Return the module and qualified name of a module, class or function; a module has no qualified name."""
    return (owner.__name__, "") if isinstance(owner, types.ModuleType) else (str(owner.__module__), owner.__qualname__)


def _is_projects_module(name: str, module: Any) -> bool:
    if name == "__main__":
        return True
    file = getattr(module, "__dict__", {}).get("__file__")
    if not isinstance(file, str) or not file.endswith(".py") or not isinstance(module, types.ModuleType):
        return False
    return origin_of_module(name) is Origin.PROJECT


def _same(before: list[tuple[str, Any]], now: list[tuple[str, Any]]) -> bool:
    """Return True if these are the very same modules, under the same names in the same order."""
    if len(before) != len(now):
        return False
    return all(map(operator.eq, map(_NAME, before), map(_NAME, now))) and all(
        map(operator.is_, map(_MODULE, before), map(_MODULE, now))
    )


def _namespace(module: Any) -> Mapping[str, Any]:
    """Return the attributes of a module, or of an object that stands for one."""
    found = getattr(module, "__dict__", None)
    return found if isinstance(found, dict) else _NOTHING


def _may_hold(kind: type) -> bool:
    """Return True if objects of a class have attributes that others may set."""
    if not kind.__flags__ & _MADE_BY_A_PROGRAM or not kind.__dictoffset__:
        return False
    return not issubclass(kind, types.ModuleType | type)


#: ``Py_TPFLAGS_HEAPTYPE``: a class that a program has made.
_MADE_BY_A_PROGRAM = 1 << 9
_VALUES = operator.methodcaller("values")
_NAME, _MODULE = operator.itemgetter(0), operator.itemgetter(1)
#: Stands behind all values, so that fewer or more of them are other ones.
_END = object()
_NOTHING: dict[str, Any] = {}
_loaded: _Loaded | None = None
