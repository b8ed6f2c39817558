"""The table of ``docs/benchmarks.md``: each figure beside the raw thing, taken in turn in the same process.

    python -m tests.benchmarks [--toy] [--full] [--json FILE] [--peers FOLDER] [--only NAME ...]

``--toy`` runs everything once and small, to see that it works. ``--full`` adds a million elements. ``--peers`` makes an
environment for each other tool in a folder and runs its script of `tests.benchmarks.peers` there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import Client, LocalCluster

from tensorlake_nb import configure
from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.cluster.session import current
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.codecs.codec import encode
from tensorlake_nb.store.format.outcomes import Entry
from tests.benchmarks import workloads
from tests.benchmarks.peers import PEERS

_FINGERPRINT = "ab" * 32


@dataclass(frozen=True)
class Scale:
    """How much of everything: for figures, or only to see that it runs."""

    rounds: int = 3
    elements: int = 10_000
    few: int = 1_000
    many: int = 100_000
    slow: int = 64
    mixed: int = 300
    waiting: int = 1_000
    steps: int = 100
    arrays: int = 8
    mebibytes: int = 16
    folded: tuple[int, ...] = (1_000, 4_000, 20_000, 100_000)


TOY = Scale(1, 200, 50, 400, 4, 10, 20, 5, 2, 1, (50, 200))
Row = dict[str, Any]


def tiny(scale: Scale) -> Iterator[Row]:
    """A map of tiny elements, each durable, then a fold; beside Client.map on a LocalCluster as Dask comes."""
    graph = workloads.map_and_fold()
    graph.run(n=2, round=0)  # the cluster starts, and the functions arrive
    with _plain_cluster() as client:
        for n in (scale.few, scale.elements):
            ours, theirs = [], []
            for number in range(1, scale.rounds + 1):
                ours.append(n / _timed(graph.run, n=n, round=number))
                theirs.append(n / _timed(_mapped, client, n))
            yield _row(f"map of {n:,} tiny elements, then a fold", "items/s", ours, theirs)
        unheld: Any = current().connection().client  # our own cluster: its scheduler hands all tasks out at once
        raw = [scale.elements / _timed(_mapped, unheld, scale.elements) for _ in range(scale.rounds)]
        yield _row("the same, beside Client.map with worker-saturation=inf", "items/s", ours, raw)
        submit = [_timed(_submitted, client, scale.steps) / scale.steps for _ in range(scale.rounds)]
    steps = workloads.chain(scale.steps)
    steps.run(x=-1)
    ours = [_timed(steps.run, x=r) / scale.steps for r in range(scale.rounds)]
    yield _row(f"chain of {scale.steps} no-op steps", "ms a step", _ms(ours), _ms(submit), less_is_more=True)


def replay(scale: Scale) -> Iterator[Row]:
    """What was computed is looked up in a new process; and one element more than before."""
    graph = workloads.map_and_fold()
    graph.run(n=scale.many, round=99)
    found = [_replayed_in_a_new_process(scale.many, 99) for _ in range(scale.rounds)]
    yield _row(f"replay of {scale.many:,} elements, new process", "s", [one["seconds"] for one in found])
    assert not any(one["cluster"] for one in found), "a replay starts no cluster"
    growing = workloads.growing()
    growing.run(n=scale.many)
    took = []
    for number in range(1, scale.rounds + 1):
        took.append(_timed(growing.run, n=scale.many + number))
    yield _row(f"one element added to {scale.many:,}", "s", took)


def slow(scale: Scale) -> Iterator[Row]:
    """Elements that take their time: how much of the ideal is reached on two workers."""
    graph = workloads.mapped(workloads.busy)
    graph.run(n=2, round=0)
    shares = []
    for number in range(1, scale.rounds + 1):
        began = time.perf_counter()
        run = graph.run(n=scale.slow, round=number)
        took = time.perf_counter() - began
        shares.append(run.means_s["busy"] * scale.slow / 2 / took)
    yield _row(f"{scale.slow} elements of 50 ms CPU on 2 workers", "of the work's own time", shares)
    graph = workloads.mapped(workloads.uneven)
    ideal = sum(2.0 if i % 50 == 7 else 0.005 for i in range(scale.mixed)) / 2
    yield _row(
        f"{scale.mixed} elements of 5 ms and 2 s, mixed",
        "of ideal",
        [ideal / _timed(graph.run, n=scale.mixed, round=100)],
    )
    graph = workloads.mapped(workloads.fetched)
    graph.run(n=2, round=0)
    waited = [_timed(graph.run, n=scale.waiting, round=r) for r in range(1, scale.rounds + 1)]
    yield _row(f"{scale.waiting:,} async elements that wait 100 ms, max_concurrency=100", "s", waited)


def arrays(scale: Scale) -> Iterator[Row]:
    """Large arrays through the store, digests included, beside np.save and fsync of the same ones, pair by pair."""
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store", trusted=True)
        for kind in ("random", "compressible"):
            ratios: list[float] = []
            spans: list[Span] = []
            for number in range(scale.rounds * scale.arrays):
                size = scale.mebibytes * 2**17
                array = random.random(size) if kind == "random" else np.arange(size) // 1000
                theirs = _timed(_saved, f"{folder}/saved-{kind}-{number}.npy", array)
                key = TaskKey(os.urandom(32))
                began = time.perf_counter()
                writer = store.writer(_FINGERPRINT, f"{kind}-{number}")
                writer.begin(key)
                writer.add(Entry(key, BARE, (encode(array, digest=digest(array)),)))
                writer.close()
                ratios.append(theirs / (time.perf_counter() - began))
                spans += writer.locate(key).outputs.spans
            yield _row(f"{len(spans)} {kind} arrays of {scale.mebibytes} MiB written", "x np.save + fsync", ratios)
            reader = open_store(f"{folder}/store", trusted=True)
            rates = [array.nbytes / 2**30 / _timed(reader.read, [span]) for span in spans]
            yield _row(f"the same read warm ({kind})", "GiB/s", rates)
    import_module("dask.array")  # not what is timed
    import_module("zarr")
    graph = workloads.mapped(workloads.image)
    run = graph.run(n=scale.elements, round=1)
    yield _row(f"{scale.elements:,} equal arrays opened as one", "s", [_timed(run.outputs("image").as_dask)])


def folds(scale: Scale) -> Iterator[Row]:
    """Folding into a list, the kernel and one worker in this process, beside a plain fold that pickles its result."""
    before = current().settings
    with tempfile.TemporaryDirectory() as folder:
        configure(store=folder, cluster="threads", workers=1)
        workloads.collecting(workloads.ints).run(n=2, round=0)
        for source in (workloads.ints, workloads.rows, workloads.vectors):
            graph = workloads.collecting(source)
            for n in scale.folded if source is workloads.ints else scale.folded[:-1]:
                ours, theirs, stored, pickled = [], [], [], []
                for number in range(1, scale.rounds + 1):
                    values = source(n, number)
                    workloads.mapped_alone(source).run(n=n, round=number)  # what is timed is the fold
                    size, began = _bytes_below(folder), time.process_time()
                    graph.run(n=n, round=number)
                    ours.append(time.process_time() - began)
                    stored.append((_bytes_below(folder) - size) / 2**20)
                    began = time.process_time()
                    pickled.append(len(workloads.collected_plainly(values)) / 2**20)
                    theirs.append(time.process_time() - began)
                yield _row(f"{n:,} {source.name} folded into a list", "CPU s", ours, theirs, less_is_more=True)
                yield _row(f"the same, bytes in the store ({source.name}, {n:,})", "MiB", stored, pickled)
    configure(store=before.store, cluster=before.cluster, workers=before.workers)


def _bytes_below(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def starting(scale: Scale) -> Iterator[Row]:
    """What importing costs, each time in a new process."""
    for line in ("import tensorlake_nb", "import joblib", "import distributed"):
        code = f"import time; t = time.perf_counter(); {line}; print(time.perf_counter() - t)"
        try:
            took = [float(_python("-c", code)) for _ in range(scale.rounds + 2)]
        except subprocess.CalledProcessError:
            continue  # joblib isn't needed here
        yield _row(line, "s", took)


def million(scale: Scale) -> Iterator[Row]:
    """A million durable elements, the memory that the kernel takes for them, and their replay."""
    graph = workloads.map_and_fold()
    graph.run(n=2, round=0)
    process, n = psutil.Process(), 1_000_000 if scale is not TOY else 1_000
    before = process.memory_info().rss
    yield _row(f"{n:,} tiny elements, then a fold", "items/s", [n / _timed(graph.run, n=n, round=7)])
    yield _row("memory that the kernel took for them", "MiB", [(process.memory_info().rss - before) / 2**20])
    found = [_replayed_in_a_new_process(n, 7)["seconds"] for _ in range(scale.rounds)]
    yield _row(f"replay of {n:,}, new process", "s", found)


CASES: dict[str, Callable[[Scale], Iterator[Row]]] = {
    "tiny": tiny,
    "replay": replay,
    "slow": slow,
    "arrays": arrays,
    "folds": folds,
    "starting": starting,
    "million": million,
}


def _double(x: int) -> int:
    return 2 * x


def _mapped(client: Any, n: int) -> None:
    assert sum(client.gather(client.map(_double, range(n), pure=False))) == n * (n - 1)


def _submitted(client: Any, steps: int) -> None:
    future = client.submit(_double, 1, pure=False)
    for _ in range(steps - 1):
        future = client.submit(_double, future, pure=False)
    future.result()


@contextmanager
def _plain_cluster() -> Iterator[Any]:
    connect: Any = Client
    cluster: Any = LocalCluster
    with cluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as started, connect(started) as client:
        client.gather(client.map(_double, range(10), pure=False))
        yield client


def _saved(path: str, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _replayed_in_a_new_process(n: int, round: int) -> dict[str, Any]:
    code = (
        "import json, sys, time\n"
        "from tensorlake_nb import configure\n"
        "import tensorlake_nb.engine.runs.graph\n"
        "from tensorlake_nb.engine.cluster.session import current\n"
        "from tests.benchmarks import workloads\n"
        f"configure(store={current().settings.store!r}, cluster='embedded', workers=2)\n"
        "graph, began = workloads.map_and_fold(), time.perf_counter()\n"
        f"graph.run(n={n}, round={round})\n"
        "took = time.perf_counter() - began\n"
        "print(json.dumps({'seconds': took, 'cluster': current()._connection is not None}))\n"
    )
    found: dict[str, Any] = json.loads(_python("-c", code))
    return found


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def _timed(do: Callable[..., Any], *given: Any, **named: Any) -> float:
    began = time.perf_counter()
    do(*given, **named)
    return time.perf_counter() - began


def _ms(seconds: list[float]) -> list[float]:
    return [1e3 * each for each in seconds]


def _row(
    what: str, unit: str, ours: list[float], theirs: list[float] | None = None, *, less_is_more: bool = False
) -> Row:
    row: Row = {"what": what, "unit": unit, "median": statistics.median(ours), "values": ours}
    if theirs is not None:
        ratios = [mine / raw for mine, raw in zip(ours, theirs, strict=True)]
        row |= {"raw": statistics.median(theirs), "ratio": statistics.median(ratios), "less_is_more": less_is_more}
    return row


def peers(folder: Path, elements: int) -> dict[str, Any]:
    """What each other tool says of itself, in an environment of its own."""
    found: dict[str, Any] = {}
    for name, (script, requirements) in PEERS.items():
        python = folder / name / "bin" / "python"
        try:
            if not python.exists():
                subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
                subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True)
            path = Path(__file__).parent / "peers" / script
            done = subprocess.run(
                [python, path, "--elements", str(elements)], check=True, capture_output=True, text=True, timeout=600
            )
            found[name] = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.SubprocessError, ValueError, IndexError) as error:
            found[name] = {"failed": str(error)}
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="once and small")
    parser.add_argument("--full", action="store_true", help="a million elements too")
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=None)
    parser.add_argument("--peers", type=Path, help="make environments of other tools here, and run them")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    scale = TOY if options.toy else Scale()
    chosen = options.only or [name for name in CASES if name != "million" or options.full or options.toy]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        configure(store=folder, cluster="embedded", workers=2)
        for name in chosen:
            for row in CASES[name](scale):
                rows.append({"case": name, **row})
                beside = f"   raw {row['raw']:,.4g}, ratio {row['ratio']:.3g}" if "raw" in row else ""
                print(f"{row['what']:<70}{row['median']:>12,.4g} {row['unit']}{beside}", flush=True)
        configure(cluster="threads")
    about: Row = {name: version(name) for name in ("tensorlake_nb", "dask", "distributed", "zarr", "numpy", "blake3")}
    about |= {"python": platform.python_version(), "cores": os.cpu_count()}
    found = peers(options.peers, scale.elements) if options.peers else {}
    if options.json:
        options.json.write_text(json.dumps({"about": about, "rows": rows, "peers": found}, indent=1))
    failed = [name for name, said in found.items() if "failed" in said]
    if failed:
        sys.exit(f"these have no figures: {', '.join(failed)}")


if __name__ == "__main__":
    main()
