"""Scheduler and workers as processes of their own, over TLS: the same runs, and what only such a cluster can do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import dask
import psutil
import pytest
from distributed import fire_and_forget

import tensorlake_nb
from tensorlake_nb import (
    ClusterError,
    Graph,
    PlacementError,
    Run,
    RunCancelledError,
    StoreUnavailableError,
    TaskFailedError,
    configure,
    tensorlake_function,
)
from tensorlake_nb.engine.runs import detached
from tests.support.clusters import Cluster, certificates, kill_group
from tests.support.kernels import kernel
from tests.support.notes import Notes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups")
PATIENCE_S = 60.0


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


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_program_that_a_call_started_ends_with_its_worker(own: Cluster, store: str, notes: Notes, how: str) -> None:
    own.add_worker()
    configure(cluster=own.client())

    @tensorlake_function(timeout=1 if how == "timeout" else 600)
    def waits() -> None:
        import subprocess

        program = subprocess.Popen(["sleep", "600"])
        notes.add(f"process {program.pid}")
        program.wait()

    run = Graph("program", waits).start()
    while not notes.all():
        assert run.status == "running"
    program = psutil.Process(int(notes.all()[0].removeprefix("process ")))
    if how == "cancel":
        run.cancel()
    with pytest.raises(RunCancelledError if how == "cancel" else TaskFailedError) as caught:
        run.wait(PATIENCE_S)

    psutil.wait_procs([program], timeout=PATIENCE_S)
    assert not program.is_running()
    assert "TaskTimeoutError" in str(caught.value) or how == "cancel"
    assert len(notes.all()) == 1, "it is not begun again on another worker"


def test_a_worker_that_holds_something_else_outlives_a_cancelled_call_that_hangs(
    own: Cluster, store: str, notes: Notes
) -> None:
    own.add_worker()
    client = own.client()
    configure(cluster=client)
    client.wait_for_workers(1, timeout=PATIENCE_S)
    somebodys = client.scatter([1, 2, 3], hash=False)

    @tensorlake_function(timeout=600)
    def waits() -> None:
        notes.add("begun")
        until = time.monotonic() + 3
        while time.monotonic() < until:
            time.sleep(3)

    before = client.run(os.getpid)
    run = Graph("beside-data", waits).start()
    notes.wait_for("begun")
    run.cancel()
    with pytest.raises(RunCancelledError):
        run.wait(PATIENCE_S)
    # this waits behind the call that goes on
    assert client.submit(sum, somebodys, pure=False).result(timeout=PATIENCE_S) == 6
    assert client.run(os.getpid) == before


# -- mistakes, found before anything runs --


def test_a_worker_that_sees_another_disk_is_named_before_the_run(
    shared: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: Notes
) -> None:
    monkeypatch.chdir(shared.folder)
    # below each process's own working folder, as if each had a disk of its own
    configure(store=f"/proc/self/cwd/store-{tmp_path.name}", cluster=shared.client())

    @tensorlake_function()
    def noted(x: int) -> int:
        notes.add(x)
        return x

    graph = Graph("seen", noted)
    graph.run(x=1)
    with (
        shared.joined(cwd=tmp_path),
        pytest.raises(StoreUnavailableError, match=r"worker tls://.* sees no store at file:///proc/self/cwd/store"),
    ):
        graph.run(x=2)
    configure(cluster="threads", workers=2)

    assert notes.all() == ["1"]


@pytest.mark.parametrize(
    ("version", "said"),
    [("0.0.1", r"tensorlake_nb is [\d.]+ here and 0\.0\.1 there"), (None, r"tensorlake_nb is [\d.]+ here and missing")],
    ids=["another", "none"],
)
def test_a_worker_with_another_version_of_this_package_or_none_is_refused(
    shared: Cluster, tmp_path: Path, version: str | None, said: str
) -> None:
    path, ignored = tmp_path / "site", shutil.ignore_patterns("__pycache__", "labextension", "static")
    if version is None:  # an import that fails, as where nothing is installed
        (path / "tensorlake_nb").mkdir(parents=True)
        lost = "raise ModuleNotFoundError(\"No module named 'tensorlake_nb'\", name='tensorlake_nb')"
        (path / "tensorlake_nb" / "__init__.py").write_text(lost)
    else:
        shutil.copytree(Path(tensorlake_nb.__file__).parent, path / "tensorlake_nb", ignore=ignored)
        root = path / "tensorlake_nb" / "__init__.py"
        root.write_text(root.read_text().replace(f'"{tensorlake_nb.__version__}"', f'"{version}"'))
    with (
        shared.joined(environment={"PYTHONPATH": str(path)}),
        pytest.raises(ClusterError, match=said),
    ):
        configure(cluster=shared.client())


def test_without_certificates_an_encrypted_cluster_is_refused(shared: Cluster) -> None:
    with pytest.raises(ClusterError, match="needs certificates"):
        configure(cluster=shared.address)


def test_certificates_of_another_authority_are_said_to_be_what_is_wrong(shared: Cluster, tmp_path: Path) -> None:
    others = certificates(tmp_path)
    tls = "distributed.comm.tls"
    given = {f"{tls}.ca-file": others["ca"], f"{tls}.client.cert": others["cert"], f"{tls}.client.key": others["key"]}
    with dask.config.set(given), pytest.raises(ClusterError, match="certificates don't match"):
        configure(cluster=shared.address)


def test_an_encrypted_cluster_that_is_spoken_to_in_the_clear_asks_for_tls(shared: Cluster) -> None:
    with pytest.raises(ClusterError, match="a scheduler with certificates is at tls://"):
        configure(cluster=shared.address.replace("tls://", "tcp://"))


# -- detached --

PIPELINE = """
    import os
    from tensorlake_nb import Graph, configure, tensorlake_function
    from tests.support.notes import Notes

    configure(store={store!r}, cluster={address!r})
    notes, gate = Notes({notes!r}), {gate!r}

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function(timeout=120)
    def waits(x: int) -> int:
        import os, time
        notes.add(f"begun {{x}}")
        while not os.path.exists(gate):
            time.sleep(0.01)
        return 2 * x

    @tensorlake_function(accumulate=int)
    def total(so_far: int, x: int) -> int:
        return so_far + x

    detached = Graph("detached", numbers).add_edge(numbers, waits).add_edge(waits, total)
