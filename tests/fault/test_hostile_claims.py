"""Claims made to do harm, in a store that others write to: a run is right, pays once, and ends soon all the same."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.claims import meeting as sharing
from tensorlake_nb.store.format.paths import ledger_path
from tensorlake_nb.store.format.record import base64_of
from tensorlake_nb.store.format.sealing import seal
from tests.support.notes import Notes

RUNS = [f"99991231-235959-{number:06x}" for number in range(8)]
EVIL = "\x1b[2J<script>../../..\u202e"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that isn't trusted; runs give each other up after half a second."""
    monkeypatch.setattr(sharing, "BEAT_S", 0.025)
    monkeypatch.setattr(session, "_given", dict(session._given))  # or those who configure it next get its trust
    configure(store=tmp_path / "store", cluster="threads", workers=2, trust_store=False)
    return tmp_path / "store"


def pipeline(notes: Notes) -> Graph:
    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def double(x: int) -> int:
        notes.add(x)
        return 2 * x

    return Graph("hostile", numbers).add_edge(numbers, double)


def plant(folder: Path, fingerprints: list[str]) -> None:
    """Leases and ledgers of runs that never were, and of what is no run."""
    files = open_store(str(folder), trusted=False).filesystem

    def put(path: str, content: Any) -> None:
        files.put(path, seal(path, json.dumps(content).encode()))

    owner = {"host": "elsewhere", "pid": 1, "created": 253370764799.0}
    lease = {"beat": 9999, "fingerprints": fingerprints, "answered": [], "owner": owner}
    for number, run in enumerate(RUNS):
        put(f"claims/runs/{run}", {**lease, "idle": number % 2 == 1})
    put(f"claims/runs/{'r' * 200}", {**lease, "answered": [EVIL]})
    put("claims/runs/evil", {**lease, "owner": {**owner, "host": EVIL}, "fingerprints": [EVIL]})
    os.mkfifo(folder / "claims" / "runs" / "pipe")
    (folder / "claims" / "runs" / "endless").symlink_to("/dev/zero")
    some = base64_of(np.arange(10**5, dtype="<u8"))
    for fingerprint in fingerprints:
        base = ledger_path(fingerprint)
        for number, run in enumerate(RUNS, 1):
            put(f"{base}/{number:08d}", {"run": run, "kind": "all"})
        put(f"{base}/00000009", {"run": EVIL, "kind": "all"})
        put(f"{base}/00000010", {"run": RUNS[0], "kind": "some", "names": some})
        put(f"{base}/00000011", {"run": "../../../zarr.json", "kind": "some", "names": some})
        os.mkfifo(folder / base / "00000012")
        files.put(f"{base}/00000013", b"")
        with open(files.path(f"{base}/00000014"), "wb") as file:  # type: ignore[attr-defined]
            file.truncate(2**33)


@pytest.mark.skipif(os.name == "nt", reason="no pipes there")
def test_a_run_among_hostile_claims_is_right_pays_once_and_ends(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes(str(tmp_path / "notes"))
    graph = pipeline(notes)
    first = graph.run(n=1)
    plant(folder, [first.outputs(node).spans[0].segment.partition("/")[0] for node in ("numbers", "double")])
    notes.take()
    began = time.monotonic()

    run = graph.run(n=40)

    assert run.result() == [2 * x for x in range(40)]
    assert sorted(map(int, notes.all())) == list(range(1, 40)), "each once, and what was there not again"
    assert time.monotonic() - began < 30
    told = f"{caplog.text} {run.why('double').summary}"
    assert not {"\x1b", "\u202e"} & set(told)
