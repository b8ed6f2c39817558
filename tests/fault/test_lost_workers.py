"""Workers of an external cluster that fall silent, or go and come back, all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.notebook.drawing.faces import html_of
from tensorlake_nb.notebook.panel.panel_state import state_of_run
from tests.support.clusters import Cluster, kill_group
from tests.support.notes import Notes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One that doesn't wait long for a worker that says nothing."""
    made = Cluster(
        tmp_path_factory.mktemp("cluster"), environment={"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2 seconds"}
    )
    try:
        made.add_workers(2, "--no-nanny")  # a nanny would end a worker that is given up
        configure(cluster=made.client())
        yield made
    finally:
        configure(cluster="threads", workers=2)
        made.close()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    configure(store=tmp_path / "store")
    return Notes(str(tmp_path / "notes"))


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


def work_graph(notes: Notes, gate: Path) -> Graph:
    """Its last element waits for the gate."""

    @tensorlake_function(timeout=120)
    def work(x: int) -> int:
        notes.add(f"begun {x} {os.getpid()}")
        while x == 7 and not os.path.exists(gate):
            time.sleep(0.01)
        notes.add(f"done {x} {os.getpid()}")
        return 2 * x

    return Graph("silent", numbers).add_edge(numbers, work)


def process_of(notes: Notes, what: str, *, other_than: int = 0) -> int:
    """The process that made a note."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = [int(line.rpartition(" ")[2]) for line in notes.all() if line.startswith(f"{what} ")]
        others = [process for process in found if process != other_than]
        if others:
            return others[0]
        time.sleep(0.01)
    raise TimeoutError(f"nobody else noted {what!r}: {notes.all()}")


def test_a_worker_that_was_paused_and_finishes_after_it_was_given_up_does_no_harm(
    cluster: Cluster, tmp_path: Path, notes: Notes
) -> None:
    gate = tmp_path / "gate"
    graph = work_graph(notes, gate)
    run = graph.start(n=8)
    paused = process_of(notes, "begun 7")
    os.kill(paused, signal.SIGSTOP)
    try:
        process_of(notes, "begun 7", other_than=paused)  # it was given up, and the other one is at it
        gate.touch()
        run.wait(PATIENCE_S)
    finally:
        os.kill(paused, signal.SIGCONT)
    process_of(notes, "done 7", other_than=process_of(notes, "done 7"))
    called = len(notes.all())

    assert run.output("work") == [2 * x for x in range(8)]
    assert (run.status, run.failures) == ("succeeded", ())
    assert graph.run(n=8).output("work") == [2 * x for x in range(8)]
    assert len(notes.all()) == called, "nothing is called again"


def test_a_run_goes_on_when_all_workers_are_gone_and_others_come(
    cluster: Cluster, tmp_path: Path, notes: Notes
) -> None:
    client = cluster.client()
    for worker in cluster.workers:
        kill_group(worker)
    while client.scheduler_info(n_workers=-1)["workers"]:
        time.sleep(0.05)
    cluster.add_workers(2)  # with nannies: that these go as well tells that no call has ended their workers
    gate = tmp_path / "gate"
    run = work_graph(notes, gate).start(n=8)
    process_of(notes, "begun 7")
    for x in range(7):
        process_of(notes, f"done {x}")
    for worker in cluster.workers:
        kill_group(worker)
    while client.scheduler_info(n_workers=-1)["workers"]:
        time.sleep(0.05)
    wait_until(lambda: "waiting for workers" in run.doing)
    assert "has none. Start or scale up some, or run.cancel()" in run.doing
    assert run.doing in html_of(run)
    head = state_of_run(run).run
    assert head is not None
    assert head.doing == run.doing
    gate.touch()
    cluster.add_workers(1)
    run.wait(PATIENCE_S)

    assert run.doing == ""
    assert run.output("work") == [2 * x for x in range(8)]
    begun = [line.split()[1] for line in notes.all() if line.startswith("begun")]
    assert sorted(begun) == sorted([*map(str, range(8)), "7"]), "only what was cut short is called again"


def test_a_scheduler_that_does_not_answer_is_said_to_be_what_the_run_waits_for(
    cluster: Cluster, tmp_path: Path, notes: Notes
) -> None:
    gate = tmp_path / "gate"
    run = work_graph(notes, gate).start(n=8)
    process_of(notes, "begun 7")
    os.killpg(cluster.scheduler.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: "doesn't answer" in run.doing)
        gate.touch()
    finally:
        os.killpg(cluster.scheduler.pid, signal.SIGCONT)
    run.wait(PATIENCE_S)

    assert run.output("work") == [2 * x for x in range(8)]
