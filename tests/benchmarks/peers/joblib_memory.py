"""joblib.Memory: the elements of a map, the steps of a chain and some arrays, each kept by a cached function.

    python joblib_memory.py [--elements 2000] [--arrays 8] [--mebibytes 16]

Prints one line of JSON. The map is replayed in a new process: the script starts itself again with --replay FOLDER.
The arrays take turns with np.save and fsync. joblib does not fsync, so its time is given as it comes and with an fsync
of each of its files after the write; the ratios are numpy's time by joblib's, so that more is better for joblib.
"""

# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import argparse
import functools
import json
import operator
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
from joblib import Memory

STEPS = 100
CALLS = 0
"""How often the functions were truly called in this process."""


def double(x: int) -> int:
    global CALLS
    CALLS += 1
    return 2 * x


def step(x: int) -> int:
    return x + 1


def keep(number: int, array: Any) -> Any:
    return array


def time_map(memory: Memory, elements: int) -> float:
    """The seconds the cached map and a fold of its outputs take."""
    cached = memory.cache(double)
    began = time.perf_counter()
    total = functools.reduce(operator.add, [cached(x) for x in range(elements)], 0)
    took = time.perf_counter() - began
    assert total == elements * (elements - 1)
    return took


def time_chain(memory: Memory) -> float:
    """The seconds a chain of cached steps takes."""
    cached = memory.cache(step)
    began = time.perf_counter()
    end = 0
    for _ in range(STEPS):
        end = cached(end)
    took = time.perf_counter() - began
    assert end == STEPS
    return took


def save(path: Path, array: Any) -> float:
    """The seconds numpy takes to write an array so that it is on the disk."""
    began = time.perf_counter()
    with path.open("wb") as file:
        numpy.save(file, array)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began


def sync(folder: Path, known: set[Path]) -> float:
    """The seconds an fsync of every file in the folder that is not known yet takes."""
    began = time.perf_counter()
    for path in folder.rglob("*"):
        if path.is_file() and path not in known:
            known.add(path)
            with path.open("rb") as file:
                os.fsync(file.fileno())
    return time.perf_counter() - began


def time_arrays(folder: Path, arrays: int, mebibytes: int) -> dict[str, float]:
    """What it takes to keep random arrays, by numpy and by joblib in turn."""
    random = numpy.random.default_rng(0)
    memory = Memory(folder / "memory", verbose=0)
    cached = memory.cache(keep, ignore=["array"])  # the array is an output here: it is not to be hashed as an input
    numpy_s = joblib_s = sync_s = 0.0
    known: set[Path] = set()
    for number in range(arrays):
        array = random.random(mebibytes * 2**20 // 8)
        numpy_s += save(folder / f"{number}.npy", array)
        began = time.perf_counter()
        cached(number, array)
        joblib_s += time.perf_counter() - began
        sync_s += sync(folder / "memory", known)
        assert cached.check_call_in_cache(number, array)
        assert numpy.array_equal(cached(number, None), array)
    return {
        "numpy_fsync_s": round(numpy_s, 3),
        "arrays_s": round(joblib_s, 3),
        "arrays_then_fsync_s": round(joblib_s + sync_s, 3),
        "numpy_by_peer": round(numpy_s / joblib_s, 2),
        "numpy_by_peer_then_fsync": round(numpy_s / (joblib_s + sync_s), 2),
    }


def replay(folder: str, elements: int) -> float:
    """The seconds the map takes in a new process, which finds all outputs kept."""
    command = [sys.executable, __file__, "--replay", folder, "--elements", str(elements)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert answer["calls"] == 0
    return float(answer["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=2000)
    parser.add_argument("--arrays", type=int, default=8)
    parser.add_argument("--mebibytes", type=int, default=16)
    parser.add_argument("--replay", metavar="FOLDER")
    options = parser.parse_args()
    if options.replay:
        seconds = time_map(Memory(options.replay, verbose=0), options.elements)
        print(json.dumps({"seconds": seconds, "calls": CALLS}))
        return
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        memory = Memory(folder, verbose=0)
        map_s = time_map(memory, options.elements)
        assert options.elements == CALLS
        replay_s = replay(folder, options.elements)
        chain_s = time_chain(memory)
        arrays = time_arrays(Path(other), options.arrays, options.mebibytes)
    figures = {
        "peer": "joblib_memory",
        "version": version("joblib"),
        "elements": options.elements,
        "map_items_per_s": round(options.elements / map_s, 1),
        "replay_items_per_s": round(options.elements / replay_s, 1),
        "chain_ms_per_step": round(1000 * chain_s / STEPS, 3),
        "arrays": options.arrays,
        "mebibytes": options.mebibytes,
        **arrays,
        "note": "one process; files are renamed into place, without fsync",
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
