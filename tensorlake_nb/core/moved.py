"""Find objects by the names in stored pickles and class names that earlier versions wrote."""

from __future__ import annotations

#: Module in a store → module now; the names in it are the same.
_MODULES = {
    "tensorlake_nb.core.file": "tensorlake_nb",
    "tensorlake_nb.core.function": "tensorlake_nb",
    "tensorlake_nb.core.jinja": "tensorlake_nb.core.jinja_templates",
    "tensorlake_nb.core.options": "tensorlake_nb.core.functions.options",
    "tensorlake_nb.core.policy": "tensorlake_nb.core.functions.policy",
    "tensorlake_nb.engine.context": "tensorlake_nb.engine.calls.context",
    "tensorlake_nb.engine.patching": "tensorlake_nb.engine.travel.patches",
    "tensorlake_nb.engine.travel": "tensorlake_nb.engine.travel.pickler",
    "tensorlake_nb.engine.travel_functools": "tensorlake_nb.engine.travel.library_wrappers",
    "tensorlake_nb.store.remade": "tensorlake_nb.store.codecs.remade",
}


def module_now(module: str) -> str:
    """Return the present home of an object by the module that had it when it was stored."""
    return _MODULES.get(module, module)
