"""What a call has started (a program, a pool) ends with its worker, however that ends; Stop doesn't reach it before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.kernels import kernel
from tests.support.leftovers import Mark, marked
from tests.support.notes import PATIENCE_S, Notes
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SCRIPT = """
import ctypes, multiprocessing, os, subprocess, sys, time
from tensorlake_nb import *
from tests.support.notes import Notes

how = sys.argv[1]
configure(store="store", workers=1)
notes = Notes("notes")

@tensorlake_function(timeout=0.5 if how in ("timeout", "timeout in C") else 600)
def work() -> None:
    children = [multiprocessing.get_context(way).Process(target=time.sleep, args=(600,)) for way in ("fork", "spawn")]
    for child in children:
        child.start()
    program = subprocess.Popen(["sh", "-c", "sleep 600; true"])
    notes.add(" ".join(str(pid) for pid in (os.getpid(), program.pid, *(child.pid for child in children))))
    if how == "timeout in C":
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter lock
    if how != "return":
        program.wait()

if __name__ == "__main__":
    run = Graph("work", work).start()
    if how == "cancel":
        while not notes.all():
            time.sleep(0.01)
        run.cancel()
    try:
        run.wait()
    except TensorlakeError as error:
        print(error)
    notes.add("ended")
    if how != "return":
        time.sleep(60)
"""


@pytest.fixture
def mark() -> Iterator[Mark]:
    with marked() as made:
        yield made


@pytest.mark.parametrize("how", ["timeout", "timeout in C", "cancel", "worker", "kernel", "return"])
def test_what_a_call_has_started_ends_with_its_worker(tmp_path: Path, mark: Mark, how: str) -> None:
    notes = Notes(str(tmp_path / "notes"))
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py", how],
        cwd=tmp_path,
        env={**os.environ, **mark.environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.DEVNULL,
    )
    wait_until(notes.all)
    worker, *started = (int(pid) for pid in notes.all()[0].split())

    if how == "worker":
        os.kill(worker, signal.SIGKILL)
    if how == "kernel":
        process.kill()
    elif how == "return":
        process.wait(PATIENCE_S)
    else:
        notes.wait_for("ended")

    wait_until(lambda: not any(is_alive(pid) for pid in started))
    process.kill()
    process.wait(PATIENCE_S)
    assert mark.left() == []


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


PROGRAM = """
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: (print("half of it", flush=True), os._exit(0)))
open("up", "a").close()
while not os.path.exists("gate"):
    time.sleep(0.01)
print("all of it")
"""
STOPPED = f"""
import subprocess, sys
from tensorlake_nb import *
from tests.support.notes import Notes
configure(store="store", workers=1)
notes = Notes("calls")

@tensorlake_function()
def work() -> str:
    notes.add("call")
    return subprocess.run([sys.executable, "-c", {PROGRAM!r}], capture_output=True, text=True).stdout.strip()

graph = Graph("work", work)
"""


def test_stop_doesnt_reach_a_program_whose_call_would_then_take_half_a_result(tmp_path: Path, mark: Mark) -> None:
    with kernel(tmp_path, {**mark.environment, "PYTHONPATH": str(ROOT)}) as notebook:
        assert notebook.run(STOPPED).status == "ok"
        cell = notebook.begin("run = graph.run()")
        wait_until((tmp_path / "up").exists)
        notebook.interrupt()
        assert notebook.finish(cell).status == "error"
        (tmp_path / "gate").touch()
        assert notebook.run("print(graph.run().output('work'))").stdout == "['all of it']\n"
    assert Notes(str(tmp_path / "calls")).all() == ["call", "call"]
    assert mark.left() == []
