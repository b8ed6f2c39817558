"""Loaded modules that a function reaches: by the attributes that it takes of them, else as a whole."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tensorlake_nb.core.code.names_read import Chain
from tensorlake_nb.core.code.reflection_names import MODULE_NAMES
from tensorlake_nb.core.origin import Origin, origin_of

if TYPE_CHECKING:
    from tensorlake_nb.core.fingerprint.walk import Reach

_MISSING = object()
#: Attributes that don't count for a module as a whole.
_SILENT = MODULE_NAMES | {
    "__doc__",
    "__annotations__",
    "__annotate__",
    "__conditional_annotations__",
    "__warningregistry__",
}


def follow(reach: Reach, obj: Any, chains: Iterable[Chain], name: str, module: str | None) -> str:
    """Return the label of a name; of a project module, only the attributes that are read count."""
    if not isinstance(obj, types.ModuleType) or origin_of(obj) is not Origin.PROJECT:
        return global_ref(reach, obj, module, name)
    found = {chain: _attribute(reach, obj, chain) for chain in sorted(chains)}
    return "module(" + ", ".join(f"{'.'.join(chain)}: {ref}" for chain, ref in found.items()) + ")"


def global_ref(reach: Reach, value: Any, module: str | None, name: str) -> str:
    """Return the label of a module's global."""
    return reach.ref(value, f"global {reach.name_in(module, name)}", module)


def _attribute(reach: Reach, module: types.ModuleType, chain: Chain) -> str:
    current: Any = module
    reach.took_from(module.__name__)
    for name in chain:
        found = vars(current).get(name, _MISSING)
        if found is _MISSING:
            try:
                found = getattr(current, name)
            except Exception:
                reach.note(f"`{current.__name__}.{name}` isn't defined")
                return "undefined"
        if not (isinstance(found, types.ModuleType) and origin_of(found) is Origin.PROJECT):
            return global_ref(reach, found, current.__name__, name)
        current = found
        reach.took_from(found.__name__)
    return reach.module_ref(current)


def whole_module(reach: Reach, module: types.ModuleType, label: str) -> None:
    """Make the part of a module of which everything counts."""
    refs = {}
    for name, value in sorted(vars(module).items()):
        if name not in _SILENT:
            refs[name] = global_ref(reach, value, module.__name__, name)
    reach.text_part(label, "module", refs)
    reach.sources[label] = "\n".join(f"{name}: {ref}" for name, ref in refs.items())
