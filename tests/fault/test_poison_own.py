"""On a cluster of one's own a call that ends its worker is made once for each attempt; how the process died is told."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster
from fsspec import config as fsspec_config

from tensorlake_nb import Graph, Retries, Run, configure, tensorlake_function
from tensorlake_nb.engine.cluster import connection as clusters
from tests.support.notes import Notes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def own(s3: dict[str, Any]) -> Iterator[Any]:
    """Its workers reach the S3 server, and its nannies have the time that they need to start others."""
    environment = {f"FSSPEC_S3_{name.upper()}": s3[name] for name in ("endpoint_url", "key", "secret")}
    with pytest.MonkeyPatch.context() as patch, dask.config.set({"distributed.deploy.lost-worker-timeout": "120s"}):
        for name, value in environment.items():
            patch.setenv(name, value)
        made: Any = LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
        )
        yield made
        configure(cluster="threads", workers=2)
        made.close()


@pytest.fixture
def notes(own: Any, tmp_path: Path) -> Notes:
    configure(store=tmp_path / "store", cluster=own.scheduler_address)
    return Notes(str(tmp_path / "calls"))


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


def ends(how: int) -> None:
    """End this process in one of three ways."""
    if how == 0:
        os._exit(3)
    if how == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == 2:
        ctypes.string_at(0)


ENDED = {
    0: "its worker process ended (exit code 3)",
    1: "its worker process ended (SIGKILL)",
    2: "its worker process ended (SIGSEGV)",
}


def poison_graph(notes: Notes, poisons: int) -> Graph:
    @tensorlake_function()
    def work(x: int) -> int:
        notes.add(x)
        if x < poisons:
            ends(x)
        return x

    return Graph("poison", numbers, on_error="continue").add_edge(numbers, work)


def test_each_call_that_ends_its_worker_is_made_once(notes: Notes) -> None:
    run = poison_graph(notes, 3).start(n=8)
    run.wait(PATIENCE_S)

    assert {failure.index: failure.error for failure in run.failures} == ENDED
    assert run.output("work") == [3, 4, 5, 6, 7]
    assert Counter(notes.all()) == Counter(map(str, range(8)))


def test_a_retry_is_one_call_more_and_a_fold_ends_at_its_element(own: Any, notes: Notes) -> None:
    @tensorlake_function(retries=Retries(max_retries=1, initial_delay=0.1))
    def dies_once(x: int) -> int:
        notes.add("again")
        if notes.all().count("again") == 1:
            ends(0)
        return x

    @tensorlake_function(accumulate=int)
    def total(so_far: int, x: int) -> int:
        notes.add(x)
        ends(5 - x)
        return so_far + x

    client: Any = Client(own, set_as_default=False)
    configure(cluster=client)  # given as a client, it is the same
    graph = Graph("fold", numbers, on_error="continue").add_edge(numbers, dies_once).add_edge(numbers, total)
    run = graph.start(n=6)
    run.wait(PATIENCE_S)
    configure(cluster=own.scheduler_address)
    client.close()

    assert [(failure.index, failure.error) for failure in run.failures] == [(3, ENDED[2])]
    assert Counter(notes.all()) == Counter(["0", "1", "2", "3", *["again"] * 7])


def test_without_a_spool_the_scheduler_hears_of_a_call_before_it_is_made(
    own: Any, s3: dict[str, Any], tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fsspec_config.conf, "s3", {name: s3[name] for name in ("endpoint_url", "key", "secret")})
    configure(store=f"s3://bucket/own-{tmp_path.name}")

    @tensorlake_function()
    def dies() -> int:
        notes.add("called")
        os._exit(3)

    run = Graph("alone", dies, on_error="continue").start()
    run.wait(PATIENCE_S)
    configure(store=tmp_path / "store")

    assert [failure.error for failure in run.failures] == [ENDED[0]]
    assert notes.all() == ["called"]


def test_a_scheduler_that_takes_no_plugin_begins_a_batch_again_and_its_worker_refuses_it(
    own: Any, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = Client(own, set_as_default=False)
    client.unregister_scheduler_plugin("tensorlake-nb-attempts-once")

    def refuses(*_: Any, **__: Any) -> None:
        raise ValueError("Cannot register a scheduler plugin: distributed.scheduler.pickle is False")

    monkeypatch.setattr(client, "register_plugin", refuses)
    configure(cluster=client)
    assert not clusters.connect(client).attempts_once
    run: Run = poison_graph(notes, 1).start(n=8)
    run.wait(PATIENCE_S)
    configure(cluster="threads")
    client.close()

    assert [(failure.index, failure.error) for failure in run.failures] == [(0, "its worker process ended")]
    assert run.output("work") == [1, 2, 3, 4, 5, 6, 7]
    assert Counter(notes.all()) == Counter(map(str, range(8)))
