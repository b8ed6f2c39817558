"""Digest and pickle Jinja prompts: the compiled template, and an environment without its cache.

A ``jinja2.Template`` pickles as one without a source, and an environment that has rendered holds weak references. A
template keeps no source either, but the code made of it, which holds all of its text. Templates that a loader finds
when a function runs are the loader's: of a ``DictLoader`` they count, of a folder they are files.

The package is never imported here, only used if it is loaded.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

Reducer = Callable[[Any], tuple[Any, ...]]

#: Names in every template's namespace, apart from its blocks and the package's own.
_OWN_NAMES = frozenset(
    ("environment", "name", "blocks", "debug_info", "root", "__file__", "__builtins__", "__jinja_template__")
)


def reducer_of(cls: type) -> Reducer | None:
    """Return the ``__reduce__`` rule for a template or an environment; None for any other class."""
    jinja2: Any = sys.modules.get("jinja2")
    if jinja2 is None or not isinstance(getattr(jinja2, "Template", None), type):
        return None
    if issubclass(cls, jinja2.Template):
        return _template
    of_class: Any = cls
    is_plain = of_class.__reduce_ex__ is object.__reduce_ex__ and of_class.__reduce__ is object.__reduce__
    if issubclass(cls, jinja2.Environment) and is_plain and not hasattr(cls, "__setstate__"):
        return _environment
    return None


def _template(value: Any) -> tuple[Any, ...]:
    namespace = value.root_render_func.__globals__
    provided = set(_provided())
    more = {
        name: held
        for name, held in namespace.items()
        if name not in _OWN_NAMES and name not in provided and not name.startswith("block_")
    }
    codes = {name: block.__code__ for name, block in value.blocks.items()}
    facts = (value.name, value.filename, value._debug_info)
    return template_again, (
        type(value),
        value.environment,
        value.globals,
        value.root_render_func.__code__,
        codes,
        facts,
        more,
    )


def _environment(value: Any) -> tuple[Any, ...]:
    cache = value.cache
    size = None if cache is None else -1 if type(cache) is dict else cache.capacity
    state = {name: held for name, held in vars(value).items() if name != "cache"}
    return bare_environment, (type(value),), {**state, "cache_size": size}, None, None, fill_environment


# -- on the other side -------------------------------------------------------------------------------------------------


def template_again(
    cls: Any,
    environment: Any,
    held: Any,
    root: types.CodeType,
    blocks: Mapping[str, types.CodeType],
    facts: tuple[str | None, str | None, str],
    more: Mapping[str, Any],
) -> Any:
    """Make a template of the code that was made of its source."""
    name, filename, debug_info = facts
    namespace: dict[str, Any] = {**_provided(), **more, "name": name, "__file__": filename, "debug_info": debug_info}
    namespace["environment"] = environment

    def function(code: types.CodeType) -> types.FunctionType:
        return types.FunctionType(code, namespace, code.co_name, (namespace["missing"], environment))

    namespace["root"] = function(root)
    namespace["blocks"] = {key: function(code) for key, code in blocks.items()}
    namespace.update({f"block_{key}": block for key, block in namespace["blocks"].items()})
    return cls._from_namespace(environment, namespace, held)


def bare_environment(cls: type) -> Any:
    """Return an empty environment."""
    return object.__new__(cls)


def fill_environment(value: Any, state: dict[str, Any]) -> None:
    """Give an environment what it had, and an empty cache of the size that it had."""
    size = state.pop("cache_size")
    vars(value).update(state)
    value.cache = None if size is None else sys.modules["jinja2.environment"].create_cache(size)


def _provided() -> dict[str, Any]:
    """Return the names that a template's code may read of the package."""
    runtime: Any = sys.modules["jinja2.runtime"]
    return {name: getattr(runtime, name) for name in (*runtime.exported, *runtime.async_exported)}
