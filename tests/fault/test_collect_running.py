"""A collection beside runs: what they may read stays, and what goes under them all the same is computed again."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tensorlake_nb import Graph, Run, collect, configure, tensorlake_function
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.runs.collection import Planned
from tensorlake_nb.errors import (
    RunNotFoundError,
    StoreUnavailableError,
    StoreVersionError,
    TaskFailedError,
)
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.claims import meeting as sharing
from tensorlake_nb.store.claims.lease import Lease, put_lease
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tests.support.collected import expected, found, graph, outputs_are_right
from tests.support.notes import Notes
from tests.support.stores import segment_directory


@pytest.fixture(autouse=True)
def root(tmp_path: Path) -> Path:
    configure(store=tmp_path / "store", cluster="threads", workers=2)
    return tmp_path / "store"


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(str(tmp_path / "notes"))


@tensorlake_function()
def given(n: int, path: str) -> list[tuple[int, str]]:
    return [(x, path) for x in range(n)]


@tensorlake_function(timeout=30)
def gate(x: int, path: str) -> int:
    """Let everything pass at once but the first; a class named here would count in the keys of what follows."""
    if x == 0:
        Path(path).write_text("waiting\n")
        while "go on" not in Path(path).read_text():
            time.sleep(0.005)
    return x


@tensorlake_function()
def late(x: int) -> list[int] | None:
    return [10 * x]


@tensorlake_function(accumulate=list)
def in_order(so_far: list[int], x: int) -> list[int]:
    return [*so_far, x]


@tensorlake_function()
def only(x: int) -> list[int]:
    return [x]


def gated() -> Graph:
    return Graph("gated", start_node=given).add_edge(given, gate).add_edge(gate, late).add_edge(gate, in_order)


def hide_what_is_remembered() -> None:
    """Read from the store from now on, as another process would."""
    session.current().store()._after_fork()


def test_a_run_under_way_keeps_what_it_may_still_look_up(notes: Notes) -> None:
    older = Graph("older", start_node=only).add_edge(only, late).run(x=0)
    run = gated().start(n=5, path=notes.path)
    notes.wait_for("waiting")

    freed = collect(keep_runs=0, grace=0)
    notes.add("go on")
    run.wait()

    assert freed.runs == (older.id,)
    assert run.output(late) == [0, 10, 20, 30, 40]
    assert run.counts(late)["replayed"] == 1, "what the dropped run had kept of the first was still there"
    assert session.current().store().damage == []


def test_a_run_that_begins_between_the_plan_and_the_removal_keeps_what_it_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph().run(n=9)
    planned = Planned(keep_runs=0, grace=0)
    begun: list[Run] = []
    real: Callable[[LocalFilesystem, str], None] = LocalFilesystem.remove

    def remove(filesystem: LocalFilesystem, path: str) -> None:
        if not begun and path.startswith("runs/"):
            begun.append(graph().start(n=9))
            begun[0].wait()
        real(filesystem, path)

    monkeypatch.setattr(LocalFilesystem, "remove", remove)
    planned.carry_out()
    hide_what_is_remembered()

    assert [run.id for run in Run.list()] == [begun[0].id]
    outputs_are_right(Run.open(begun[0].id), 9)
    assert begun[0].counts("odd")["computed"] == 0
    assert session.current().store().damage == [], "nothing that it found has gone"


def test_what_goes_under_a_run_is_computed_again_and_the_run_is_right(notes: Notes, root: Path) -> None:
    run = gated().start(n=5, path=notes.path)
    notes.wait_for("waiting")
    while run.counts(late)["computed"] < 4:
        time.sleep(0.01)
    taken = {span.segment for span in run.outputs(gate).spans}

    for segment in taken:
        shutil.rmtree(segment_directory(root, segment))
    hide_what_is_remembered()
    notes.add("go on")
    run.wait()

    assert run.output(in_order) == [[0, 1, 2, 3, 4]]
    assert run.output(late) == [0, 10, 20, 30, 40]
    assert any(segment in reason for segment in taken for reason in session.current().store().damage), "and it is said"


def test_a_plan_and_the_inputs_of_a_function_pass_over_what_goes_while_they_look(root: Path) -> None:
    run = graph().run(n=9)
    for span in run.outputs("odd").spans:
        (segment_directory(root, span.segment) / "zarr.json").unlink(missing_ok=True)
    hide_what_is_remembered()

    planned = graph().plan(n=9).nodes["odd"]
    arrived = Run.open(run.id).inputs_of("odd")

    assert planned.to_compute > 0
    assert [*arrived] == [*range(9)]


@pytest.mark.parametrize("again", [1, 3])
def test_two_that_collect_at_once_free_the_same(monkeypatch: pytest.MonkeyPatch, again: int) -> None:
    for n in (5, 9, 7):
        graph().run(n=n)
    (newest, *_) = Run.list()
    calls: list[str] = []
    real: Callable[[LocalFilesystem, str], None] = LocalFilesystem.remove

    def remove(filesystem: LocalFilesystem, path: str) -> None:
        calls.append(path)
        if len(calls) in (again, 20 * again):
            collect(keep_runs=1, grace=0)
        real(filesystem, path)

    monkeypatch.setattr(LocalFilesystem, "remove", remove)
    collect(keep_runs=1, grace=0)

    assert [run.id for run in Run.list()] == [newest.id]
    outputs_are_right(Run.open(newest.id), 7)
    assert collect(dry_run=True, keep_runs=1, grace=0).freed_bytes == 0


@tensorlake_function()
def shifted(x: int, path: str) -> list[int] | None:
    Notes(path).add(x)
    if x == 5 and "mended" not in Notes(path).all():
        raise ValueError("not yet")
    return [x] if x % 2 else None


def test_an_unfinished_run_that_stays_goes_on_without_computing_anything_twice(notes: Notes) -> None:
    fails = Graph("shifted", start_node=given).add_edge(given, shifted)
    fails.run(n=4, path=notes.path)
    with pytest.raises(TaskFailedError):
        fails.run(n=7, path=notes.path)
    (unfinished, dropped) = Run.list()
    notes.take()
    notes.add("mended")

    freed = collect(keep_runs=1, grace=0)
    run = Run.open(unfinished.id).resume()

    assert freed.runs == (dropped.id,)
    assert run.output(shifted) == [1, 3, 5]
    assert not set(notes.all()) & {"0", "1", "2", "3", "4"}, "also those that gave nothing are still known"


def test_a_store_that_cannot_be_written_to_says_so_and_a_dry_run_still_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph().run(n=5)
    (run,) = Run.list()

    def refuse(path: str) -> None:
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr(os, "unlink", refuse)

    assert collect(keep_runs=0, grace=0, dry_run=True).runs == (run.id,)
    with pytest.raises(StoreUnavailableError, match="Make it writable"):
        collect(keep_runs=0, grace=0)
    outputs_are_right(Run.open(run.id), 5)


def test_a_record_of_a_newer_format_ends_a_collection_before_it_removes_anything(root: Path) -> None:
    older, newer = graph().run(n=5), graph().run(n=6)
    header = root / "runs" / newer.id / "header"
    header.write_bytes(header.read_bytes().replace(b"frame 1 ", b"frame 2 ", 1))
    before = sorted(root.rglob("*"))

    with pytest.raises(StoreVersionError, match="format 2"):
        collect(keep_runs=0, grace=0)

    assert sorted(root.rglob("*")) == before
    outputs_are_right(Run.open(older.id), 5)


def test_a_dropped_run_is_not_found_any_more() -> None:
    run = graph().run(n=5)

    collect(keep_runs=0, grace=0)

    with pytest.raises(RunNotFoundError):
        Run.open(run.id)


def test_within_the_grace_period_nothing_goes() -> None:
    graph().run(n=5)

    freed = collect(keep_runs=0)

    assert freed.freed_bytes == 0
    assert freed.runs == ()
    assert len(Run.list()) == 1


def test_the_oldest_runs_go_until_the_rest_fits() -> None:
    runs = [graph().run(n=n) for n in (5, 7, 9, 11)]
    everything = collect(dry_run=True).kept_bytes

    half = collect(max_bytes=everything // 2, grace=0)

    assert list(half.runs) == [run.id for run in reversed(runs[: len(half.runs)])]
    assert 0 < len(half.runs) < 4
    assert half.kept_bytes <= everything // 2
    outputs_are_right(Run.open(runs[-1].id), 11)


KILLED = """
import os, signal, sys
from tensorlake_nb import collect, configure
from tensorlake_nb.store.claims.lease import Lease, put_lease
from tensorlake_nb.store.filesystems.local import LocalFilesystem
configure(store=sys.argv[1], cluster="threads")
real, left = LocalFilesystem.remove, [int(sys.argv[2])]
def remove(filesystem, path):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    real(filesystem, path)
LocalFilesystem.remove = remove
collect(keep_runs=1, grace=0)
"""


def test_a_process_killed_while_it_collects_leaves_the_runs_that_stay(root: Path) -> None:
    for n in (5, 7):
        graph().run(n=n)
    (newest, _) = Run.list()

    done = subprocess.run([sys.executable, "-c", KILLED, str(root), "12"], timeout=120, check=False)

    assert done.returncode == -signal.SIGKILL
    hide_what_is_remembered()
    outputs_are_right(Run.open(newest.id), 7)
    collect(keep_runs=1, grace=0)
    outputs_are_right(Run.open(newest.id), 7)
    assert graph().run(n=5).output(found) == [expected(5)]


@pytest.mark.parametrize("is_renewed", [True, False])
def test_a_run_of_another_host_is_live_after_a_day_only_if_its_lease_is_renewed(
    monkeypatch: pytest.MonkeyPatch, is_renewed: bool
) -> None:
    monkeypatch.setattr(sharing, "EXPIRY", 0.2)
    store = session.current().store()
    owner: dict[str, str | int | float] = {"host": "far away", "pid": 1, "created": 0.0}
    run_id = "20240103-000000-00000c"
    RunLog(store, run_id).create({"graph": "elsewhere", "calls": {}, "owner": owner})
    put_lease(store, Lease(run_id, 1, frozenset(), frozenset(), owner))
    over = threading.Event()

    def beat() -> None:
        for number in itertools.count(2):
            put_lease(store, Lease(run_id, number, frozenset(), frozenset(), owner))
            if over.wait(0.01):
                return

    thread = threading.Thread(target=beat)
    if is_renewed:
        thread.start()
    try:
        freed = collect(keep_runs=0, grace=0)
    finally:
        over.set()
        if is_renewed:
            thread.join()

    assert freed.runs == (() if is_renewed else (run_id,))
