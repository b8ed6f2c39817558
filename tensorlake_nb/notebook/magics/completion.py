"""Tab completion after ``%tensorlake`` and ``%%tensorlake``."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from tensorlake_nb.notebook.magics.options import VERBS, flags_of

#: How many runs of the store are offered.
MOST_RUNS = 50


def complete(shell: Any, event: Any) -> list[str]:
    """Answer IPython's completion hook: verbs, then graphs, functions, runs, inputs and options."""
    words = event.text_until_cursor.split()
    if not event.text_until_cursor.endswith(" "):
        words = words[:-1]
    if words[:1] == ["%%tensorlake"]:
        offered = _for_cell(words[1:], shell.user_ns)
    elif words[:1] == ["%tensorlake"]:
        offered = _for_line(words[1:], shell.user_ns)
    else:
        return []
    return [choice for choice in offered if choice.startswith(event.symbol)]


def _for_cell(words: list[str], namespace: dict[str, Any]) -> list[str]:
    flags = flags_of(None)
    if not words:
        return [*_graphs(namespace), *flags]
    if words[-1] == "--cluster":
        return ["embedded", "threads"]
    last_flag = next((word for word in reversed(words) if word.startswith("--")), None)
    inputs = _inputs(words[0], namespace) if last_flag in ("--run", "--start") else []
    return [*inputs, *flags]


def _for_line(words: list[str], namespace: dict[str, Any]) -> list[str]:
    match words:
        case []:
            return [*VERBS, "--help"]
        case ["run" | "start" | "plan" | "verify"]:
            return _graphs(namespace)
        case ["run" | "start" | "plan" | "verify" as verb, graph, *_]:
            return [*_inputs(graph, namespace), *(flag for flag in flags_of(verb) if flag != "--help")]
        case ["show" | "why"]:
            return [*_graphs(namespace), *_runs()]
        case ["resume"]:
            return _runs()
        case ["why", subject]:
            return _functions(subject, namespace)
        case ["runs"]:
            return [*_graphs(namespace), *flags_of("runs")]
        case ["cluster"]:
            return ["embedded", "threads"]
        case [verb, *_]:
            return flags_of(verb)
    return []


def _graphs(namespace: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(graph.name for graph in _workspace().graphs_in(namespace).values()))


def _inputs(name: str, namespace: dict[str, Any]) -> list[str]:
    """``parameter=`` of the start function of a graph."""
    for graph in _workspace().graphs_in(namespace).values():
        if graph.name == name:
            return [f"{parameter}=" for parameter in _workspace().inputs_of(graph)]
    return []


def _functions(subject: str, namespace: dict[str, Any]) -> list[str]:
    graphs: Iterable[Any] = _workspace().graphs_in(namespace).values()
    of_subject = [graph for graph in graphs if graph.name == subject] or graphs
    return list(dict.fromkeys(name for graph in of_subject for name in graph.nodes))


def _runs() -> list[str]:
    return [str(run_id) for run_id in import_module("tensorlake_nb.notebook.terminal.reports").run_ids(MOST_RUNS)]


def _workspace() -> Any:
    return import_module("tensorlake_nb.notebook.namespace.find")
