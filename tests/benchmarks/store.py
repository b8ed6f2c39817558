"""What the store costs on this machine's disk; run by hand.

python -m tests.benchmarks.store [DIRECTORY]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.store.checkpoints.opening import open_filesystem, open_store
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.codec import encode
from tensorlake_nb.store.format.outcomes import Entry

FINGERPRINT = "ab" * 32


def say(what: str, value: float, unit: str) -> None:
    print(f"{what:<58}{value:>12.3f} {unit}")


def median_ms(do: Callable[[int], Any], times: int) -> float:
    taken = []
    for number in range(times):
        start = perf_counter()
        do(number)
        taken.append(perf_counter() - start)
    return statistics.median(taken) * 1e3


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    start = perf_counter()
    ended = [0.0]
    yield lambda: ended[0] - start
    ended[0] = perf_counter()


def keys(count: int) -> list[TaskKey]:
    return [TaskKey(os.urandom(32)) for _ in range(count)]


def again(store: Store) -> Store:
    return Store(open_filesystem(store.url), trusted=True)


def small_commits(store: Store, count: int = 300) -> None:
    """One task, one small dict, from making a writer to having no spool: encoding and digest included."""
    places: list[Span] = []
    names = keys(count)

    def commit(number: int) -> None:
        value = {"number": number, "name": "x" * 20, "score": 1.5}
        writer = store.writer(FINGERPRINT, f"single-{number}")
        writer.begin(names[number])
        writer.add(Entry(names[number], BARE, (encode(value, digest=digest(value)),)))
        writer.close()
        places.extend(writer.locate(names[number]).outputs.spans)

    say("small checkpoint: begin, add, flush, close (median)", median_ms(commit, count), "ms")
    fresh = [again(store) for _ in range(count)]
    say(
        "small value read back, nothing in memory (median)",
        median_ms(lambda n: fresh[n].read([places[n]]), count),
        "ms",
    )


def spool(store: Store, count: int = 20_000) -> None:
    stored = encode({"a": 1}, digest=digest({"a": 1}))
    writer, names = store.writer(FINGERPRINT, "many"), keys(count)
    with timed() as taken:
        for name in names:
            writer.begin(name)
            writer.add(Entry(name, BARE, (stored,)))
    say("begin and add through the spool", count / taken() / 1e3, "thousand/s")
    with timed() as taken:
        writer.flush()
    say(f"flush {count} tasks", taken() * 1e3, "ms")
    (span,) = writer.locate(names[0]).outputs.spans
    reader = again(store)
    with timed() as taken:
        reader.read([Span(span.segment, 0, count)])
    say(f"read {count} small values of one segment", count / taken() / 1e3, "thousand/s")


def index(store: Store, segments: int = 1000, tasks: int = 100) -> None:
    fingerprint = "cd" * 32
    stored = encode({"a": 1}, digest=digest({"a": 1}))
    names = keys(segments * tasks)
    for segment in range(segments):
        writer = store.writer(fingerprint, f"batch-{segment}")
        for name in names[segment * tasks : (segment + 1) * tasks]:
            writer.add(Entry(name, BARE, (stored,)))
        writer.close()
    reader = again(store)
    with timed() as taken:
        found = reader.index(fingerprint)
    say(f"index of {segments} segments of {tasks} tasks", taken() * 1e3, "ms")
    wanted = b"".join(names)
    with timed() as taken:
        assert (found.find(wanted) >= 0).all()
    say(f"find {len(names)} keys", len(names) / taken() / 1e3, "thousand/s")


def arrays(store: Store, directory: Path, count: int = 8, mebibytes: int = 16) -> None:
    """Interleaved with np.save and fsync of the same arrays."""
    random = np.random.default_rng(1)
    for kind in ("random", "compressible"):
        ours = theirs = 0.0
        spans: list[Span] = []
        for number in range(count):
            array = random.random(mebibytes * 2**17) if kind == "random" else np.arange(mebibytes * 2**17) // 1000
            with timed() as taken, open(directory / f"{kind}-{number}.npy", "wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
            theirs += taken()
            with timed() as taken:
                writer = store.writer(FINGERPRINT, f"{kind}-{number}")
                (name,) = keys(1)
                writer.add(Entry(name, BARE, (encode(array, digest=digest(array)),)))
                writer.close()
            ours += taken()
            spans += writer.locate(name).outputs.spans
        say(f"{count} {kind} arrays of {mebibytes} MiB against np.save + fsync", theirs / ours, "x")
        reader = again(store)
        with timed() as taken:
            for span in spans:
                reader.read([span])
        say(f"the same read warm, one by one ({kind})", count * mebibytes / 1024 / taken(), "GiB/s")


def run_log(store: Store) -> None:
    log = RunLog(store, "20260101-000000-abcdef")
    events = [{"kind": "TaskEnded", "node": "parse", "number": number} for number in range(10)]
    say("append ten events to a run's log (median)", median_ms(lambda _: log.append(events), 300), "ms")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        store = open_store(f"{directory}/store", trusted=True)
        small_commits(store)
        spool(store)
        index(store)
        arrays(store, Path(directory))
        run_log(store)


if __name__ == "__main__":
    main()
