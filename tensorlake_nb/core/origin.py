"""Find the origin of code: Python itself, an installed distribution, or the notebook author's project.

Only the project's own code counts by content. Installed packages count by version, Python not at all.
"""

from __future__ import annotations

import enum
import functools
import importlib.metadata
import sys
import sysconfig
import types
from pathlib import PurePath
from types import CodeType
from typing import Any

from blake3 import blake3

OWN = __name__.partition(".")[0]


class Origin(enum.Enum):
    """The origin of a piece of code."""

    PROJECT = "project"
    INSTALLED = "installed"
    STDLIB = "stdlib"
    OWN = "own"


_STDLIB_PATHS = tuple(
    PurePath(path) for name in ("stdlib", "platstdlib") if (path := sysconfig.get_paths().get(name)) is not None
)


#: Modules that Python runs at the start of every process: they set the machine up, wherever they lie.
_SET_UP = frozenset(("sitecustomize.py", "usercustomize.py"))


@functools.lru_cache(maxsize=4096)
def origin_of_file(filename: str) -> Origin:
    """Judge by where a file lies; the names of cells and of ``exec`` belong to the project."""
    path = PurePath(filename)
    if path.name in _SET_UP or "site-packages" in path.parts or "dist-packages" in path.parts:
        return Origin.INSTALLED
    if filename.startswith("<frozen ") or any(path.is_relative_to(base) for base in _STDLIB_PATHS):
        return Origin.STDLIB
    return Origin.PROJECT


def origin_of_module(name: str) -> Origin:
    """Judge a module by its name, and by its file where it is loaded."""
    top = name.partition(".")[0]
    if top == OWN:
        return Origin.OWN
    if name == "__main__":
        return Origin.PROJECT
    held = getattr(sys.modules.get(name), "__dict__", {})  # a module's own ``__getattr__`` isn't asked
    filename = held.get("__file__")
    if top in sys.stdlib_module_names:  # a project's own module may bear the name of one of Python's
        return origin_of_file(filename) if isinstance(filename, str) else Origin.STDLIB
    if isinstance(filename, str):
        return origin_of_file(filename)
    paths = [str(path) for path in held.get("__path__", ())]
    return origin_of_file(paths[0] + "/__init__.py") if paths else Origin.PROJECT


#: Modules whose functions make classes, which then say to be of that module.
_MAKERS = ("abc", "dataclasses", "enum", "pydantic._internal._model_construction", "pydantic.main", "types", "typing")


def origin_of_class(cls: type) -> Origin:
    """Judge a class by the module that it names as its own, unless that is one that makes classes for others."""
    module = getattr(cls, "__module__", None)
    if module in _MAKERS and vars(sys.modules.get(module, sys)).get(cls.__qualname__.partition(".")[0]) is None:
        return Origin.PROJECT
    return origin_of_module(module) if isinstance(module, str) else Origin.STDLIB


def origin_of_code(code: CodeType, module: Any) -> Origin:
    """Judge code by its file: ``functools.wraps`` makes a wrapper claim another module than its own."""
    if isinstance(module, str) and module.partition(".")[0] == OWN and origin_of_module(module) is Origin.OWN:
        found = sys.modules.get(module)
        if getattr(found, "__file__", None) == code.co_filename:
            return Origin.OWN
    if code.co_filename.startswith(_OWN_PATH):
        return Origin.OWN
    return origin_of_file(code.co_filename)


def origin_of(value: Any) -> Origin:
    """Judge a function, class, module or other piece of code."""
    if isinstance(value, types.ModuleType):
        return origin_of_module(value.__name__)
    if isinstance(value, type):
        return origin_of_class(value)
    code = getattr(value, "__code__", None)
    if isinstance(code, CodeType):
        return origin_of_code(code, getattr(value, "__module__", None))
    if isinstance(value, types.BuiltinFunctionType):
        owner = value.__self__
        if not (owner is None or isinstance(owner, types.ModuleType | type)):
            return Origin.PROJECT  # a method bound to a value
    elif not isinstance(value, _DESCRIPTORS):
        return Origin.PROJECT
    module = getattr(value, "__module__", None) or getattr(getattr(value, "__objclass__", None), "__module__", None)
    return origin_of_module(module) if isinstance(module, str) else Origin.STDLIB


def is_named_in_package(method: Any) -> bool:
    """Return True if a bound method is a global of a module outside the project, as ``random.choice`` is.

    Its object belongs to that module, and counts no more than the state of any other package.
    """
    owner, name = method.__self__, getattr(method, "__name__", None)
    if owner is None or isinstance(owner, types.ModuleType | type):
        return False
    module = getattr(method, "__module__", None) or type(owner).__module__
    if not isinstance(module, str) or not isinstance(name, str) or origin_of_module(module) is Origin.PROJECT:
        return False
    found: Any = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    return type(found) is type(method) and found.__self__ is owner


def origin_of_builtin(found: Any) -> bool:
    """Return True if a name in ``builtins`` is Python's own, not added by the project."""
    if isinstance(found, types.FunctionType | type | types.BuiltinFunctionType):
        return origin_of(found) is not Origin.PROJECT
    if isinstance(found, types.MethodType):
        return origin_of(found.__func__) is not Origin.PROJECT
    return origin_of_class(type(found)) is not Origin.PROJECT and type(found) not in (int, str, float, list)


_DESCRIPTORS = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
_OWN_PATH = str(PurePath(__file__).parent.parent) + "/"


def package_of(module: str | None, filename: str | None = None) -> str:
    """Return the import name of the installed package that a module or file belongs to."""
    if filename is not None:
        steps = PurePath(filename).parts
        for i, step in enumerate(steps[:-1]):
            if step in ("site-packages", "dist-packages"):
                return steps[i + 1].partition(".")[0]
    return (module or "").partition(".")[0]


@functools.cache
def version_of(package: str) -> str:
    """Return the version of the distribution behind an importable package, ``"unknown"`` if none tells it.

    A distribution installed from a directory or a repository can change without a new version, so there the digest of
    its list of files joins in. What is seen first holds for the life of the process, as what is imported does.
    """
    try:
        distribution = importlib.metadata.distribution(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        names = _distributions().get(package, ())
        if not names:
            return _module_version(package)
        distribution = importlib.metadata.distribution(names[0])
    version = distribution.version
    if distribution.read_text("direct_url.json") is not None:
        record = distribution.read_text("RECORD") or ""
        version += "+" + blake3(record.encode()).hexdigest()[:12]
    return version


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {name: sorted(found) for name, found in importlib.metadata.packages_distributions().items()}


def _module_version(package: str) -> str:
    module: types.ModuleType | None = sys.modules.get(package)
    version = getattr(module, "__version__", None)
    return version if isinstance(version, str) else "unknown"
