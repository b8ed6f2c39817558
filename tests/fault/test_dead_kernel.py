"""A kernel that ends, in whatever way, takes its worker processes with it, whatever those are doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.kernels import kernel
from tests.support.leftovers import Mark, marked
from tests.support.notes import Notes

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SCRIPT = """
import ctypes, sys, time
from tensorlake_nb import *
from tests.support.notes import Notes

configure(store="store", workers=2)
notes = Notes("notes")

@tensorlake_function()
def each(ways: list[str]) -> list[str]:
    return ways

@tensorlake_function()
def work(how: str) -> None:
    import os
    notes.add(f"{how} {os.getpid()}")
    if how == "in C":
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter lock
    while how == "in Python":
        pass
    while how in ("waiting", "stopped"):
        time.sleep(1)

if __name__ == "__main__":
    Graph("work", each).add_edge(each, work).run(ways=sys.argv[1:])
    notes.add("done")
    time.sleep(60)
"""


@dataclass
class Script:
    """A script that runs a graph, each of whose two workers is busy in its own way."""

    folder: Path
    mark: Mark

    def start(self, *ways: str) -> subprocess.Popen[bytes]:
        (self.folder / "script.py").write_text(SCRIPT)
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "script.py", *ways],
            cwd=self.folder,
            env={
                **os.environ,
                **self.mark.environment,
                "TMPDIR": str(scratch),
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
            },
        )

    def workers(self, *ways: str) -> dict[str, int]:
        """The process of the worker that is busy in each way, once all are."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            noted = dict(line.rsplit(" ", 1) for line in self.notes.all() if " " in line)
            if set(ways) <= noted.keys():
                return {how: int(noted[how]) for how in ways}
            time.sleep(0.01)
        raise TimeoutError(f"only {self.notes.all()} have begun")

    @property
    def notes(self) -> Notes:
        return Notes(str(self.folder / "notes"))

    def scratch(self) -> set[str]:
        """Directories that workers and schedulers have, or had."""
        return {path.name for path in (self.folder / "scratch").glob("*/*/*") if path.is_dir()}


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    with marked() as mark:
        yield Script(tmp_path, mark)


@pytest.mark.parametrize(
    ("ways", "how"),
    [
        (("in Python", "waiting"), signal.SIGTERM),
        (("in C", "stopped"), signal.SIGKILL),
    ],
)
def test_no_worker_survives_its_kernel(script: Script, ways: tuple[str, ...], how: signal.Signals) -> None:
    process = script.start(*ways)
    workers = script.workers(*ways)
    if "stopped" in workers:
        os.kill(workers["stopped"], signal.SIGSTOP)
    assert len(script.mark.processes()) >= 3

    process.send_signal(how)
    process.wait(30)

    assert script.mark.left(within_s=10) == []


def test_what_a_dead_kernels_cluster_left_on_the_disk_goes_when_the_next_one_starts(script: Script) -> None:
    process = script.start("waiting")
    script.workers("waiting")
    process.kill()
    process.wait(30)
    assert script.mark.left() == []
    left = script.scratch()
    script.notes.take()

    again = script.start("at once")
    script.notes.wait_for("done")

    assert left
    assert not left & script.scratch()
    again.kill()
    again.wait(30)


SET_UP = """
import os, time
from tensorlake_nb import *
from tests.support.notes import Notes
configure(store="store", workers=2)
notes = Notes("calls")

@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))

@tensorlake_function()
def work(i: int) -> int:
    notes.add(i)
    while i == 5 and not os.path.exists("gate"):
        time.sleep(0.01)
    return i

graph = Graph("ended", numbers).add_edge(numbers, work)
run = graph.start(n=40)
print(os.getpid())
"""
GO_ON = """
from tensorlake_nb import *
configure(store="store", workers=2)
run = Run.list()[0]
print(run.status, run.counts("work")["failed"])
run.resume()
print(run.status, run.output("work") == list(range(40)), sum(run.counts("work").values()))
"""


@pytest.mark.parametrize("how", ["restart", "terminate"])
def test_a_kernel_that_ends_in_the_middle_of_a_run_leaves_nothing_and_the_run_goes_on(tmp_path: Path, how: str) -> None:
    calls = Notes(str(tmp_path / "calls"))
    with marked() as mark, kernel(tmp_path, {**mark.environment, "PYTHONPATH": str(ROOT)}) as notebook:
        process = psutil.Process(int(notebook.run(SET_UP).stdout))
        calls.wait_for("5")
        calls.wait_for("39")  # all others are through
        before = mark.processes()
        if how == "terminate":
            process.terminate()
            process.wait(20)
        notebook.restart(now=how == "terminate")

        psutil.wait_procs(before, timeout=20)
        assert [process for process in before if process.is_running()] == []
        (tmp_path / "gate").touch()
        assert notebook.run(GO_ON).stdout.split("\n")[:2] == ["interrupted 0", "succeeded True 40"]
    assert sorted(calls.all(), key=int) == sorted([*map(str, range(40)), "5"], key=int), "one call was cut short"
    assert mark.left() == []
