"""A run whose cluster goes away ends with an error that says so, soon; what was finished is found by the next."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from tensorlake_nb import ClusterError, Graph, Run, UsageError, configure, tensorlake_function
from tensorlake_nb.engine.cluster.session import current
from tests.support.clusters import Cluster, kill_group
from tests.support.notes import Notes

PATIENCE_S = 60.0


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.CRITICAL, "distributed")
    configure(store=tmp_path / "store")
    yield
    configure(cluster="threads", workers=2)
    current().close()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(str(tmp_path / "notes"))


def work_graph(notes: Notes, gate: Path) -> Graph:
    """Elements below 10 are through at once; the others wait for the gate."""

    @tensorlake_function(timeout=120)
    def work(x: int) -> int:
        notes.add(f"begun {x}")
        while x >= 10 and not os.path.exists(gate):
            time.sleep(0.01)
        notes.add(f"done {x}")
        return 2 * x

    return Graph("lost", numbers).add_edge(numbers, work)


def begun(graph: Graph, notes: Notes) -> Run:
    """A run that stands at its tenth element."""
    run = graph.start(n=12)
    for x in range(10):
        notes.wait_for(f"done {x}")
    notes.wait_for("begun 10")
    return run


def is_told(run: Run, why: str) -> None:
    """The run ends with an error about the cluster, and no element is blamed."""
    began = time.monotonic()
    with pytest.raises(ClusterError, match=f"{why}.*resume"):
        run.wait(PATIENCE_S)

    assert time.monotonic() - began < 20, "generous; it is told within two seconds"
    assert (run.status, run.failures, run.counts("work")["failed"]) == ("failed", (), 0)


def goes_on(run: Run, notes: Notes) -> None:
    """The rest is computed; what was finished isn't called again."""
    assert run.resume().output("work") == [2 * x for x in range(12)]
    assert [notes.all().count(f"begun {x}") for x in range(10)] == [1] * 10


def test_a_run_ends_when_its_scheduler_dies_and_goes_on_with_another(tmp_path: Path, notes: Notes) -> None:
    gate = tmp_path / "gate"
    clusters: list[Cluster] = []

    def start() -> Cluster:
        folder = tmp_path / f"cluster-{len(clusters)}"
        folder.mkdir()
        clusters.append(Cluster(folder))
        clusters[-1].add_workers(2)
        return clusters[-1]

    try:
        first = start()
        configure(cluster=first.client())
        run = begun(work_graph(notes, gate), notes)
        kill_group(first.scheduler)
        is_told(run, "its scheduler doesn't answer any more")

        gate.touch()
        configure(cluster=start().client())
        goes_on(Run.open(run.id), notes)
    finally:
        configure(cluster="threads", workers=2)
        for cluster in clusters:
            cluster.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that may be killed, for a session that knows its address."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    try:
        made.add_workers(2)
        with dask.config.set(made.tls_config()):
            configure(cluster=made.address)
            yield made
    finally:
        configure(cluster="threads", workers=2)
        made.close()


def kill(cluster: Cluster) -> None:
    """Workers and scheduler at once, as when their machine goes."""
    processes = [*cluster.workers, cluster.scheduler]
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
    for process in processes:
        process.wait(PATIENCE_S)


def test_a_session_goes_on_when_its_scheduler_is_back_at_the_same_address(
    cluster: Cluster, tmp_path: Path, notes: Notes
) -> None:
    gate = tmp_path / "gate"
    graph = work_graph(notes, gate)
    run = begun(graph, notes)
    kill(cluster)
    is_told(run, "its scheduler doesn't answer any more")
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        run.resume()

    gate.touch()
    cluster.start_scheduler()
    cluster.add_workers(1)

    assert graph.run(n=12).output("work") == [2 * x for x in range(12)]
    goes_on(run, notes)
    assert [notes.all().count(f"done {x}") for x in range(12)] == [1] * 12, "one of the two found what the other did"


def test_a_detached_run_is_left_to_its_cluster_while_that_may_live_and_goes_on_elsewhere_when_it_was_killed(
    cluster: Cluster, tmp_path: Path, notes: Notes
) -> None:
    gate = tmp_path / "gate"
    run = work_graph(notes, gate).start(n=12, detach=True)
    for x in range(10):
        notes.wait_for(f"done {x}")
    notes.wait_for("begun 10")
    configure(cluster="threads", workers=2)
    opened = Run.open(run.id)

    assert str(opened.status) == "running"
    with pytest.raises(UsageError, match=rf"driven by the cluster at {cluster.address}.*run the graph again"):
        opened.resume()

    kill(cluster)
    gate.touch()

    assert opened.status == "interrupted"
    goes_on(opened, notes)


def test_a_run_ends_when_somebody_closes_its_client(tmp_path: Path, notes: Notes) -> None:
    gate = tmp_path / "gate"
    local: Any = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0")
    try:
        client: Any = Client(local, set_as_default=False)
        configure(cluster=client)
        run = begun(work_graph(notes, gate), notes)
        client.close()
        is_told(run, "its client was closed")
    finally:
        gate.touch()
        configure(cluster="threads", workers=2)
        local.close()

    goes_on(Run.open(run.id), notes)


@pytest.mark.parametrize("kind", ["embedded", "threads"])
def test_a_run_ends_when_its_cluster_is_changed(tmp_path: Path, notes: Notes, kind: str) -> None:
    gate = tmp_path / "gate"
    configure(cluster=kind, workers=2)
    run = begun(work_graph(notes, gate), notes)
    configure(cluster="threads", workers=3)
    is_told(run, "it was closed")

    gate.touch()
    goes_on(Run.open(run.id), notes)
