"""What the project has put on others' classes and modules: ``pd.Series.twice = f``, a patched ``json.dumps``.

Nothing in a function names the owner of such a method, and a package that is imported on a worker is without it. So
loaded modules, and the classes in them, are searched for code of the project: those that its namespaces bind
something of, and those of Python itself.
"""

from __future__ import annotations

import functools
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.digest_objects import CACHED
from tensorlake_nb.core.imports import module_text
from tensorlake_nb.core.origin import OWN, Origin, origin_of_module

#: Packages that hold the project's functions as a matter of course: the notebook itself, and what runs tests.
_LEFT_OUT = frozenset((OWN, "IPython", "ipykernel", "traitlets", "comm", "pytest", "_pytest", "pluggy", "hypothesis"))
#: What decides how errors and warnings look, and not what a function gives.
_HOOKS = frozenset(("excepthook", "displayhook", "unraisablehook", "breakpointhook", "showwarning", "formatwarning"))
#: What is no code, or is code of C: most of what stands in namespaces.
_PLAIN = frozenset(
    (
        *(str, int, float, bool, bytes, type(None), tuple, list, dict, set, frozenset, types.ModuleType),
        *(types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType),
        *(types.GetSetDescriptorType, types.MemberDescriptorType, types.BuiltinFunctionType, types.MethodWrapperType),
    )
)


@dataclass(frozen=True, slots=True)
class Patch:
    """One thing of the project's in somebody else's namespace.

    Attributes
    ----------
    module, owner
        Where: the module, and in it the qualified name of the class; empty for the module itself.
    value
        What stands there, as a class has it in its namespace.
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
        """Whether a function may come upon it: by its name, or because packages that it uses call what stood there.

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
    return tuple(sorted(_Search().run(), key=lambda patch: patch.path))


class _Search:
    """One look through what is loaded: some hundred thousand names, so little is done for each."""

    def __init__(self) -> None:
        self._modules = list(sys.modules.items())
        self._own = {name: module for name, module in self._modules if _is_projects_module(name, module)}
        self._namespaces = {id(vars(module)) for module in self._own.values()}
        self._seen = set[int]()

    def run(self) -> Iterator[Patch]:
        """Every patch once: a class that is known under several names has one path."""
        tops = self._bound_tops() | sys.stdlib_module_names
        for name, module in self._modules:
            top = name.partition(".")[0]
            if top not in tops or top in _LEFT_OUT or name in self._own:
                continue
            for attribute, value in list(getattr(module, "__dict__", {}).items()):
                kind = type(value)
                if kind in _PLAIN or (kind is types.FunctionType and id(value.__globals__) not in self._namespaces):
                    continue
                if self._is_projects(value):
                    if attribute not in _HOOKS and not (top == "builtins" and attribute[0] == "_"):
                        yield Patch(name, "", attribute, value, self._is_new(module, attribute))
                elif issubclass(kind, type) and id(value) not in self._seen:
                    self._seen.add(id(value))
                    yield from self._of_class(value)

    def _of_class(self, cls: type) -> Iterator[Patch]:
        for attribute, value in list(vars(cls).items()):
            kind = type(value)
            if kind in _PLAIN or (kind is types.FunctionType and id(value.__globals__) not in self._namespaces):
                continue
            if self._is_projects(value, deeper=True):
                yield Patch(str(cls.__module__), cls.__qualname__, attribute, value, self._is_new(cls, attribute))

    def _bound_tops(self) -> set[str]:
        """The packages that the project's namespaces have something of."""
        tops = set[str]()
        for module in self._own.values():
            for value in list(vars(module).values()):
                kind = type(value)
                home = value.__name__ if kind is types.ModuleType else kind.__module__
                if kind is types.FunctionType or issubclass(kind, type):
                    home = value.__module__
                tops.add(str(home).partition(".")[0])
        return tops

    def _is_projects(self, value: Any, *, deeper: bool = False) -> bool:
        """Whether a value is code of the project, or made of such; ``deeper``: or holds some, as accessors do."""
        kind = type(value)
        if kind is types.FunctionType:
            return id(value.__globals__) in self._namespaces
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
        if not kind.__flags__ & _MADE_BY_A_PROGRAM:
            return False
        if kind.__module__ in self._own:
            return True
        if not deeper or not kind.__dictoffset__ or issubclass(kind, types.ModuleType):
            return False
        held = list(object.__getattribute__(value, "__dict__").values())
        return any(self._is_projects(each) for each in held if type(each) in (types.FunctionType, type))

    def _is_new(self, owner: Any, name: str) -> bool:
        """Whether a package knows nothing of a name: its text doesn't hold it, and it hides no inherited one."""
        if name.startswith("__"):
            return False
        files: list[Any] = [getattr(owner, "__file__", None)]
        if isinstance(owner, type):
            if any(name in vars(base) for base in owner.__mro__[1:]):
                return False
            functions = [each for each in vars(owner).values() if type(each) is types.FunctionType]
            files = [each.__code__.co_filename for each in functions if id(each.__globals__) not in self._namespaces][
                :1
            ]
        texts = [module_text(file) for file in files if isinstance(file, str) and file.endswith(".py")]
        return bool(texts) and all(
            text is not None and not re.search(rf"\b{re.escape(name)}\b", text) for text in texts
        )


def _is_projects_module(name: str, module: Any) -> bool:
    if name == "__main__":
        return True
    file = getattr(module, "__dict__", {}).get("__file__")
    if not isinstance(file, str) or not file.endswith(".py") or not isinstance(module, types.ModuleType):
        return False
    return origin_of_module(name) is Origin.PROJECT


#: ``Py_TPFLAGS_HEAPTYPE``: a class that a program has made.
_MADE_BY_A_PROGRAM = 1 << 9
