"""Function → fingerprint, with the parts that it is made of by name, and what differs between two of them."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tensorlake_nb.core.code.patches import Patch
from tensorlake_nb.core.fingerprint.annotations import parameter_refs
from tensorlake_nb.core.fingerprint.walk import Reach
from tensorlake_nb.core.keys import Fingerprint
from tensorlake_nb.core.origin import Origin, origin_of, origin_of_class
from tensorlake_nb.core.values.digest import digest, set_code_digest
from tensorlake_nb.core.values.encoding import Refusal, field, name_of

#: Options of a function that decide what it gives, so that they enter its fingerprint.
_KEY_OPTIONS = ("input_encoder", "output_encoder", "inject_ctx")
_CALLED_OPTIONS = ("accumulate", "combine")
_ORDER = ("code", "version", "default", "closure", "decorator", "option", "kind", "annotation", "helper", "wrapper")
_VALUES = ("global", "closure", "default", "attribute", "field", "member", "value")
_LONGEST_DIFF = 200


@dataclass(frozen=True, slots=True)
class FunctionPrint:
    """A function's fingerprint, which names its outputs, and the parts behind it.

    Attributes
    ----------
    fingerprint
        64 hex digits: equal only for functions that do the same, by all that can be seen without running them.
    parts
        Name → hex digest, version or label: ``"code"``, ``"helper clean"``, ``"global LIMIT"``, ``"package numpy"``.
    sources
        Name → canonical source or short repr, for people.
    opaque
        The parts that couldn't be seen, a sentence each.
    unkeyed
        Of those, what is sent although no digest tells it from another of its type: with any, later runs don't replay
        what the function gives.
    patches
        The project's patches of others' classes and modules that the function may reach.
    classes
        The project's own classes that were reached, by module and qualified name.
    modules
        The project's own modules that the function needs where it runs, ``__main__`` apart.
    versions
        Each class that was reached → a digest of it and of all that it reaches in turn.
    makers
        Makers of classes at run time, as one text: functions that define some, modules imported late. Instances
        may travel on to functions that call their methods.
    """

    fingerprint: Fingerprint
    parts: Mapping[str, str]
    sources: Mapping[str, str]
    opaque: tuple[str, ...]
    classes: Mapping[tuple[str, str], type]
    modules: tuple[str, ...]
    versions: Mapping[type, str]
    makers: str = ""
    unkeyed: tuple[str, ...] = ()
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two fingerprints.

    Attributes
    ----------
    part
        The name of the part: ``"helper clean"``.
    diff
        Lines of a unified diff of sources, or ``old -> new`` of values.
    """

    part: str
    what: Literal["changed", "added", "removed"]
    diff: str

    def __str__(self) -> str:
        kind, _, name = self.part.partition(" ")
        return f"{kind} `{name}` {self.what}" if name else f"its {kind} {self.what}"


def fingerprint(
    function: Any,
    *,
    options: Mapping[str, str] | None = None,
    arriving: Iterable[type] = (),
    made_before: Mapping[str, str] | None = None,
    patches: Iterable[Patch] = (),
) -> FunctionPrint:
    """Fingerprint a function by everything that it reaches.

    Parameters
    ----------
    function
        A decorated function, whose own options that decide its output join in, or any callable or class.
    options
        More that its output depends on, by name.
    arriving
        Classes whose instances the function may be given. It can call their methods without naming them, so the
        project's own among them count with all that they reach.
    made_before
        The ``makers`` of the functions before it, by their names.
    patches
        The project's patches of others' classes and modules.
    """
    decorated = getattr(type(function), "__tensorlake_function__", False)
    call = function.call if decorated else function
    reach = _reach(function, call, options or {}, arriving)
    met = _meet(reach, patches)
    version = getattr(function.options, "version", None) if decorated else None
    for name, makers in (made_before or {}).items():
        reach.parts[f"classes made by {name}"] = digest(makers).hex()
    parts, sources, opaque = reach.parts, reach.sources, tuple(reach.opaque)
    if version is not None:  # the author's word replaces what we see
        kept = {label: part for label, part in parts.items() if label.startswith(("option ", "kind"))}
        parts = {**kept, "name": name_of(call), "version": str(version)}
        sources = {label: str(text) for label, text in parts.items()}
        opaque = ()
    unkeyed = tuple(reach.unkeyed) if version is None else ()
    fields = [text.encode("utf-8", "surrogatepass") for item in sorted(parts.items()) for text in item]
    whole = digest(b"fingerprint/1" + b"".join(map(field, fields)))
    return FunctionPrint(
        Fingerprint(whole.hex()),
        parts,
        sources,
        opaque,
        reach.classes,
        tuple(sorted(reach.modules)),
        reach.versions(),
        reach.makers() if version is None else "",
        unkeyed,
        met,
    )