"""


@pytest.fixture(params=["script that ends", "kernel that is killed"])
def begun(
    request: pytest.FixtureRequest, shared: Cluster, store: str, tmp_path: Path, notes: Notes
) -> Iterator[tuple[str, Path]]:
    """A detached run whose kernel is no more: its id, and the file that lets its calls go on."""
    gate = tmp_path / "gate"
    code = dedent(PIPELINE).format(store=store, address=shared.address, notes=notes.path, gate=str(gate))
    environment = {**os.environ, **shared.tls_environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
    begin = begun_by_a_script if request.param == "script that ends" else begun_in_a_notebook
    run_id = begin(code, tmp_path, environment)
    configure(cluster=shared.client())
    yield run_id, gate
    gate.touch()
    configure(cluster="threads", workers=2)


def begun_by_a_script(code: str, folder: Path, environment: dict[str, str]) -> str:
    script = folder / "kernel.py"
    script.write_text(code + "print(detached.start(n=4, detach=True).id)\n")
    command = [sys.executable, str(script)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment, cwd=folder, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()[-1]


def begun_in_a_notebook(code: str, folder: Path, environment: dict[str, str]) -> str:
    with kernel(folder, environment) as notebook:
        for cell in ("%load_ext tensorlake_nb", code, "run = %tensorlake start detached --detach n=4"):
            reply = notebook.run(cell)
            assert reply.status == "ok", reply.errors
        told = notebook.run("print(os.getpid(), run.id)").stdout.split()
        os.kill(int(told[0]), signal.SIGKILL)
    return told[1]


def test_a_detached_run_goes_on_without_its_kernel(begun: tuple[str, Path], notes: Notes) -> None:
    run_id, gate = begun
    notes.wait_for("begun 0")
    run = Run.open(run_id)
    assert str(run.status) == "running"
    assert run.counts("waits")["computed"] == 0

    gate.touch()
    run.wait(PATIENCE_S)

    assert run.status == "succeeded"
    assert run.result() == sum(2 * x for x in range(4))


def test_a_run_is_detached_only_when_its_cluster_would_go_on_without_the_kernel(
    shared: Cluster, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(cluster=shared.client())
    given: list[Any] = []
    seen: list[str] = []

    def slept(_: float) -> None:
        """The message is on its way until the cluster has been seen to have the task, and was asked once more."""
        state = shared.client().run_on_scheduler(detached._state_of, key=given[0].key)
        seen.extend([state] if state is not None else [])
        if len(seen) == 2:
            fire_and_forget(given[0])
        time.sleep(0.01)

    @tensorlake_function()
    def waits(gate: str) -> int:
        while not os.path.exists(gate):
            time.sleep(0.01)
        return 1

    monkeypatch.setattr(detached, "fire_and_forget", given.append)
    monkeypatch.setattr(detached, "time", SimpleNamespace(sleep=slept))
    run = Graph("late", waits).start(gate=str(tmp_path / "gate"), detach=True)
    (tmp_path / "gate").touch()

    assert len(seen) >= 2
    assert run.wait(PATIENCE_S).result() == 1
    configure(cluster="threads", workers=2)


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
