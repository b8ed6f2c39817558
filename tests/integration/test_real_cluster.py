"""Scheduler and workers as processes of their own, over TLS: the same runs, and what only such a cluster can do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tensorlake_nb import (
    ClusterError,
    Graph,
    PlacementError,
    Run,
    RunCancelledError,
    configure,
    tensorlake_function,
)
from tests.support.clusters import Cluster, kill_group
from tests.support.notes import Notes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups")
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, one of which says that it has a GPU."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.add_workers(1)
        made.add_workers(1, "--resources", "GPU=1")
        yield made
    finally:
        made.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose workers may be killed."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    try:
        yield made
    finally:
        configure(cluster="threads", workers=2)
        made.close()


@pytest.fixture(params=["embedded", "tls"])
def either(request: pytest.FixtureRequest, shared: Cluster, store: str) -> Iterator[None]:
    """The embedded cluster of processes, and the one over TLS."""
    configure(cluster="embedded", workers=2) if request.param == "embedded" else configure(cluster=shared.client())
    yield
    configure(cluster="threads", workers=2)


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function(accumulate=int)
def total(so_far: int, x: int) -> int:
    return so_far + x


def test_a_map_and_a_fold_give_the_same_and_are_replayed(either: None, notes: Notes) -> None:
    @tensorlake_function()
    def double(x: int) -> int:
        notes.add(x)
        return 2 * x

    graph = Graph("real", numbers).add_edge(numbers, double).add_edge(double, total)

    assert graph.run(n=300).result() == sum(2 * x for x in range(300))
    assert graph.run(n=300).result() == sum(2 * x for x in range(300))
    assert sorted(map(int, notes.all())) == list(range(300))


def test_a_module_that_only_the_notebook_has_travels(
    either: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pricing_rules.py").write_text("RATE = 3\ndef price(x):\n    return RATE * x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import pricing_rules  # type: ignore[import-not-found]

    @tensorlake_function()
    def priced(x: int) -> int:
        return pricing_rules.price(x)  # type: ignore[no-any-return]

    run = Graph("modules", numbers).add_edge(numbers, priced).run(n=3)

    assert run.output(priced) == [0, 3, 6]


def test_what_a_function_asks_for_decides_where_it_runs(shared: Cluster, store: str) -> None:
    configure(cluster=shared.client())
    has_gpu = {
        worker["name"] for worker in shared.client().scheduler_info(n_workers=-1)["workers"].values()
        if worker["resources"].get("GPU")
    }  # fmt: skip

    @tensorlake_function(gpu="any")
    def placed(x: int) -> str:
        from distributed import get_worker

        return str(get_worker().name)

    @tensorlake_function(gpu="any:2")
    def too_much(x: int) -> int:
        return x

    run = Graph("placed", numbers).add_edge(numbers, placed).run(n=20)
    assert set(run.output(placed)) == has_gpu
    with pytest.raises(PlacementError, match="too_much"):
        Graph("too-much", numbers).add_edge(numbers, too_much).run(n=1)
    configure(cluster="threads", workers=2)


def test_workers_join_leave_and_die_during_a_run(own: Cluster, store: str, notes: Notes, tmp_path: Path) -> None:
    doomed = own.add_worker(name="doomed")
    own.add_worker(name="leaving")
    client = own.client()
    client.wait_for_workers(2, timeout=PATIENCE_S)
    configure(cluster=client)
    gate = tmp_path / "open"

    @tensorlake_function(timeout=120)
    def slow(x: int) -> str:
        import os
        import time

        from distributed import get_worker

        name = str(get_worker().name)
        notes.add(f"begun {name}")
        while name == "doomed" and not os.path.exists(gate):  # so that it dies in the middle of a call
            time.sleep(0.01)
        while name == "leaving" and "begun joining" not in notes.all():  # so that there is work for who joins
            time.sleep(0.01)
        time.sleep(0.02)
        notes.add(f"done {x}")
        return name

    run = Graph("coming-and-going", numbers).add_edge(numbers, slow).start(n=60)
    notes.wait_for("begun doomed")
    own.add_worker(name="joining")
    kill_group(doomed)
    notes.wait_for("begun joining")
    leaving = [
        address
        for address, worker in client.scheduler_info(n_workers=-1)["workers"].items()
        if worker["name"] == "leaving"
    ]
    client.retire_workers(leaving)
    run.wait(PATIENCE_S)

    assert "joining" in run.output(slow)
    done = [note for note in notes.all() if note.startswith("done")]
    assert sorted(done) == sorted(f"done {x}" for x in range(60)), "what was finished is not called again"


# -- detached --

KERNEL = """
    import sys
    from tensorlake_nb import Graph, configure, tensorlake_function
    from tests.support.notes import Notes

    configure(store=sys.argv[1], cluster=sys.argv[2])
    notes, gate = Notes(sys.argv[3]), sys.argv[4]

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function(timeout=120)
    def waits(x: int) -> int:
        import os, time
        notes.add(f"begun {x}")
        while not os.path.exists(gate):
            time.sleep(0.01)
        return 2 * x

    @tensorlake_function(accumulate=int)
    def total(so_far: int, x: int) -> int:
        return so_far + x

    graph = Graph("detached", numbers).add_edge(numbers, waits).add_edge(waits, total)
    if __name__ == "__main__":
        run = graph.start(n=4, detach=True)
        print(run.id)
