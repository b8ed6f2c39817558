"""A whole graph as one static Dask graph: a task per node, whose result says where the node's outputs lie.

This is what is known before anything ran. A run lowers finer: when a fan-out reports how many elements there are, they
are cut into batches, and reducers fold while the map before them is still at work. Both give the same outputs under
the same keys, so either finds what the other has computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dask.task_spec import Task, TaskRef

from tensorlake_nb.core.batches.output_columns import OutputColumns
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.core.planning.events import StreamReplayed
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.streams.tables import ChunkData
from tensorlake_nb.engine.calls.loaded import store_at
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.inline import drive_inline
from tensorlake_nb.engine.reports.counts import failed_elements
from tensorlake_nb.engine.runs.raised_errors import task_failed
from tensorlake_nb.engine.travel.fingerprints import stored_resolver
from tensorlake_nb.errors import InternalError

#: A Dask key: the node, and the run that the graph was drawn up for.
NodeKey = tuple[str, str]


#: The outputs of nodes, by their names.
Streams = Mapping[str, OutputColumns]


def static_graph(blueprint: Blueprint, store_url: str, trusted: bool) -> dict[NodeKey, Task]:
    """Return the Dask graph of a run: keys begin with the node's name, and tasks depend on the nodes that feed them."""
    tasks: dict[NodeKey, Task] = {}
    for name in blueprint.prints:
        parts = blueprint.plan.parts_of(name)
        parents = dict.fromkeys(
            blueprint.plan.nodes[port.parent].of for part in parts for port in blueprint.plan.nodes[part].ports
        )
        needs = [TaskRef((parent, str(blueprint.run_id))) for parent in parents if parent != name]
        key = (name, str(blueprint.run_id))
        tasks[key] = Task(key, compute_node, blueprint, store_url, trusted, name, *needs)
    return tasks


def compute_node(blueprint: Blueprint, store_url: str, trusted: bool, name: str, *parents: Streams) -> Streams:
    """Compute one node from the streams of those before it; what is in the store already isn't computed.

    Returns
    -------
    streams
        The node's own stream, by the names of its parts, and those that it was given.

    Raises
    ------
    TaskFailedError
        A call failed after its retries.
    """
    known: dict[str, OutputColumns] = {}
    for streams in parents:
        known.update(streams)
    parts = blueprint.plan.parts_of(name)
    plan = _only(blueprint.plan, {*known, *parts})
    store = store_at(store_url, trusted, blueprint.run_id)
    desk = Desk(
        plan,
        blueprint.calls,
        store,
        blueprint.run_id,
        blueprint.inputs,
        blueprint.inputs_digest,
        stored_resolver(store, blueprint.calls.values(), vouched=True),
        checkpoint_interval_s=0.5,
    )
    state = RunState.fresh(plan)
    replayed = [
        StreamReplayed(parent, desk.streams.add(parent, (), ChunkData(None, known[parent])))
        for parent in plan.nodes
        if parent in known
    ]
    drive_inline(state, desk, replayed, until=lambda state: state.nodes[name].sealed)
    for failure in failed_elements(state):
        raise task_failed(failure)
    if state.error is not None:
        raise InternalError(state.error)
    return {**known, **{part: desk.streams.whole(part) for part in parts}}


def _only(plan: Plan, names: set[str]) -> Plan:
    nodes = {
        name: replace(node, children=tuple(child for child in node.children if child[0] in names), chain=())
        for name, node in plan.nodes.items()
        if name in names
    }
    return replace(plan, nodes=nodes, start=plan.start)
