"""Pairs run for real: before in one process and after in another, on one store.

``python -m tests.edits.runs FOLDER which`` is such a process: it runs the programs that lie in ``FOLDER``, each as a
graph of its own, and writes what each gave.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.edits.programs import Program
from tests.edits.trial import INPUTS, Pair, UnusableError, loaded, observed

_NODE = """\
from tensorlake_nb import tensorlake_function
@tensorlake_function()
def given(v: int) -> int:
    return v
@tensorlake_function()
def node(v: int):
    return f(v)
"""


def compared(pairs: Sequence[Pair], cluster: str = "threads") -> list[tuple[Pair, str]]:
    """The pairs of which a run on the store of the one before gives what plain Python doesn't, or computes in vain."""
    with tempfile.TemporaryDirectory(prefix="edits-") as folder:
        return _compared(pairs, Path(folder), cluster)


def _compared(pairs: Sequence[Pair], folder: Path, cluster: str) -> list[tuple[Pair, str]]:
    usable = [(pair, outcomes) for pair in pairs if (outcomes := _outcomes(pair)) is not None]
    for which in ("before", "after"):
        programs = [asdict(getattr(pair, which)) for pair, _ in usable]
        (folder / f"{which}.json").write_text(json.dumps(programs))
    first, second = (_made(folder, which, "store", cluster) for which in ("before", "after"))
    wrong = []
    for at, (pair, (given, gives)) in enumerate(usable):
        if first[at]["values"] != given:
            wrong.append((pair, f"differs from plain Python: {first[at]} instead of {given}"))
        elif second[at]["values"] != gives:
            wrong.append((pair, f"stale: {second[at]} instead of {gives}"))
        elif pair.neutral and second[at]["computed"]:
            wrong.append((pair, f"missed: {second[at]}"))
    return wrong


def _outcomes(pair: Pair) -> tuple[list[str], list[str]] | None:
    """What plain Python gives, where both programs run and are replayed; exceptions are no outputs."""
    try:
        (_, given, _), (print_of_now, gives, _) = observed(pair.before), observed(pair.after)
    except UnusableError:
        return None
    fails = any(not one.startswith("[") for one in (*given, *gives))
    return None if fails or print_of_now.unkeyed else (given, gives)


def _made(folder: Path, which: str, store: str, cluster: str) -> list[dict[str, Any]]:
    environment = {**os.environ, "TENSORLAKE_NB_PANEL": "off", "PYTHONHASHSEED": str(1 + (which == "after"))}
    command = [sys.executable, "-W", "ignore", "-m", "tests.edits.runs", str(folder), which, store, cluster]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    results: list[dict[str, Any]] = json.loads((folder / f"{which}.results.json").read_text())
    return results


def _main(folder: Path, which: str, store: str, cluster: str) -> None:
    from tensorlake_nb import Graph, configure

    configure(store=str(folder / store), cluster=cluster, workers=1)
    results = []
    for number, program in enumerate(json.loads((folder / f"{which}.json").read_text())):
        cells = (*program["cells"], _NODE)
        project = folder / f"project{number}"
        project.mkdir(exist_ok=True)
        for old in sorted(project.rglob("*"), reverse=True):
            old.rmdir() if old.is_dir() else old.unlink()
        try:
            with loaded(Program(cells, program["files"]), project) as module:
                graph = Graph("edits", start_node=module.given).add_edge(module.given, module.node)
                values, computed = [], 0
                for given in INPUTS:
                    run = graph.run(v=given)
                    values.append(repr([*run.output(module.node)]))
                    computed += run.counts(module.node)["computed"]
            results.append({"values": values, "computed": computed})
        except Exception as error:
            results.append({"values": f"{type(error).__name__}: {error}", "computed": 0})
    (folder / f"{which}.results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *sys.argv[2:])
