"""Stop means stop: an interrupted cell ends at once, what is finished is kept, and the next run works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernels import Kernel, kernel

pytestmark = pytest.mark.alone

SET_UP = """
import ctypes, sys, threading, time
from tensorlake_nb import *
configure(store="store", workers=2)

@tensorlake_function()
def numbers(n: int, seconds: float) -> list[tuple[int, float]]:
    return [(i, seconds) for i in range(n)]

@tensorlake_function()
def work(i: int, seconds: float) -> int:
    open(f"{FOLDER}/begun-{i}", "a").close()
    if seconds < 0:
        ctypes.PyDLL(None).sleep(100)  # keeps the interpreter: its worker says nothing more, not even that it began
    time.sleep(seconds)
    return i

graph = Graph(name="stop", start_node=numbers).add_edge(numbers, work)

def tell_when_waiting(main=threading.main_thread().ident):
    # leaves a file as soon as the cell waits for its run: a Stop before that isn't for the run
    def look():
        frame = None
        while frame is None or not frame.f_code.co_filename.endswith("engine/runs/waiting.py"):
            frame = frame.f_back if frame is not None else sys._current_frames()[main]
        open(f"{FOLDER}/waiting", "a").close()
    threading.Thread(target=look).start()
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with kernel(tmp_path_factory.mktemp("kernel")) as running:
        running.run(SET_UP)
        yield running


@pytest.fixture
def notebook(shared: Kernel, tmp_path: Path) -> Kernel:
    """A kernel with a cluster that is there; nothing that an earlier test did is of use, as `FOLDER` is reached."""
    assert "ready" in shared.run(f"FOLDER = {str(tmp_path)!r}; graph.run(n=2, seconds=0.0); print('ready')").stdout
    return shared


def interrupt_when_begun(notebook: Kernel, folder: Path, code: str, element: int = 0) -> float:
    """Run a cell, press Stop once an element is at work; gives the seconds that the cell took to end."""
    begun = folder / f"begun-{element}"
    begun.unlink(missing_ok=True)
    cell = notebook.begin(code)
    while not begun.exists():
        pass
    notebook.interrupt()
    reply = notebook.finish(cell)
    assert reply.status == "error"
    assert reply.errors[0].startswith("KeyboardInterrupt"), reply.errors
    return reply.seconds


def pids(notebook: Kernel) -> str:
    """The processes of the workers."""
    return notebook.run(
        "import os; from tensorlake_nb.engine.cluster.session import current\n"
        "print(sorted(current().connection().client.run(os.getpid).values()))"
    ).stdout


@pytest.mark.parametrize("seconds", [0.05, 30.0, -1.0], ids=["short", "hanging", "locked"])
def test_the_next_run_works_soon_after_a_stop(notebook: Kernel, tmp_path: Path, seconds: float) -> None:
    interrupt_when_begun(notebook, tmp_path, f"graph.run(n=500, seconds={seconds})")

    again = notebook.run("run = graph.run(n=3, seconds=0.0); print(run.output(work))")

    assert "[0, 1, 2]" in again.stdout
    assert again.seconds < 10, "generous: machines are noisy; the aim is two seconds"


def test_a_stopped_run_is_cancelled_keeps_what_is_finished_and_goes_on(notebook: Kernel, tmp_path: Path) -> None:
    interrupt_when_begun(notebook, tmp_path, "run = graph.start(n=60, seconds=0.05); run.wait()", element=4)

    notebook.run("print(run.status)")
    status = notebook.run("print(run.status, sum(run.counts(work).values()))")
    resumed = notebook.run("run.resume(); print(run.status, run.output(work) == list(range(60)), run.counts(work))")

    assert status.stdout.strip() == "cancelled 60"
    assert resumed.stdout.startswith("succeeded True"), resumed
    assert "'replayed': 0" not in resumed.stdout, "what had finished before the stop is replayed"


def test_a_stopped_cell_shows_what_became_of_the_run_and_no_frames_of_ours(notebook: Kernel, tmp_path: Path) -> None:
    cell = notebook.begin("n = 60\nrun = graph.run(n=n, seconds=0.05)")
    while not (tmp_path / "begun-4").exists():
        pass
    notebook.interrupt()
    stopped = notebook.finish(cell)
    (shown,) = stopped.tracebacks
    going_on = shown.partition("; ")[2].partition(" continues it")[0]
    resumed = notebook.run(f"run = {going_on}; print(run.status, run.output(work) == list(range(60)))")

    assert shown.startswith("KeyboardInterrupt: run ")
    assert shown.endswith(
        " of 'stop' is cancelled, and finished work is kept; " + going_on + " continues it (line 2 of the cell)"
    )
    assert resumed.stdout.strip() == "succeeded True"


