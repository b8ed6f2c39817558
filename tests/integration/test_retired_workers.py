"""A worker that is taken away gracefully ends the call that it is at, and nobody makes that call as well."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from tensorlake_nb import Graph, configure, tensorlake_function
from tests.support.notes import Notes
from tests.support.waiting import wait_until

PATIENCE_S = 120.0


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


def test_a_call_on_a_worker_that_is_retired_is_made_once(store: str, tmp_path: Path, notes: Notes) -> None:
    cluster_type: Any = LocalCluster
    client_type: Any = Client
    gate = tmp_path / "gate"
    with (
        cluster_type(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        client_type(cluster, set_as_default=False) as client,
    ):
        (leaving,) = client.nthreads()
        configure(cluster=client)

        @tensorlake_function(timeout=PATIENCE_S)
        def slow(x: int) -> str:
            import time

            from distributed import get_worker

            where = str(get_worker().address)
            notes.add(f"{x} {where}")
            while where == leaving and not gate.exists():
                time.sleep(0.01)
            return where

        run = Graph("retired", numbers).add_edge(numbers, slow).start(n=8)
        notes.wait_for(f"0 {leaving}")
        try:
            cluster.scale(2)
            client.wait_for_workers(2, timeout=PATIENCE_S)
            client.retire_workers([leaving])
            wait_until(lambda: any(keys for worker, keys in client.processing().items() if worker != leaving))
        finally:
            gate.touch()
        run.wait(PATIENCE_S)
        configure(cluster="threads", workers=2)

    assert sorted(note.split()[0] for note in notes.all()) == [str(x) for x in range(8)]
    assert run.output(slow)[0] == leaving, "what the call gave that was under way is kept"