"""


@pytest.fixture
def begun(shared: Cluster, store: str, tmp_path: Path, notes: Notes) -> Iterator[tuple[str, Path]]:
    """A detached run whose kernel has ended: its id, and the file that lets its calls go on."""
    gate = tmp_path / "gate"
    script = tmp_path / "kernel.py"
    script.write_text(dedent(KERNEL))
    ended = subprocess.run(
        [sys.executable, str(script), store, shared.address, notes.path, str(gate)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **shared.tls_environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    configure(cluster=shared.client())
    yield ended.stdout.split()[-1], gate
    gate.touch()
    configure(cluster="threads", workers=2)


def test_a_detached_run_goes_on_without_its_kernel(begun: tuple[str, Path], notes: Notes) -> None:
    run_id, gate = begun
    notes.wait_for("begun 0")
    run = Run.open(run_id)
    assert run.status == "running"
    assert run.counts("waits")["computed"] == 0

    gate.touch()
    run.wait(PATIENCE_S)

    assert run.status == "succeeded"
    assert run.result() == sum(2 * x for x in range(4))


def test_a_detached_run_is_cancelled_from_another_kernel_and_resumed_there(
    begun: tuple[str, Path], notes: Notes
) -> None:
    run_id, gate = begun
    notes.wait_for("begun 0")
    run = Run.open(run_id)
    run.cancel()
    with pytest.raises(RunCancelledError):
        run.wait(PATIENCE_S)
    assert run.status == "cancelled"

    gate.touch()
    assert Run.open(run_id).resume().result() == sum(2 * x for x in range(4))


def test_a_detached_run_survives_the_worker_that_drives_it(
    own: Cluster, store: str, tmp_path: Path, notes: Notes
) -> None:
    first = own.add_worker(name="first")
    client = own.client()
    client.wait_for_workers(1, timeout=PATIENCE_S)
    configure(cluster=client)
    gate = str(tmp_path / "gate")

    @tensorlake_function(timeout=120)
    def waits(x: int) -> int:
        import os
        import time

        notes.add(f"begun {x}")
        while x == 5 and not os.path.exists(gate):
            time.sleep(0.01)
        return 2 * x

    run = Graph("survivor", numbers).add_edge(numbers, waits).add_edge(waits, total).start(n=8, detach=True)
    notes.wait_for("begun 5")
    own.add_worker(name="second")
    kill_group(first)
    Path(gate).touch()
    run.wait(PATIENCE_S)

    assert run.result() == sum(2 * x for x in range(8))
    assert [notes.all().count(f"begun {x}") for x in range(5)] == [1] * 5, "what was finished is not called again"


def test_a_cluster_that_ends_with_the_kernel_drives_nothing_alone(store: str) -> None:
    with pytest.raises(ClusterError, match="outlives this kernel"):
        Graph("attached", numbers).start(n=1, detach=True)
