"""pipefunc: a map and a sum over its outputs, kept in a run folder by file_array, and a chain of steps.

    python pipefunc_map.py [--elements 2000]

Prints one line of JSON. The map is run in this process, and again by two other processes, which are started before
anything is timed. It is replayed, with resume, in a new process: the script starts itself again with --replay FOLDER.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from pipefunc import PipeFunc, Pipeline
from pipefunc.typing import Array

STEPS = 100
CALLS = 0
"""How often the mapped function was truly called in this process."""


def double(x: int) -> int:
    global CALLS
    CALLS += 1
    return 2 * x


def add(doubled: Array[int]) -> int:
    return sum(int(x) for x in doubled)


def step(x: int) -> int:
    return x + 1


def time_map(folder: str, elements: int, *, executor: Executor | None = None, resume: bool = False) -> float:
    """The seconds the map and the sum of its outputs take."""
    pipeline = Pipeline(
        [PipeFunc(double, output_name="doubled", mapspec="x[i] -> doubled[i]"), PipeFunc(add, output_name="total")]
    )
    began = time.perf_counter()
    results = pipeline.map(
        {"x": list(range(elements))},
        run_folder=folder,
        storage="file_array",
        parallel=executor is not None,
        executor=executor,
        resume=resume,
        show_progress=False,
    )
    took = time.perf_counter() - began
    assert results["total"].output == elements * (elements - 1)
    return took


def time_chain(folder: str) -> float:
    """The seconds a pipeline takes whose steps each take the output of the one before."""
    pipeline = Pipeline(
        [PipeFunc(step, output_name=f"x{number + 1}", renames={"x": f"x{number}"}) for number in range(STEPS)]
    )
    began = time.perf_counter()
    results = pipeline.map(
        {"x0": 0}, run_folder=folder, storage="file_array", parallel=False, resume=False, show_progress=False
    )
    took = time.perf_counter() - began
    assert results[f"x{STEPS}"].output == STEPS
    return took


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
        seconds = time_map(options.replay, options.elements, resume=True)
        print(json.dumps({"seconds": seconds, "calls": CALLS}))
        return
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2) as executor:
        list(executor.map(time.sleep, [0.1, 0.1]))  # both processes start
        one, two, chain = (str(Path(folder, name)) for name in ("one", "two", "chain"))
        map_s = time_map(one, options.elements)
        assert options.elements == CALLS
        parallel_s = time_map(two, options.elements, executor=executor)
        assert options.elements == CALLS  # the others called it
        replay_s = replay(one, options.elements)
        chain_s = time_chain(chain)
    figures = {
        "peer": "pipefunc_map",
        "version": version("pipefunc"),
        "elements": options.elements,
        "map_items_per_s": round(options.elements / map_s, 1),
        "map_two_processes_items_per_s": round(options.elements / parallel_s, 1),
        "replay_items_per_s": round(options.elements / replay_s, 1),
        "chain_ms_per_step": round(1000 * chain_s / STEPS, 3),
        "note": "files are written in place, without rename or fsync; a replay needs the same folder and equal inputs",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
