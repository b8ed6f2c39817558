"""zarr alone: random arrays written to a local folder, in turn with np.save and fsync, and read again.

    python plain_zarr.py [--arrays 8] [--mebibytes 16]

Prints one line of JSON. Every array is written twice: as zarr does by default, and as one chunk without compression.
zarr does not fsync, so its time is given as it comes and with an fsync of each of its files after the write; the ratios
are numpy's time by zarr's, so that more is better for zarr. The arrays are read warm, from the system's cache.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
import zarr

WAYS: dict[str, dict[str, Any]] = {"default": {}, "one_chunk": {"compressors": None}}
"""The options of zarr.create_array that are compared; the one chunk is as large as the array."""


def save(path: Path, array: Any) -> float:
    """The seconds numpy takes to write an array so that it is on the disk."""
    began = time.perf_counter()
    with path.open("wb") as file:
        numpy.save(file, array)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began


def create(path: Path, array: Any, way: str) -> float:
    """The seconds zarr takes to write an array, in one of the ways."""
    options = dict(WAYS[way])
    if way == "one_chunk":
        options["chunks"] = array.shape
    began = time.perf_counter()
    zarr.create_array(str(path), data=array, **options)
    return time.perf_counter() - began


def sync(folder: Path) -> float:
    """The seconds an fsync of every file in the folder takes."""
    began = time.perf_counter()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    return time.perf_counter() - began


def read(path: Path, expected: float) -> float:
    """The seconds zarr takes to read an array that was read before."""
    assert float(numpy.sum(zarr.open_array(str(path), mode="r")[:])) == expected
    began = time.perf_counter()
    zarr.open_array(str(path), mode="r")[:]
    return time.perf_counter() - began


def measure(folder: Path, arrays: int, mebibytes: int) -> dict[str, float]:
    """Write and read the arrays, and return the figures."""
    random = numpy.random.default_rng(0)
    create(folder / "warm", random.random(1000), "default")
    numpy_s = 0.0
    write_s, sync_s, read_s = (dict.fromkeys(WAYS, 0.0) for _ in range(3))
    for number in range(arrays):
        array = random.random(mebibytes * 2**20 // 8)
        expected = float(numpy.sum(array))
        numpy_s += save(folder / f"{number}.npy", array)
        for way in WAYS:
            path = folder / f"{number}.{way}"
            write_s[way] += create(path, array, way)
            sync_s[way] += sync(path)
            read_s[way] += read(path, expected)
    figures = {"numpy_fsync_s": round(numpy_s, 3)}
    for way in WAYS:
        figures |= {
            f"{way}_s": round(write_s[way], 3),
            f"{way}_then_fsync_s": round(write_s[way] + sync_s[way], 3),
            f"{way}_numpy_by_peer": round(numpy_s / write_s[way], 2),
            f"{way}_numpy_by_peer_then_fsync": round(numpy_s / (write_s[way] + sync_s[way]), 2),
            f"{way}_read_gib_per_s": round(arrays * mebibytes / 1024 / read_s[way], 2),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=2000, help="as the other peers take it; not used here")
    parser.add_argument("--arrays", type=int, default=8)
    parser.add_argument("--mebibytes", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.arrays, options.mebibytes)
    named = {
        "peer": "plain_zarr",
        "version": version("zarr"),
        "arrays": options.arrays,
        "mebibytes": options.mebibytes,
        **figures,
        "note": "files are renamed into place, without fsync",
    }
    print(json.dumps(named))


if __name__ == "__main__":
    main()
