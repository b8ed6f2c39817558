"""Plain callables: which of them can be decorated, what runs, and what they take."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from tensorlake_nb.core.functions.options import FunctionOptions, is_target
from tensorlake_nb.errors import OptionError


def code_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs for each element: a plain callable itself, ``run`` of a class."""
    code: Any = inspect.getattr_static(call, "run") if isinstance(call, type) else call
    return code.__func__ if isinstance(code, (staticmethod, classmethod)) else code


def signature_of(call: Callable[..., Any]) -> inspect.Signature:
    """Return all parameters; of a class, those of ``run`` without ``self``."""
    code = code_of(call)
    if sys.version_info >= (3, 14):
        import annotationlib

        signature = inspect.signature(code, annotation_format=annotationlib.Format.FORWARDREF)
    else:
        signature = inspect.signature(code)
    if isinstance(call, type) and not isinstance(inspect.getattr_static(call, "run"), staticmethod):
        return signature.replace(parameters=list(signature.parameters.values())[1:])
    return signature


def is_async(code: Callable[..., Any]) -> bool:
    """Tell whether calls of it have to be awaited, generators included."""
    return inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)


def plain_callable(decorator: str, call: Any) -> Callable[..., Any]:
    """Return what a decorator can make a Function of, or say what to write instead."""
    if isinstance(call, staticmethod):
        call = call.__func__
    if isinstance(call, type):
        if is_target(call):
            return call
        raise OptionError(f"{decorator}: {call.__qualname__} is a class. Derive it from TensorlakeCompute instead.")
    if inspect.ismethod(call) or isinstance(call, classmethod):
        raise OptionError(f"{decorator}: a method can't be decorated. Wrap it in a function, or use TensorlakeCompute.")
    if not (inspect.isroutine(call) or isinstance(call, functools.partial)):
        raise OptionError(f"{decorator}: {type(call).__qualname__} {call!r:.60} isn't a function. Wrap it in one.")
    return call


def check_parameters(owner: str, call: Callable[..., Any], options: FunctionOptions) -> None:
    """Check that context and accumulator, which come first and by position, have parameters."""
    try:
        parameters = list(signature_of(call).parameters.values())
    except (ValueError, TypeError):
        raise OptionError(f"{owner}: its parameters can't be read. Wrap it in a function of your own.") from None
    if not isinstance(call, type) and parameters and parameters[0].name in ("self", "cls"):
        raise OptionError(
            f"{owner} takes {parameters[0].name!r} first, as methods do. Rename that parameter if it is a "
            "function; for a method, derive the class from TensorlakeCompute."
        )
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if options.inject_ctx and not by_position:
        raise OptionError(f"{owner}: inject_ctx=True needs a first parameter that takes the context.")
    wanted = int(options.inject_ctx) + 1
    has_element = len(by_position) > wanted or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters[wanted:])
    if options.accumulate is not None and (len(by_position) < wanted or not has_element):
        order = "(context, accumulator, element)" if options.inject_ctx else "(accumulator, element)"
        raise OptionError(f"{owner}: accumulate= makes it a reducer, which takes {order}.")
