"""Stop means stop: an interrupted cell ends at once, what is finished is kept, and the next run works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernels import Kernel, kernel

SET_UP = """
import time
from tensorlake_nb import *
configure(store="store", workers=2)

@tensorlake_function()
def numbers(n: int, seconds: float) -> list[tuple[int, float]]:
    return [(i, seconds) for i in range(n)]

@tensorlake_function()
def work(i: int, seconds: float) -> int:
    open(f"begun-{i}", "a").close()
    time.sleep(seconds)
    return i

graph = Graph(name="stop", start_node=numbers).add_edge(numbers, work)
graph.run(n=2, seconds=0.0)
print("ready")
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(tmp_path) as running:
        assert "ready" in running.run(SET_UP).stdout
        yield running


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


@pytest.mark.parametrize("seconds", [0.05, 30.0], ids=["short calls", "calls that hang"])
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


def test_workers_are_deaf_to_the_interrupt_and_go_on(notebook: Kernel, tmp_path: Path) -> None:
    workers = (
        "import os; from tensorlake_nb.engine.session import current\n"
        "print(sorted(current().connection().client.run(os.getpid).values()))"
    )
    before = notebook.run(workers).stdout

    interrupt_when_begun(notebook, tmp_path, "graph.run(n=500, seconds=0.05)")

    assert notebook.run(workers).stdout == before
