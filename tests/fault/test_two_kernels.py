"""Two kernels on one store, with the same graph at the same time: both right, and each task computed once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parent.parent.parent
SHIFTED = ROOT / "tests" / "support" / "shifted"
SIZE = 120
#: Twenty beats without a sign of life, and a run is given up.
BEAT_S = 0.1


class Kernels:
    """Processes that run the same pipeline; each in a group of its own with its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, shift_s: int = 0, pipeline: str = "shared", fails: str = "") -> subprocess.Popen[str]:
        path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "SHIFT_S": str(shift_s), "FAILS": fails}
        environment["PYTHONPATH"] = os.pathsep.join([str(SHIFTED), *path] if shift_s else path)
        command = [sys.executable, "-m", f"tests.support.{pipeline}_pipeline"]
        command += [str(self.folder / "store"), str(self.folder / "calls"), str(SIZE), str(BEAT_S)]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def signal(self, process: subprocess.Popen[str], number: signal.Signals) -> None:
        """To a kernel and its workers, each of which leads a process group."""
        with suppress(psutil.Error):
            kernel = psutil.Process(process.pid)
            for each in [kernel, *kernel.children()]:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(number)

    def calls(self, what: str = "begin") -> Counter[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.removeprefix(f"{what} ") for line in lines if line.startswith(f"{what} "))

    def wait_for(self, call: str) -> None:
        while not self.calls()[call]:
            assert any(process.poll() is None for process in self.running), "all have ended"

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                self.signal(process, signal.SIGKILL)
            process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=90)
    return output


@pytest.fixture
def kernels(tmp_path: Path) -> Iterator[Kernels]:
    made = Kernels(tmp_path)
    yield made
    made.close()


def test_each_task_is_computed_once(kernels: Kernels) -> None:
    first, second = kernels.start(), kernels.start()

    answers = [said(first), said(second)]

    assert all(answer.startswith("right") for answer in answers), answers
    assert set(kernels.calls().values()) == {1}
    computed = [int(answer.split()[1]) for answer in answers]
    assert sum(computed) == SIZE
    assert not any((kernels.folder / "store" / "claims" / "runs").iterdir()), "no lease stays behind"


def test_clocks_that_are_an_hour_apart_change_nothing(kernels: Kernels) -> None:
    first = kernels.start(shift_s=3600)
    kernels.wait_for("slow 3")
    second = kernels.start(shift_s=-3600)

    answers = [said(first), said(second)]

    assert all(answer.startswith("right") for answer in answers), answers
    assert set(kernels.calls().values()) == {1}
    again = said(kernels.start())
    assert again.split() == ["right", "0", str(SIZE)]


def test_what_a_killed_kernel_had_claimed_is_taken_over(kernels: Kernels) -> None:
    first = kernels.start()
    kernels.wait_for("slow 3")
    second = kernels.start()
    kernels.wait_for("slow 20")

    kernels.signal(first, signal.SIGKILL)
    ended = kernels.calls("end")

    answer = said(second)
    assert answer.startswith("right"), answer
    twice = {call for call, times in kernels.calls().items() if times > 1}
    assert len(twice - ended.keys()) <= 1, "one worker was at one call when it was killed"
    assert len(twice & ended.keys()) <= 1, "it had written its own end, and died before its checkpoint"


def test_what_a_paused_kernel_had_claimed_is_taken_over_and_its_late_commits_do_no_harm(kernels: Kernels) -> None:
    first = kernels.start()
    kernels.wait_for("slow 3")
    second = kernels.start()
    kernels.wait_for("slow 20")

    kernels.signal(first, signal.SIGSTOP)
    answer = said(second)
    kernels.signal(first, signal.SIGCONT)

    assert answer.startswith("right"), answer
    late = said(first)
    assert late.startswith("right"), late
    again = said(kernels.start())
    assert again.split() == ["right", "0", str(SIZE)]


@pytest.mark.parametrize("call", ["slow 7", "total 7"])
def test_what_fails_in_one_kernel_is_tried_by_the_other_at_once(kernels: Kernels, call: str) -> None:
    first = kernels.start(pipeline="failing", fails=call)
    kernels.wait_for(call)

    second = kernels.start(pipeline="failing")

    assert [said(first).strip(), said(second).strip()] == [f"right but {call}", "right"]
    calls = kernels.calls()
    assert calls.pop(call) == 3, "twice in vain"
    assert set(calls.values()) == {1}
