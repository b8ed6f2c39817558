"""Why a node's elements were computed or replayed: the difference to the last run that had the same node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tensorlake_nb.core.fingerprint.fingerprint import Change, explain
from tensorlake_nb.core.planning.blueprint import Blueprint, from_json
from tensorlake_nb.errors import StoreError
from tensorlake_nb.store.checkpoints.run_log import list_runs
from tensorlake_nb.store.checkpoints.store import Store

#: How many earlier runs are looked at.
_LOOK_BACK = 50


@dataclass(frozen=True, slots=True)
class Reasons:
    """The outcome at a node, and its reasons.

    Attributes
    ----------
    summary
        One sentence.
    changes
        The changes in the code since the compared run, each with a diff.
    since
        The id of that run; ``None`` if there is none.
    opaque
        The parts of the function that can't be seen, so that their changes aren't noticed.
    cause
        The first node before this one that is the cause of it, if one is.
    """

    node: str
    summary: str
    changes: tuple[Change, ...] = ()
    since: str | None = None
    opaque: tuple[str, ...] = ()
    cause: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.node}: {self.summary}"]
        for change in self.changes:
            lines += [f"  {change}", *(f"    {line}" for line in change.diff.splitlines())]
        lines += [f"  not seen: {each}" for each in self.opaque]
        return "\n".join(lines)

    __repr__ = __str__


def reasons(
    store: Store,
    blueprint: Blueprint,
    counted: Mapping[str, Mapping[str, int | None]],
    node: str,
    told: Sequence[str] = (),
) -> Reasons:
    """Explain one node of a run; ``told`` says what its calls have asked about the run."""
    found = _reasons(store, blueprint, counted, node)
    return replace(found, summary="; it ".join([found.summary, *told]))


def _reasons(store: Store, blueprint: Blueprint, counted: Mapping[str, Mapping[str, int | None]], node: str) -> Reasons:
    mine = blueprint.prints[node]
    numbers = counted[node]
    computed, replayed = numbers["computed"] or 0, numbers["replayed"] or 0
    before = _before(store, blueprint, node)
    since = before.run_id if before is not None else None
    if not computed and not (numbers["failed"] or 0):
        if replayed:
            return Reasons(node, f"replayed: all {replayed} found in the store", (), since, mine.opaque)
        return Reasons(node, "it received no input", (), since, mine.opaque)
    what = "recomputed" if before is not None else "computed"
    some = f", {replayed} of {computed + replayed} replayed" if replayed else ""
    if before is None:
        return Reasons(node, f"computed: no earlier run in this store has it{some}", (), None, mine.opaque)
    theirs = before.prints[node]
    changes = tuple(explain(theirs.parts, theirs.sources, mine.parts, mine.sources))
    if theirs.fingerprint != mine.fingerprint:
        named = " and ".join(str(change) for change in changes[:3]) or "its code changed"
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        return Reasons(node, f"{what} because {named}{more}, since run {since}{some}", changes, since, mine.opaque)
    if _is_fresh(blueprint, node):
        return Reasons(node, f"{what} because that was asked for{some}", (), since, mine.opaque)
    sentence = _of_inputs(store, blueprint, before, counted, node)
    cause = _first_cause(blueprint, before, counted, node)
    return Reasons(node, f"{what} because {sentence}{some}", (), since, mine.opaque, None if cause == node else cause)


def _is_fresh(blueprint: Blueprint, node: str) -> bool:
    return any(blueprint.calls[part].fresh for part in blueprint.plan.parts_of(node))


def _moved(blueprint: Blueprint, counted: Mapping[str, Mapping[str, int | None]], node: str) -> list[str]:
    """Return the parents whose outputs are new."""
    parents = [blueprint.plan.nodes[port.parent].of for port in blueprint.plan.nodes[_entry(blueprint, node)].ports]
    return [parent for parent in dict.fromkeys(parents) if parent in counted and (counted[parent]["computed"] or 0)]


def _entry(blueprint: Blueprint, node: str) -> str:
    """Return the part of a node that its parents feed: the leaves of a combine tree, else the node itself."""
    return f"{node}~leaves" if f"{node}~leaves" in blueprint.plan.nodes else node


def _first_cause(
    blueprint: Blueprint, before: Blueprint, counted: Mapping[str, Mapping[str, int | None]], node: str
) -> str:
    """Upstream along what is new, to the first node that was computed for a reason of its own."""
    while True:
        theirs = before.prints.get(node)
        moved = _moved(blueprint, counted, node)
        if theirs is None or theirs.fingerprint != blueprint.prints[node].fingerprint or not moved:
            return node
        if _is_fresh(blueprint, node):
            return node
        node = moved[0]


def _of_inputs(
    store: Store, blueprint: Blueprint, before: Blueprint, counted: Mapping[str, Mapping[str, int | None]], node: str
) -> str:
    """Explain a recomputation with unchanged code: new inputs, or outputs that were not kept."""
    call = blueprint.calls[node]
    if call.fingerprint != before.calls[node].fingerprint:
        unkeyed = blueprint.prints[node].note or before.prints[node].note
        return unkeyed or "its outputs are kept for one run only (cacheable=False)"
    ports = blueprint.plan.nodes[_entry(blueprint, node)].ports
    distrusted = sum(
        store.distrusted.get(blueprint.calls[part].fingerprint, 0) for part in blueprint.plan.parts_of(node)
    )
    if distrusted:
        return f"{distrusted} of its outputs are pickles without your signature, in an untrusted store"
    if not ports:
        if blueprint.inputs_digest == before.inputs_digest:
            return "its output was not in the store: not finished then, or damaged or removed since"
        changed = [name for name, text in blueprint.inputs_repr.items() if before.inputs_repr.get(name) != text]
        named = f" ({', '.join(changed)})" if changed else ""
        return f"the run's inputs differ{named}, since run {before.run_id}"
    moved = _moved(blueprint, counted, node)
    if moved:
        return f"of {' and '.join(moved)}: what came from there is new"
    return "these inputs had no output in the store: not finished then, or damaged or removed since"


def _before(store: Store, blueprint: Blueprint, node: str) -> Blueprint | None:
    """Return the newest earlier run with the node, of the same graph if possible, else of any."""
    fallback: Blueprint | None = None
    looked_at = 0
    for entry in list_runs(store):
        if entry.run_id >= blueprint.run_id or entry.header is None:
            continue
        looked_at += 1
        if looked_at > _LOOK_BACK:
            break
        try:
            other = from_json(entry.header)
        except (KeyError, ValueError, TypeError, StoreError):
            continue
        if node in other.prints:
            if other.graph == blueprint.graph:
                return other
            fallback = fallback or other
    return fallback
