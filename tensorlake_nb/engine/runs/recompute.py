"""Computing again on purpose: a run like an earlier one, some of whose nodes don't look at what others have kept."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from tensorlake_nb.core.batches.batch import Call
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.keys import Fingerprint, RunId, confined, level
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.store.owner import this_process


def following(plan: Plan, name: str) -> frozenset[str]:
    """Return a node of the graph and all its descendants."""
    reached = {name}
    for node in plan.nodes.values():  # parents come first
        if node.of in reached or any(plan.nodes[port.parent].of in reached for port in node.ports):
            reached.add(node.of)
    return frozenset(reached)


def renewed(blueprint: Blueprint, fresh: Iterable[str]) -> Blueprint:
    """Return the same run with these nodes to be computed anew, their outputs replacing the kept ones."""
    names = frozenset(fresh)
    calls = {
        part: replace(call, fresh=blueprint.plan.nodes[part].of in names) for part, call in blueprint.calls.items()
    }
    return replace(blueprint, calls=calls)


def copied(blueprint: Blueprint, run_id: RunId) -> Blueprint:
    """Return a new run of the same functions with the same inputs."""
    calls = {part: _confined_anew(blueprint, part, call, run_id) for part, call in blueprint.calls.items()}
    return replace(blueprint, run_id=run_id, calls=calls, created_at=time.time(), owner=this_process())


def _confined_anew(blueprint: Blueprint, part: str, call: Call, run_id: RunId) -> Call:
    """Confine a call of a ``cacheable=False`` function to the new run, as it was to the old one."""
    name = blueprint.plan.nodes[part].of
    own = Fingerprint(blueprint.prints[name].fingerprint)
    suffix = part.removeprefix(name)
    if call.fingerprint in (own, level(own, suffix)):
        return call
    new = confined(own, run_id, name)
    is_level = len(blueprint.plan.parts_of(name)) > 1
    by_place = call.by_place or not blueprint.prints[name].unkeyed
    return replace(call, fingerprint=level(new, suffix) if is_level else new, by_place=by_place)