def _reach(function: Any, call: Any, options: Mapping[str, str], arriving: Iterable[type]) -> Reach:
    inner = _innermost(call)
    home = getattr(inner, "__globals__", {}).get("__name__") or getattr(inner, "__module__", None)
    reach = Reach(str(home))
    if isinstance(inner, types.FunctionType) and origin_of(inner) is Origin.PROJECT:
        reach.function_ref(inner, "code")
    elif isinstance(inner, type) and origin_of_class(inner) is Origin.PROJECT:
        reach.class_ref(inner, "code")
    else:
        reach.parts["code"] = reach.ref(inner, "callable")
        reach.sources["code"] = name_of(inner)
    if call is not inner:
        reach.parts["decorated"] = reach.ref(call, "decorator")
    binds = getattr(call, "run", call) if isinstance(call, type) else call
    for label, ref in parameter_refs(reach, binds).items():
        reach.parts[label] = ref
    given = dict(options)
    if getattr(type(function), "__tensorlake_function__", False):
        own = function.options
        given = {**{name: str(getattr(own, name)) for name in _KEY_OPTIONS}, **given}
        for name in _CALLED_OPTIONS:
            if getattr(own, name, None) is not None:
                label = f"option {name}"
                reach.parts[label] = reach.sources[label] = reach.ref(getattr(own, name), f"value {name}")
        if function.is_router:
            reach.parts["kind"] = reach.sources["kind"] = "router"
    for name, value in given.items():
        reach.parts[f"option {name}"] = reach.sources[f"option {name}"] = value
    for cls in sorted(arriving, key=name_of):
        if origin_of_class(cls) is Origin.PROJECT:
            reach.class_ref(cls)
    reach.finish()
    return reach


def _meet(reach: Reach, patches: Iterable[Patch]) -> tuple[Patch, ...]:
    """Follow the patches that what is reached may come upon, and those that these come upon in turn."""
    left, met = list(patches), list[Patch]()
    while True:
        by_packages = any(label.startswith("package ") for label in reach.parts)
        seen = [patch for patch in left if patch.is_seen(reach.names, reach.tops, by_packages=by_packages)]
        if not seen:
            return tuple(met)
        met += seen
        left = [patch for patch in left if patch not in seen]
        for patch in seen:
            reach.parts[f"patch {patch.path}"] = reach.ref(patch.value, f"value {patch.path}")
            reach.sources[f"patch {patch.path}"] = reach.shown(patch.value, patch.path)
        reach.finish()


def _innermost(call: Any) -> Any:
    """Return the function that was decorated, below any ``functools.wraps``."""
    seen = set[int]()
    while not isinstance(call, type) and id(call) not in seen:
        seen.add(id(call))
        below = getattr(call, "__wrapped__", None)
        if not callable(below):
            break
        call = below
    return call


def explain(
    old_parts: Mapping[str, str],
    old_sources: Mapping[str, str],
    new_parts: Mapping[str, str],
    new_sources: Mapping[str, str],
) -> list[Change]:
    """Say what differs between two fingerprints, own code first."""
    changes = []
    for part in sorted(old_parts.keys() | new_parts.keys(), key=_rank):
        old, new = old_parts.get(part), new_parts.get(part)
        if old == new:
            continue
        before = old_sources.get(part, old or "")
        after = new_sources.get(part, new or "")
        if old is None:
            changes.append(Change(part, "added", _diff("", after)))
        elif new is None:
            changes.append(Change(part, "removed", _diff(before, "")))
        else:
            same_text = before == after and part.partition(" ")[0] in _VALUES
            diff = f"{after:.200} (other contents)" if same_text else _diff(before, after)
            changes.append(Change(part, "changed", diff))
    # a caller whose own text is the same differs only in what its names stand for: the others say that better
    telling = [change for change in changes if change.diff]
    return telling or changes


def _rank(part: str) -> tuple[int, str]:
    kind = part.partition(" ")[0]
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), part)


def _diff(old: str, new: str) -> str:
    if old == new:
        return ""
    if "\n" in old or "\n" in new or not (old and new):
        lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:]
        shown = [line for line in lines if not line.startswith("@@")] if len(lines) < 12 else lines
        return "\n".join(shown[:_LONGEST_DIFF])
    return f"{old} -> {new}"


def _digest_of_code(value: Any) -> bytes:
    found = fingerprint(value)
    if found.unkeyed:
        raise Refusal(f"{name_of(value)} can't be told from another by its code: {found.unkeyed[0]}")
    return bytes.fromhex(found.fingerprint)


set_code_digest(_digest_of_code)