def test_stop_cancels_a_run_that_is_awaited(notebook: Kernel, tmp_path: Path) -> None:
    cell = notebook.begin("run = graph.start(n=60, seconds=0.05); await run")
    while not (tmp_path / "begun-4").exists():
        pass
    notebook.interrupt()
    (shown,) = notebook.finish(cell).tracebacks
    state = notebook.run("print(run.wait_quietly(20), run.status)")

    assert "is cancelled, and finished work is kept" in shown
    assert "\n" not in shown, "none of our frames"
    assert state.stdout.strip() == "True cancelled"


def test_workers_are_deaf_to_the_interrupt_and_go_on(notebook: Kernel, tmp_path: Path) -> None:
    before = pids(notebook)

    interrupt_when_begun(notebook, tmp_path, "graph.run(n=500, seconds=0.05)")

    assert pids(notebook) == before


def test_stop_pressed_twice_in_a_row_cancels_once_and_leaves_the_next_cell_alone(
    notebook: Kernel, tmp_path: Path
) -> None:
    before = pids(notebook)
    cell = notebook.begin("run = graph.start(n=500, seconds=0.05); tell_when_waiting(); run.wait()")
    while not (tmp_path / "waiting").exists():
        pass
    notebook.interrupt()
    notebook.interrupt()
    stopped = notebook.finish(cell)
    state = notebook.run("print(run.wait_quietly(20), run.status, run.failures)")

    assert stopped.errors[0].startswith("KeyboardInterrupt")
    assert state.stdout.strip() == "True cancelled ()"
    assert pids(notebook) == before
    assert notebook.run("print(graph.run(n=3, seconds=0.0).output(work))").stdout.strip() == "[0, 1, 2]"


def test_stop_while_the_cell_prints_leaves_a_run_in_the_background_alone(notebook: Kernel, tmp_path: Path) -> None:
    cell = notebook.begin(
        "run = graph.start(n=40, seconds=0.05)\nwhile True:\n    print('still')\n    time.sleep(0.001)"
    )
    notebook.wait_for_output("still")
    notebook.interrupt()
    stopped = notebook.finish(cell)
    state = notebook.run("print(run.wait().status, run.output(work) == list(range(40)))")

    assert stopped.errors[0].startswith("KeyboardInterrupt")
    assert state.stdout.strip() == "succeeded True"


def test_stop_during_a_resumption_cancels_it_and_the_next_one_is_exact(notebook: Kernel, tmp_path: Path) -> None:
    interrupt_when_begun(notebook, tmp_path, "run = graph.start(n=80, seconds=0.05); run.wait()", element=4)
    interrupt_when_begun(notebook, tmp_path, "run.resume()", element=40)
    state = notebook.run("print(run.status, run.failures)")
    resumed = notebook.run("run.resume(); print(run.status, run.output(work) == list(range(80)))")

    assert state.stdout.strip() == "cancelled ()"
    assert resumed.stdout.strip() == "succeeded True"


def test_stop_while_outputs_are_read_only_ends_the_reading(notebook: Kernel) -> None:
    notebook.run("run = graph.run(n=300, seconds=0.0)")
    cell = notebook.begin("print('reading')\nwhile True:\n    [*run.outputs(work)]")
    notebook.wait_for_output("reading")
    notebook.interrupt()
    stopped = notebook.finish(cell)

    assert stopped.errors[0].startswith("KeyboardInterrupt")
    read = notebook.run("print(run.status, run.output(work) == list(range(300)))")
    assert read.stdout.strip() == "succeeded True"


def test_stop_while_the_cluster_starts_cancels_the_run_and_the_next_one_works(tmp_path: Path) -> None:
    with kernel(tmp_path) as notebook:
        notebook.run(f"{SET_UP}\nFOLDER = {str(tmp_path)!r}")
        cell = notebook.begin("run = graph.start(n=3, seconds=0.0); print('begun'); run.wait()")
        notebook.wait_for_output("begun")
        notebook.interrupt()
        stopped = notebook.finish(cell)
        state = notebook.run("print(run.wait_quietly(20), run.status)")
        again = notebook.run("print(run.resume().output(work))")

    assert stopped.errors[0].startswith("KeyboardInterrupt")
    assert state.stdout.strip() == "True cancelled"
    assert again.stdout.strip() == "[0, 1, 2]"
