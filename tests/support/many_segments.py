"""A store of many segments, by name alone: what a collection plans and removes without reading one of them.

    python -m tests.support.many_segments DIRECTORY 100000

Writes such a store, collects in it, and says how long that took and how much memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from tensorlake_nb.core.keys import Digest
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.collecting.removal import Collection
from tensorlake_nb.store.collecting.retention import Retention
from tensorlake_nb.store.filesystems.protocol import Filesystem
from tensorlake_nb.store.format.paths import segment_path, stream_path
from tensorlake_nb.store.format.sealing import seal
from tests.support.stores import local_store, some_digest

PER_RUN = 1000


def run_id(number: int) -> str:
    return f"20250101-{number // 3600:02d}{number // 60 % 60:02d}{number % 60:02d}-{number % 2**24:06x}"


def segments_of(number: int, size: int = PER_RUN, fingerprint: str = "") -> Iterator[str]:
    """Names of the segments of one run, all of them old."""
    of, made = fingerprint or function_of(number, 1), 1_700_000_000_000_000 + number
    for batch in range(size):
        yield f"{of}/{run_id(number)}-work-{batch}~{made:014x}{batch:08x}"


def function_of(number: int, functions: int) -> str:
    """Which of some functions a run calls."""
    return some_digest(number % functions).hex()


def write(files: Filesystem, runs: int, size: int = PER_RUN, functions: int = 1, *, has_objects: bool = True) -> None:
    """Write runs of so many segments each, with their logs and streams."""
    for number in range(runs):
        fingerprint = function_of(number, functions)
        base, names = f"runs/{run_id(number)}", list(segments_of(number, size, fingerprint))
        for name in names if has_objects else ():
            files.put(f"{segment_path(name)}/c.0", b"value")
            files.put(f"{segment_path(name)}/zarr.json", b"record")
        calls = {"work": {"fingerprint": fingerprint}}
        header = {"graph": "many", "calls": calls, "owner": {}}
        event = {"type": "batch_ended", "spans": [{"segment": name, "start": 0, "stop": 1} for name in names]}
        end = {"type": "run_ended", "at": 1_700_000_000.0 + number}
        lines = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in (event, end))
        for path, text in ((f"{base}/header", json.dumps(header)), (f"{base}/events/00000001", lines)):
            files.put(path, seal(path, text.encode()))
        stream = stream_path(fingerprint, Digest(some_digest(number)))
        record = {"kind": "stream", "segments": names, "run": run_id(number)}
        files.put(stream, seal(stream, json.dumps(record).encode()))


def planned(store: Store, keep_runs: int) -> tuple[Collection, int]:
    """A collection that is planned, and the most memory that it took at once (bytes)."""
    tracemalloc.start()
    try:
        collection = Collection(store, Retention(keep_runs=keep_runs, grace_s=0), lambda run: False)
        return collection, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main(directory: str, segments: int) -> None:
    store = local_store(Path(directory))
    began = time.perf_counter()
    write(store.filesystem, segments // PER_RUN)
    print(f"written in {time.perf_counter() - began:.1f} s", flush=True)
    began = time.perf_counter()
    collection = Collection(store, Retention(keep_runs=segments // PER_RUN // 2, grace_s=0), lambda run: False)
    print(f"planned in {time.perf_counter() - began:.1f} s", flush=True)
    began = time.perf_counter()
    collection.remove()
    print(f"removed in {time.perf_counter() - began:.1f} s", flush=True)
    for kind, tally in sorted(collection.tallies.items()):
        print(kind, tally)
    print(f"most memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
    _, most_bytes = planned(store, keep_runs=1)
    print(f"planning what is left, traced: {most_bytes / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
