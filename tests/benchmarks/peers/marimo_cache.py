"""marimo's persistent cache: the elements of a map and the steps of a chain, each kept by a cached function.

    python marimo_cache.py [--elements 2000]

Prints one line of JSON. The file is itself a marimo notebook, run as a script: mo.persistent_cache
raises in a plain script, and wants what it decorates in a cell (or at the top of an imported module).
The map is replayed in a new process: the script starts itself again with --replay FOLDER.
"""

# mypy: disable-error-code="import-not-found, untyped-decorator, misc"

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from typing import Any

import marimo

STEPS = 100

app = marimo.App()


@app.cell
def settings() -> Any:
    folder = ""  # these three are given when the notebook is run
    elements = 0
    steps = 0
    return elements, folder, steps


@app.cell
def library() -> Any:
    from time import perf_counter

    import marimo as mo

    return mo, perf_counter


@app.cell
def functions(folder: Any, mo: Any) -> Any:
    @mo.persistent_cache(save_path=folder)
    def double(x: int) -> int:
        return 2 * x

    @mo.persistent_cache(save_path=folder)
    def step(x: int) -> int:
        return x + 1

    return double, step


@app.cell
def mapped(double: Any, elements: Any, perf_counter: Any) -> Any:
    _began = perf_counter()
    total = sum([double(_x) for _x in range(elements)])
    map_s = perf_counter() - _began
    map_calls = double.misses
    return map_calls, map_s, total


@app.cell
def chained(perf_counter: Any, step: Any, steps: Any) -> Any:
    _began = perf_counter()
    end = 0
    for _ in range(steps):
        end = step(end)
    chain_s = perf_counter() - _began
    return chain_s, end


def run(folder: str, elements: int) -> dict[str, Any]:
    """Run the notebook on the elements, keep the outputs in the folder, check the results, return its variables."""
    _, found = app.run(defs={"folder": folder, "elements": elements, "steps": STEPS})
    assert found["total"] == elements * (elements - 1)
    assert found["end"] == STEPS
    return dict(found)


def replay(folder: str, elements: int) -> float:
    """The seconds the map takes in a new process, which finds all outputs kept."""
    command = [sys.executable, __file__, "--replay", folder, "--elements", str(elements)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert answer["calls"] == 0
    return float(answer["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=2000)
    parser.add_argument("--replay", metavar="FOLDER")
    options = parser.parse_args()
    if options.replay:
        found = run(options.replay, options.elements)
        print(json.dumps({"seconds": found["map_s"], "calls": found["map_calls"]}))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = run(folder, options.elements)
        assert found["map_calls"] == options.elements
        replay_s = replay(folder, options.elements)
    figures = {
        "peer": "marimo_cache",
        "version": version("marimo"),
        "elements": options.elements,
        "map_items_per_s": round(options.elements / found["map_s"], 1),
        "replay_items_per_s": round(options.elements / replay_s, 1),
        "chain_ms_per_step": round(1000 * found["chain_s"] / STEPS, 3),
        "note": "one process; files are renamed into place, without fsync; not in a plain script",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
