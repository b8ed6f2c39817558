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


BESIDE = """
import asyncio, subprocess, time
from tensorlake_nb import *
configure(store="store", workers=1)

@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))

@tensorlake_function(timeout=2, max_concurrency=16, inject_ctx=True)
async def work(ctx: RequestContext, x: int) -> str:
    while x == 0:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
    await asyncio.sleep(1.5)
    ctx.update_progress(1, 2)
    script = "echo half; sleep 1.8; echo all"  # under way when the worker is ended for what hangs beside it
    process = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=subprocess.PIPE)
    return str((await process.communicate())[0])

if __name__ == "__main__":
    run = Graph("beside", numbers, on_error="continue").add_edge(numbers, work).start(n=4)
    run.wait()
    print(0 in [failure.index for failure in run.failures], set(run.output(work)))
"""


def test_a_call_beside_one_that_hangs_never_takes_half_a_result(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(BESIDE)

    assert said_by(tmp_path) == ["True {\"b'half\\\\nall\\\\n'\"}"]


TERMINAL = """
import pty, subprocess, sys
from tensorlake_nb import *
configure(store="store", workers=1)
PROGRAM = '''
import os, termios
print(os.isatty(0))
try:
    terminal = os.open("/dev/tty", os.O_RDWR)
    termios.tcsetattr(terminal, termios.TCSANOW, termios.tcgetattr(terminal))
    print(os.read(terminal, 1))
except OSError as error:
    print("no terminal")
'''

@tensorlake_function(timeout=20)
def touches() -> list[str]:
    command = [sys.executable, "-c", PROGRAM]
    return [subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout]

if __name__ == "__main__":
    if sys.argv[1:] == ["in", "a", "terminal"]:
        print("said", Graph("terminal", touches).run().output(touches))
    else:
        pty.spawn([sys.executable, __file__, "in", "a", "terminal"])
"""


def test_a_program_that_touches_the_terminal_doesnt_stop_its_worker(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(TERMINAL)

    assert [line.strip() for line in said_by(tmp_path) if line.startswith("said")] == [
        "said ['False\\nno terminal\\n']"
    ]


def said_by(folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
