"""The fingerprints of a graph's functions, and the classes that their values are instances of."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from blake3 import blake3
from pydantic import BaseModel

from tensorlake_nb.core.batches.batch import Call
from tensorlake_nb.core.code.patches import find_patches
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint, fingerprint
from tensorlake_nb.core.fingerprint.redefined_classes import held_as, named
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.graphs.builder import FrozenGraph
from tensorlake_nb.core.values.object_rules import CODE_TYPES
from tensorlake_nb.engine.travel.main_module import names_seen
from tensorlake_nb.engine.travel.packing import unpack
from tensorlake_nb.engine.travel.patches import notice
from tensorlake_nb.errors import StoreError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.classes import ClassResolver, ClassTable, ModuleResolver


def fingerprints(graph: FrozenGraph, inputs: Mapping[str, Any]) -> dict[str, FunctionPrint]:
    """Per node what names its outputs.

    A function may call the methods of what it is given without naming a class, so the project's classes that the
    functions before it reach or make, and those of the inputs, count for it too.
    """
    prints: dict[str, FunctionPrint] = {}
    patches = find_patches()
    notice(patches)
    arriving: dict[str, frozenset[type]] = {}
    made_before: dict[str, dict[str, str]] = {}
    given = frozenset(_classes_within(inputs))
    for name, node in graph.nodes.items():
        parents = [edge.source for edge in node.parents]
        arriving[name] = given.union(*(arriving[each].union(prints[each].classes.values()) for each in parents))
        made_before[name] = {}
        for each in parents:
            made_before[name] |= made_before[each] | ({each: prints[each].makers} if prints[each].makers else {})
        found = fingerprint(node.function, arriving=arriving[name], made_before=made_before[name], patches=patches)
        prints[name] = replace(found, classes=_standing(node.function, found.classes))
    return prints


def _standing(function: Function, classes: Mapping[tuple[str, str], type]) -> dict[tuple[str, str], type]:
    """Return the classes that a function's names stand for: annotations may hold earlier ones, modules later ones."""
    held = [value for value in names_seen(function) if isinstance(value, type)]
    return {name: held_as(*name, held) or named(*name) or cls for name, cls in classes.items()}


def _classes_within(value: Any) -> Iterator[type]:
    """Yield the classes of a value and of all that its containers, records and other objects hold."""
    seen: set[int] = set()
    left = [value]
    while left:
        here = left.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if type(here).__module__ != "builtins":
            yield type(here)
        left.extend(_parts(here))


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, BaseModel):
        return [item for _, item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, each.name, None) for each in dataclasses.fields(value)]
    if isinstance(value, np.ndarray):
        return value.flat if value.dtype == object else ()
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        columns = [value] if isinstance(value, pandas.Series) else [column for _, column in value.items()]
        return [item for column in columns if column.dtype == object for item in column]
    of_class: Any = type(value)
    if isinstance(value, CODE_TYPES) or getattr(of_class, "__getstate__", None) is not _ALL_OF_IT:
        return ()  # what a class leaves out of its state is no part of the value
    try:
        held = value.__dict__
    except Exception:  # a proxy of something that isn't there
        return ()
    return list(held.values()) if isinstance(held, dict) else ()


_ALL_OF_IT: Any = getattr(object, "__getstate__", None)


class KernelResolver:
    """Finds the notebook's classes: as they are in this kernel now, else as a run's functions had them."""

    def __init__(self, table: ClassResolver) -> None:
        self._now, self._table = ModuleResolver(), table

    def name_of(self, cls: type) -> tuple[str, str] | None:
        return self._now.name_of(cls) or self._table.name_of(cls)

    def find(self, module: str, qualname: str) -> type:
        try:
            return self._now.find(module, qualname)
        except LookupError:
            return self._table.find(module, qualname)


class StoredClasses:
    """The classes that a run's functions travelled with, unpickled from the store when one is first asked for."""

    def __init__(self, store: Store, calls: Iterable[Call], *, vouched: bool) -> None:
        self._store, self._codes = store, {call.code_path: call.code_digest for call in calls}
        self._vouched = vouched
        self._table: ClassTable | None = None

    def name_of(self, cls: type) -> tuple[str, str] | None:
        return self._loaded().name_of(cls)

    def find(self, module: str, qualname: str) -> type:
        return self._loaded().find(module, qualname)

    def _loaded(self) -> ClassTable:
        if self._table is None:
            classes: dict[tuple[str, str], type] = {}
            for path, named in self._codes.items() if self._vouched else ():  # a pickle is code
                try:
                    code = self._store.get_bytes(path)
                except StoreError:
                    continue
                if blake3(code).digest() == named:
                    classes.update(unpack(code).classes)
            self._table = ClassTable(classes)
        return self._table


def resolver_of(prints: Mapping[str, FunctionPrint]) -> ClassResolver:
    """Return the resolver of a run that this kernel begins."""
    return KernelResolver(ClassTable({key: cls for each in prints.values() for key, cls in each.classes.items()}))


def stored_resolver(store: Store, calls: Iterable[Call], *, vouched: bool) -> ClassResolver:
    """Return the resolver of another kernel's run; ``vouched``: it is the user's own, so its code may be loaded."""
    return KernelResolver(StoredClasses(store, calls, vouched=vouched))
