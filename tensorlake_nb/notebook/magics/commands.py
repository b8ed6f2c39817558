"""The verbs of ``%tensorlake``. Each takes its command and the user's namespace and returns what to show."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.cluster.settings import Settings, read_settings
from tensorlake_nb.engine.runs.collection import Collected
from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.errors import UsageError
from tensorlake_nb.notebook.magics.options import Command
from tensorlake_nb.notebook.namespace.find import find_graph, graphs_in, has_graph
from tensorlake_nb.notebook.namespace.redefinitions import refresh
from tensorlake_nb.notebook.terminal import reports

Namespace = dict[str, Any]


def run(command: Command, namespace: Namespace) -> Run:
    """``run GRAPH [k=v ...]``."""
    return _graph(command, namespace).run(command.inputs)


def start(command: Command, namespace: Namespace) -> Run:
    """``start GRAPH [--detach] [k=v ...]``."""
    return _graph(command, namespace).start(command.inputs, detach=command.detach)


def plan(command: Command, namespace: Namespace) -> Any:
    """``plan GRAPH [k=v ...]``."""
    return _graph(command, namespace).plan(command.inputs)


def verify(command: Command, namespace: Namespace) -> Any:
    """``verify GRAPH [--sample F] [--seed N] [k=v ...]``: without inputs, those of its newest run."""
    return _graph(command, namespace).verify(command.inputs, sample=command.sample, seed=command.seed)


def _graph(command: Command, namespace: Namespace) -> Graph:
    refresh(namespace)
    return find_graph(str(command.subject), namespace)


def show(command: Command, namespace: Namespace) -> Any:
    """``show [GRAPH|RUN]``: without a name the latest run, else the only graph."""
    if command.subject is not None:
        if has_graph(command.subject, namespace):
            return find_graph(command.subject, namespace)
        return reports.find_run(command.subject)
    latest = reports.latest_runs(1)
    if latest:
        return latest[0]
    graphs = list(graphs_in(namespace).values())
    if len(graphs) == 1:
        return graphs[0]
    raise UsageError(f"no run yet, and {len(graphs)} graphs: say which one to show")


def runs(command: Command, namespace: Namespace) -> reports.Table:
    """List runs: ``runs [GRAPH] [--limit N]``."""
    return reports.runs_table(reports.latest_runs(command.limit, command.subject))


def resume(command: Command, namespace: Namespace) -> Run:
    """``resume RUN``."""
    return Run.open(str(command.subject)).resume()


def why(command: Command, namespace: Namespace) -> reports.Why:
    """``why [GRAPH|RUN] [FUNCTION]``: of a graph, its latest run."""
    subject = command.subject
    if subject is None or not has_graph(subject, namespace):
        return reports.why(reports.find_run(subject), command.function)
    of_graph = reports.latest_runs(1, find_graph(subject, namespace).name)
    if not of_graph:
        raise UsageError(f"graph {subject!r} hasn't been run in this store")
    return reports.why(of_graph[0], command.function)


def store(command: Command, namespace: Namespace) -> None:
    """``store [URL]``."""
    if command.subject is not None:
        session.configure(store=command.subject)
    print(f"store: {session.current().settings.store}")


def cluster(command: Command, namespace: Namespace) -> None:
    """``cluster [ADDR]``."""
    if command.subject is not None:
        session.configure(cluster=command.subject)
    print(f"cluster: {session.current().settings.cluster}")


def gc(command: Command, namespace: Namespace) -> Collected:
    """``gc [--dry-run] [--keep-runs N] [--older-than D] [--max-bytes B] [--grace D]``."""
    return reports.collected(command.collection)


def config(command: Command, namespace: Namespace) -> reports.Table:
    """``config``: every setting, its value, and whether it was given, read from the environment, or is the default."""
    settings = session.current().settings
    from_environment = read_settings()
    rows = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        variable = f"TENSORLAKE_NB_{name.upper()}"
        if name not in settings.model_fields_set:
            source = "default"
        elif variable in os.environ and getattr(from_environment, name) == value:
            source = variable
        else:
            source = "configure()"
        rows.append((name, str(value), source))
    return reports.Table(("setting", "value", "from"), tuple(rows))


PERFORM: dict[str, Callable[[Command, Namespace], Any]] = {
    "run": run,
    "start": start,
    "plan": plan,
    "verify": verify,
    "show": show,
    "runs": runs,
    "resume": resume,
    "why": why,
    "store": store,
    "cluster": cluster,
    "gc": gc,
    "config": config,
}
