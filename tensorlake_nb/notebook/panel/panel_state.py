"""A run or a graph → what its panel shows; nothing here touches a kernel or a widget."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tensorlake_nb.engine.reports.standings import NodeStanding
from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.errors import GraphError, TensorlakeError
from tensorlake_nb.notebook.panel.forms import form_of
from tensorlake_nb.notebook.panel.messages import (
    ACTIONS,
    RUN_STATUS,
    Action,
    Counts,
    GraphEdge,
    GraphNode,
    GraphShape,
    PanelState,
    ProgressState,
    RunHead,
    Standing,
    State,
)

#: Texts of users are cut at this length: a panel shows them in short, and a message stays small.
_LONGEST = 2000
_SHORT_ID = 6


def short_id(run_id: str) -> str:
    """Return the end of an id, by which people tell runs apart and which `Run.open` takes."""
    return run_id[-_SHORT_ID:]


def shape_of(definition: Mapping[str, Any], problems: tuple[str, ...] = ()) -> GraphShape:
    """Return the drawn shape of a recorded definition, written by any version."""
    nodes = tuple(
        GraphNode(
            name=str(name),
            kind=node["kind"] if node.get("kind") in ("function", "router", "reducer") else "function",
            about=str(node.get("description") or "")[:_LONGEST],
            options={str(option): str(value)[:200] for option, value in node.get("options", {}).items()},
        )
        for name, node in definition.get("nodes", {}).items()
    )
    edges = tuple(
        GraphEdge(
            source=str(edge["source"]),
            target=str(edge["target"]),
            into=edge.get("into"),
            routed=bool(edge.get("routed")),
        )
        for edge in definition.get("edges", ())
    )
    return GraphShape(
        name=str(definition.get("name", "")),
        about=str(definition.get("description") or "")[:_LONGEST],
        start=str(definition.get("start_node", "")),
        nodes=nodes,
        edges=edges,
        problems=tuple(problem[:_LONGEST] for problem in problems),
    )


def state_of_run(run: Run, *, graph_key: str | None = None, blocking: bool = False) -> PanelState:
    """Return the state that a panel shows of a run now."""
    status = run.status
    standings = run.standings()
    head = RunHead(
        id=run.id,
        short=short_id(run.id),
        status=RUN_STATUS.validate_python(status),
        started_at=run.started_at,
        ended_at=run.ended_at,
        error=(run.error or "")[:_LONGEST] or None if status == "failed" and not run.failures else None,
        blocking=blocking and status == "running",
        doing=run.doing,
        critical_path=run.critical_path() if status != "running" else (),
    )
    over = status != "running"
    return PanelState(
        graph_key=graph_key,
        graph=shape_of(run.definition),
        run=head,
        nodes={name: standing_of(standing, over) for name, standing in standings.items()},
        actions=actions_of_run(run, status, standings, graph_key),
        at=time.time(),
    )


def standing_of(standing: NodeStanding, over: bool) -> Standing:
    """One node of a run."""
    return Standing(
        state=state_word(standing, over),
        counts=Counts(
            waiting=standing.waiting,
            queued=standing.queued,
            running=standing.running,
            computed=standing.computed,
            replayed=standing.replayed,
            failed=standing.failed,
            cancelled=standing.cancelled,
        ),
        total=standing.total,
        outputs=standing.outputs,
        seconds=round(standing.seconds, 6),
        started_at=standing.started_at,
        ended_at=standing.ended_at,
        queued_seconds=round(standing.queued_seconds, 6),
        retries=standing.retries,
        rate=None if standing.rate is None else float(f"{standing.rate:.3g}"),
        eta_seconds=None if standing.eta_seconds is None else float(f"{standing.eta_seconds:.2g}"),
        saved_seconds=round(standing.saved_seconds, 6),
        saved_by=short_id(standing.saved_by),
        progress=None
        if standing.progress is None
        else ProgressState(current=standing.progress[0], total=standing.progress[1]),
        error=None if standing.error is None else standing.error[:_LONGEST],
        notes=tuple(note[:300] for note in standing.notes),
    )


def state_word(standing: NodeStanding, over: bool) -> State:
    """Return the one state that a person should see first."""
    if standing.failed:
        return "failed"
    if standing.running:
        return "running"
    if standing.cancelled:
        return "cancelled"
    settled = standing.computed + standing.replayed
    if standing.queued:
        return "running" if settled else "queued"
    if standing.waiting:
        return "running" if settled else "waiting"
    if standing.computed:
        return "computed" if over or standing.total is not None else "running"
    if standing.replayed:
        return "replayed"
    if not standing.is_taken or over:
        return "computed" if standing.outputs else "not taken"
    return "waiting"


def actions_of_run(
    run: Run, status: str, standings: Mapping[str, NodeStanding], graph_key: str | None
) -> dict[Action, str | None]:
    """Return the actions on a run, each with the reason if it isn't possible now."""
    is_running = status == "running"
    is_over = f"The run is over: it {'has ' if status == 'succeeded' else 'was '}{status}."
    elsewhere = "Another process drives this run." if is_running and not run.is_driven_here else None
    busy = "The run hasn't ended yet." if is_running else None
    no_graph = None if graph_key is not None else "The graph isn't in this kernel: run the cell that makes it."
    n_failed = sum(standing.failed for standing in standings.values())
    reasons: dict[Action, str | None] = {
        "run": busy or no_graph,
        "plan": busy or no_graph,
        "cancel": elsewhere if is_running else is_over,
        "force": (elsewhere or (None if run.is_stopping else "Cancel first.")) if is_running else is_over,
        "resume": busy or ("Everything is finished." if status == "succeeded" else None),
        "rerunFailed": busy or (None if n_failed else "Nothing failed."),
        "again": busy,
        "refresh": busy,
    }
    return {action: reasons[action] for action in ACTIONS}


def state_of_graph(graph: Graph, key: str | None) -> PanelState:
    """Return a panel's state for a graph that isn't running: its stale nodes, and the form of its inputs."""
    problems: tuple[str, ...] = ()
    stale: Mapping[str, str] = {}
    form = None
    try:
        graph.freeze()
    except GraphError as error:
        problems = error.problems
    else:
        try:
            stale = graph.changed_since()
        except TensorlakeError as error:  # what a function reaches has no digest: a run would say the same
            problems = (str(error),)
        form = form_of(graph)
    nodes = {
        name: Standing(state="stale" if name in stale else "waiting", stale=stale.get(name, "")[:_LONGEST])
        for name in graph.nodes
    }
    reason = (
        "The graph can't run yet: see the problems above."
        if problems
        else None
        if key is not None
        else "No variable of this notebook holds the graph."
    )
    none = "There is no run."
    can: dict[Action, str | None] = {action: reason if action in ("run", "plan") else none for action in ACTIONS}
    return PanelState(
        graph_key=key,
        graph=shape_of(graph.definition(), problems),
        run=None,
        nodes=nodes,
        actions=can,
        form=form,
        at=time.time(),
    )
