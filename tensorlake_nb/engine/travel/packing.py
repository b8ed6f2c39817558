"""A function ↔ the bytes that take it to a worker."""

from __future__ import annotations

import ast
import linecache
import pickle
import re
import traceback
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.code.raw_annotations import annotations_of
from tensorlake_nb.core.code.source import nested_codes
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint
from tensorlake_nb.core.functions.annotations import Unresolved, parameter_hints
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.engine.travel import main_module, pickler, unpickler
from tensorlake_nb.engine.travel import patches as patching
from tensorlake_nb.engine.travel.culprit import culprit
from tensorlake_nb.engine.travel.module_texts import Shipment, shipment
from tensorlake_nb.errors import SerializationError

_FORMAT = "tensorlake-nb-code/1"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A function on a worker.

    Attributes
    ----------
    classes
        The classes of the notebook that it knows, by module and qualified name.
    is_exact
        Its fingerprint covers all of its code: nothing was opaque, and no ``version=`` stands in for it.
    shipped
        The project's modules that it imports when it is called.
    named
        Functions and classes of the notebook that it reaches, by their names in ``__main__``.
    patches, gone
        The notebook's patches of others' classes and modules that matter here; and places that hold nothing now.
    """

    function: Function
    classes: Mapping[tuple[str, str], type]
    is_exact: bool
    shipped: Shipment
    named: Mapping[str, Any]
    patches: Sequence[tuple[patching.Place, Any]] = ()
    gone: Sequence[patching.Place] = ()

    def install(self) -> None:
        """Have imports and pickles in this process find what travelled; in the kernel they find the author's own."""
        self.shipped.install()
        if self.shipped.process != unpickler.PROCESS:
            main_module.place(self.named)
            patching.place(self.patches, self.gone)


def pack(function_print: FunctionPrint, function: Function) -> bytes:
    """Pickle a function with all it reaches in the notebook and the project, and the source lines for tracebacks.

    Raises
    ------
    SerializationError
        It reaches something that can't be pickled: the message names it and who holds it.
    """
    classes = dict(function_print.classes)
    modules = shipment(function_print.parts)
    patches = [((each.module, each.owner, each.name), each.value) for each in function_print.patches]
    more = (patches, patching.gone()) if patches or patching.gone() else ()
    try:
        data, sources = pickler.dumps(
            (function, classes, *more),
            versions=function_print.versions,
            resolved=_annotations(function),
            imported=modules.modules.keys(),
        )
    except Exception as error:
        raise SerializationError(_complaint(function, classes, function_print, error)) from error
    is_exact = not function_print.opaque and function.options.version is None
    return pickle.dumps((_FORMAT, data, sources, is_exact, modules.process, dict(modules.modules)), protocol=5)


def unpack(data: bytes) -> Unpacked:
    """Bring a packed function to life, and its source lines to where tracebacks look for them."""
    form, *rest = pickle.loads(data)
    if form != _FORMAT:
        raise SerializationError(f"a function was sent as {form!r}, and this worker reads {_FORMAT!r}: same version?")
    inner, sources, is_exact, process, modules = rest
    shipped = Shipment(process, modules)
    shipped.install()
    try:
        function, classes, *more = unpickler.loads(inner)
    except ImportError as error:
        raise SerializationError(
            f"a function needs {error.name or 'a module'!r}, which this worker can't import ({error}). "
            "Install it where the workers run."
        ) from error
    except (Exception, SystemExit) as error:  # `__setstate__` and the like are code of the notebook's own
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise SerializationError(
            f"a function can't be unpickled on a worker: {type(error).__name__}: {error} ({where.name}, "
            f"{where.filename}:{where.lineno}). Something that it reaches is pickled in a way that can't be reversed: "
            "check its __reduce__, __getstate__ and __setstate__, or make it inside the function."
        ) from error
    for filename, text in sources.items():
        # Without a modification time the lines stay as they were in the kernel, whatever is in that file here.
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    return Unpacked(function, classes, is_exact, shipped, main_module.names_in_main(function, classes), *more)


def _annotations(function: Function) -> dict[int, dict[str, Any]]:
    """Resolve the parameter annotations that the worker binds by, here where their names are known."""
    hints = {name: hint for name, hint in parameter_hints(function).items() if not isinstance(hint, Unresolved)}
    resolved: dict[int, dict[str, Any]] = {}
    for code in main_module.unwrapped(function.code):
        resolved[id(code)] = {name: hints.get(name, given) for name, given in annotations_of(code).items()}
    return resolved


#: IPython's translations of ``!command``, ``x = !command``, ``%magic`` and ``%%magic``.
_SHELL_LINE = re.compile(r"get_ipython\(\)\.(system|getoutput|run_line_magic|run_cell_magic)\((.*)\)")


def _shell_line(function: Function) -> str | None:
    """Return the first line in IPython syntax of a function or a helper, as its author wrote it."""
    left, seen = list(main_module.functions_of(function.code)), set[int]()
    while left:
        here = left.pop()
        names = {name for code in nested_codes(here.__code__) for name in code.co_names}
        seen.add(id(here))
        if "get_ipython" in names:
            first, lines = here.__code__.co_firstlineno, linecache.getlines(here.__code__.co_filename)
            for number, line in enumerate(lines[first - 1 :], first):
                match = _SHELL_LINE.search(line)
                if match is not None:
                    return f"line {number} of its cell, `{_as_written(match[1], match[2])}`,"
        beside = [here.__globals__.get(name) for name in sorted(names)]
        left += [each for each in beside if isinstance(each, types.FunctionType) and id(each) not in seen]
    return None


def _as_written(method: str, given: str) -> str:
    try:
        arguments = [str(each) for each in ast.literal_eval(f"({given},)")]
    except (ValueError, SyntaxError):
        return f"get_ipython().{method}({given})"
    sign = {"run_line_magic": "%", "run_cell_magic": "%%"}.get(method, "!")
    return sign + " ".join(arguments[: 1 if sign == "!" else 2]).strip()


def _complaint(
    function: Function, classes: Mapping[tuple[str, str], type], function_print: FunctionPrint, error: Exception
) -> str:
    command = _shell_line(function)
    if command is not None:
        return (
            f"function {function.name!r} can't be sent to a worker: {command} only means something to IPython, and "
            "workers are plain Python processes. Use subprocess.run([...], check=True) for a command, and a function "
            "of a package for a magic."
        )
    found = culprit(function, f"function {function.name!r}") or culprit(dict(classes), "its classes")
    for patch in function_print.patches:
        found = found or culprit(patch.value, f"what a cell has put on {patch.path}")
    if found is None:
        return f"function {function.name!r} can't be sent to a worker: {error}"
    where, held, reason = found
    return (
        f"function {function.name!r} can't be sent to a worker: {where} is a {type(held).__qualname__}, "
        f"and {reason}. Make it inside the function, or once per worker in a TensorlakeCompute."
    )
