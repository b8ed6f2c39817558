"""Answer a panel's requests, on the thread that receives them; never raise."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from tensorlake_nb.core.functions.binding import MISSING
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.reports.comparison import RunSummary
from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.errors import TensorlakeError, UnreadableValueError, UsageError
from tensorlake_nb.notebook.namespace.find import find_graph, graphs_in
from tensorlake_nb.notebook.panel import messages as ms
from tensorlake_nb.notebook.panel.panel_state import short_id, state_of_graph, state_of_run
from tensorlake_nb.notebook.panel.shown_values import shown, shown_by_picture
from tensorlake_nb.store.checkpoints.run_log import run_ids

logger = logging.getLogger(__name__)

_MOST_FAILURES = 20
_MOST_LINES = 500
_MOST_ROWS = 500
_MOST_RUNS = 500
#: Runs that stay open to answer for: those that go on, and the last ones asked for.
_MOST_KEPT = 64
#: Frames of the user's own code end where the engine's begin; those of installed packages are left to the whole.
_FRAME = re.compile(r'^  File "(?P<file>[^"]*)", line \d+')

_DEFINITION = re.compile(r"^\s*(?:async\s+def|def|class)\s+(\w+)", re.MULTILINE)

#: Shows a run that a request began: gives the state to answer with, once a panel follows it.
Follow = Callable[[Run], ms.PanelState]


class PanelRequests:
    """Answers requests about the runs of the store and the graphs of a namespace.

    Parameters
    ----------
    namespace
        The user's variables, as they are when it is asked.
    """

    def __init__(self, namespace: Callable[[], Mapping[str, Any]]) -> None:
        self._namespace = namespace
        self._runs: dict[str, Run] = {}
        self._summaries: dict[str, RunSummary] = {}

    def know(self, run: Run) -> None:
        """Answer for this very object, which may drive the run, instead of one opened from the store."""
        self._runs.pop(run.id, None)
        self._runs[run.id] = run
        for old in list(self._runs)[:-_MOST_KEPT]:
            if self._runs[old].wait_quietly(0):
                del self._runs[old]

    def answer(self, message: Any, follow: Follow) -> dict[str, Any]:
        """Return the reply to one message, as it crosses."""
        asked = message if isinstance(message, Mapping) else {}
        head = {"version": ms.VERSION, "id": str(asked.get("id", ""))[:100]}
        return ms.crossing({**head, **self._reply(asked, follow)})

    def _reply(self, asked: Mapping[str, Any], follow: Follow) -> dict[str, Any]:
        if asked.get("version") != ms.VERSION:
            return {"ok": False, "error": _other_version(asked.get("version"))}
        try:
            return {"ok": True, "body": self._perform(ms.REQUEST.validate_python(dict(asked)), follow)}
        except ValidationError:
            return {"ok": False, "error": f"the kernel doesn't know the request {str(asked.get('kind'))[:40]!r}"}
        except TensorlakeError as error:
            return {"ok": False, "error": str(error)[:4000]}
        except Exception as error:  # the page has to hear of it: no caller is there to catch it
            logger.exception("a request of a panel failed")
            return {"ok": False, "error": f"{type(error).__name__}: {error}"[:4000]}

    def _perform(self, request: ms.Request, follow: Follow) -> Any:
        match request:
            case ms.StateRequest(run=run, graph=graph):
                return self._state(run, graph)
            case ms.NodeRequest(kind="node"):
                return self._node(self.run(request.run), request.node)
            case ms.NodeRequest(kind="why"):
                return self._why(self.run(request.run), request.node)
            case ms.NodeRequest():
                return follow(self._again(self.run(request.run), request)).wire()
            case ms.ElementsRequest():
                count = min(max(request.count, 0), _MOST_ROWS)
                page = self.run(request.run).elements(
                    request.node, state=request.filter, start=max(request.start, 0), count=count
                )
                return _camel(asdict(page))
            case ms.ValueRequest():
                return self._value(self.run(request.run), request)
            case ms.LogsRequest():
                return self._logs(self.run(request.run), request)
            case ms.RunRequest(kind="timeline"):
                return self._timeline(self.run(request.run))
            case ms.RunRequest():
                return follow(self.run(request.run).resume(wait=False)).wire()
            case ms.CancelRequest():
                self.run(request.run).cancel(force=request.force)
                return None
            case ms.InputsRequest(kind="run"):
                return follow(self._graph(request.graph).start(request.inputs)).wire()
            case ms.InputsRequest(kind="validate"):
                return self._validate(self._graph(request.graph), request.inputs)
            case ms.InputsRequest():
                return self._plan(self._graph(request.graph), request.inputs)
            case ms.RunsRequest():
                return [self._summary_wire(summary) for summary in self._latest(min(request.limit, _MOST_RUNS))]
            case ms.GraphsRequest():
                return [self._graph_summary(key, graph) for key, graph in self._graphs().items()]
            case ms.CompareRequest():
                return self._compare(self.run(request.left), self.run(request.right))

    def _again(self, run: Run, request: ms.NodeRequest) -> Run:
        """With the functions as they are now, if the graph is here."""
        return run.again(request.node, only=request.kind == "refresh", graph=self._graph_of(run), wait=False)

    # -- runs and graphs by name --

    def run(self, run_id: str) -> Run:
        """Return the run with an id."""
        if run_id not in self._runs:
            run = Run.open(run_id)
            self.know(run)
            return run
        return self._runs[run_id]

    def _graphs(self) -> dict[str, Graph]:
        return graphs_in(self._namespace())

    def _graph(self, key: str) -> Graph:
        return find_graph(key, self._namespace())

    def key_of(self, graph: Graph) -> str | None:
        """Return the name of the variable that holds a graph."""
        return next((key for key, held in self._graphs().items() if held is graph), None)

    def key_for(self, run: Run) -> str | None:
        """Return the name of the variable that holds the graph of a run, by the graph's name."""
        return next((key for key, graph in self._graphs().items() if graph.name == run.graph), None)

    def _graph_of(self, run: Run) -> Graph | None:
        key = self.key_for(run)
        return None if key is None else self._graphs()[key]

    def _state(self, run: str | None, graph: str | None) -> dict[str, Any]:
        if run is not None:
            opened = self.run(run)
            return state_of_run(opened, graph_key=self.key_for(opened)).wire()
        if graph is None:
            raise UsageError("the request names neither a run nor a graph")
        found = self._graph(graph)
        return state_of_graph(found, self.key_of(found)).wire()

    # -- a node --

    def _node(self, run: Run, node: str) -> dict[str, Any]:
        standing = run.standings().get(node)
        if standing is None:
            raise UsageError(f"run {run.id} of {run.graph!r} has no function {node!r}")
        failures = [failure for failure in run.failures if failure.node == node]
        source = run.source_of(node)
        defined = _DEFINITION.search(source)
        metrics = run.metrics_of(node)
        arrived = (standing.waiting, standing.queued, standing.running, standing.computed, standing.replayed)
        return {
            "node": node,
            "outputs": standing.outputs,
            "inputs": sum(arrived) + standing.failed + standing.cancelled,
            "failures": [
                {
                    "index": failure.index,
                    "input": failure.input_repr,
                    "attempts": failure.attempt,
                    "kind": str(failure.kind),
                    "error": failure.error,
                    "userTraceback": user_frames(failure.traceback_text),
                    "traceback": failure.traceback_text,
                }
                for failure in failures[:_MOST_FAILURES]
            ],
            "nFailed": standing.failed,
            "logLines": len(run.logs(node)),
            "timers": metrics["timers"],
            "counters": metrics["counters"],
            "definedAs": defined[1] if defined else node,
            "source": source[:20_000],
            "snippet": f"{_opened(run)}.outputs({json.dumps(node)})",
        }

    def _why(self, run: Run, node: str) -> dict[str, Any]:
        found = run.why(node)
        return {
            "node": node,
            "summary": found.summary,
            "cause": found.cause,
            "since": found.since,
            "changes": [{"what": str(change), "diff": change.diff[:20_000]} for change in found.changes],
            "opaque": list(found.opaque),
        }

    def _value(self, run: Run, request: ms.ValueRequest) -> dict[str, Any]:
        is_output = request.side == "output"
        values = run.outputs(request.node) if is_output else run.inputs_of(request.node)
        if not 0 <= request.index < len(values):
            raise UsageError(f"index {request.index} is out of range: {request.node!r} has {len(values)}")
        method = "outputs" if is_output else "inputs_of"
        snippet = f"{_opened(run)}.{method}({json.dumps(request.node)})[{request.index}]"
        try:
            value = values[request.index]
        except UnreadableValueError as error:
            if not error.pictures:
                raise
            return shown_by_picture(error, request.index, snippet).wire()
        return shown(value, request.index, snippet).wire()

    def _logs(self, run: Run, request: ms.LogsRequest) -> dict[str, Any]:
        lines = run.logs(request.node)
        start = max(request.after, len(lines) - _MOST_LINES, 0)
        kept = [{"stream": line.stream, "text": line.text[:10_000]} for line in lines[start:]]
        return {"lines": kept, "next": len(lines)}

    def _timeline(self, run: Run) -> dict[str, Any]:
        bars, is_joined = run.timeline()
        started_at, ended_at = run.started_at, run.ended_at
        ends = [bar.ended_at for bar in bars if bar.ended_at is not None]
        last = ended_at if ended_at is not None else max([started_at, *ends, *(bar.started_at for bar in bars)])
        return {
            "from": min([started_at, *(bar.submitted_at for bar in bars)]),
            "to": max(last, started_at),
            "bars": [_camel(asdict(bar)) for bar in bars],
            "isJoined": is_joined,
        }

    # -- before a run --

    def _validate(self, graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            wrong = graph.wrong_inputs(inputs)
        except UsageError as error:
            return {"fields": {}, "problems": [str(error)]}
        fields = {name: "Give a value." if problem == MISSING else problem for name, problem in wrong.items()}
        return {"fields": fields, "problems": []}

    def _plan(self, graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
        forecast = graph.plan(inputs)
        seconds = forecast.seconds
        return {
            "nodes": {
                name: {
                    "replayed": node.replayed,
                    "toCompute": node.to_compute,
                    "isOpen": node.is_open,
                    "seconds": node.seconds,
                }
                for name, node in forecast.nodes.items()
            },
            "seconds": seconds,
            "wallSeconds": None if seconds is None else seconds / _workers(),
        }

    # -- the sidebar --

    def _latest(self, limit: int) -> list[RunSummary]:
        """Return the store's newest runs; runs that are over are read once."""
        found: list[RunSummary] = []
        for run_id in run_ids(session.current().store())[:limit]:
            summary = self._summaries.get(run_id)
            if summary is None:
                try:
                    summary = self.run(run_id).summary()
                except TensorlakeError:  # its record is damaged: Run.list leaves it out, too
                    continue
                if summary.status in ("succeeded", "failed", "cancelled"):
                    self._summaries[run_id] = summary
            found.append(summary)
        return found

    def follow_again(self, run: Run) -> None:
        """Follow a run again that was over and has been resumed."""
        self._summaries.pop(run.id, None)

    def _summary_wire(self, summary: RunSummary) -> dict[str, Any]:
        return {
            **_camel(asdict(summary)),
            "short": short_id(summary.id),
            "inputs": summary.inputs[:400],
            "error": None if summary.error is None else summary.error[:1000],
        }

    def _graph_summary(self, key: str, graph: Graph) -> dict[str, Any]:
        state = state_of_graph(graph, key)
        last = next((summary for summary in self._latest(50) if summary.graph == graph.name), None)
        stale = [name for name, node in state.nodes.items() if node.state == "stale"]
        if last is None:
            word = "new"
        elif last.status == "running":
            word = "running"
        elif stale:
            word = "stale"
        else:
            word = "fresh" if last.status == "succeeded" and not last.failed else "failed"
        return {
            "key": key,
            "name": graph.name,
            "functions": list(graph.nodes),
            "state": word,
            "stale": stale,
            "lastRun": None if last is None else last.id,
            "problems": list(state.graph.problems),
        }

    def _compare(self, left: Run, right: Run) -> dict[str, Any]:
        found = left.compare(right)
        return {
            "left": self._summary_wire(found.left),
            "right": self._summary_wire(found.right),
            "inputs": [asdict(each) for each in found.inputs],
            "nodes": [
                {
                    "node": each.node,
                    "changes": [{"what": str(change), "diff": change.diff[:20_000]} for change in each.changes],
                    "left": each.left and asdict(each.left),
                    "right": each.right and asdict(each.right),
                }
                for each in found.nodes
            ],
        }


def _workers() -> int:
    """Return the embedded cluster's number of workers; another cluster's isn't known before a connection."""
    return session.current().settings.workers or os.cpu_count() or 1


def _opened(run: Run) -> str:
    return f'Run.open("{short_id(run.id)}")'


def _other_version(theirs: object) -> str:
    older = isinstance(theirs, int) and theirs < ms.VERSION
    where = "where Jupyter runs, and reload the page" if older else "in the kernel, and restart the kernel"
    return f"The page and the kernel have different versions of tensorlake_nb: upgrade it {where}."


def _camel(plain: Any) -> Any:
    """Names of dataclasses as they are on the wire."""
    if isinstance(plain, dict):
        return {to_camel(name): _camel(value) for name, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_camel(value) for value in plain]
    return plain


def user_frames(text: str) -> str:
    """Return a traceback without the frames of installed packages, if any others are left."""
    kept: list[str] = []
    is_kept = True
    n_frames = 0
    for line in text.splitlines():
        frame = _FRAME.match(line)
        if frame:
            is_kept = "site-packages" not in frame["file"] and "/lib/python" not in frame["file"]
            n_frames += is_kept
        elif not line.startswith("    ") and not line.startswith("  "):
            is_kept = True
        if is_kept:
            kept.append(line)
    return "\n".join(kept) if n_frames else text
