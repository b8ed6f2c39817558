"""Where what stored pickles and class names name stands now, for stores that earlier versions wrote."""

from __future__ import annotations

#: Module in a store → module now; the names in it are the same.
_MODULES = {
    "tensorlake_nb.core.file": "tensorlake_nb",
}


def module_now(module: str) -> str:
    """The module that has what a module had when it was stored."""
    return _MODULES.get(module, module)
