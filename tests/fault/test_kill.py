"""SIGKILL of everything - kernel and workers - at any moment: what is finished is never called again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parent.parent / "support" / "counted_pipeline.py"
SIZE = 150
WORKERS = 2


@dataclass(frozen=True)
class Outcome:
    """What a killed run and the run after it did together."""

    ended_before: int
    called_twice: int
    said: str


def start(folder: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PIPELINE), str(folder / "store"), str(folder / "calls"), str(SIZE), how]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kill_and_run_again(folder: Path, at_call: int, how: str = "run") -> Outcome:
    """Kill the process group when so many lines are written, then run to the end."""
    process = start(folder, "run")
    while process.poll() is None and len(calls(folder)) < at_call:
        pass
    kill_group(process)
    before = calls(folder)
    ended = {line.removeprefix("end ") for line in before if line.startswith("end ")}
    again = start(folder, how)
    said, _ = again.communicate(timeout=120)
    begun_after = Counter(
        line.removeprefix("begin ") for line in calls(folder)[len(before) :] if line.startswith("begin ")
    )
    assert max(begun_after.values(), default=0) <= 1, "the second run called something twice by itself"
    return Outcome(len(ended), sum(begun_after[element] for element in ended), said)


@pytest.mark.parametrize("seed", range(4))
def test_after_a_kill_only_what_was_being_computed_is_called_again(tmp_path: Path, seed: int) -> None:
    at_call = random.Random(seed).randrange(3, 4 * SIZE)

    outcome = kill_and_run_again(tmp_path, at_call)

    assert outcome.said.startswith("right"), outcome.said
    # A call that has written its "end" may still have been at its last instruction: at most one in each worker.
    assert outcome.called_twice <= WORKERS


def test_a_killed_run_is_resumed_by_its_id_alone(tmp_path: Path) -> None:
    outcome = kill_and_run_again(tmp_path, at_call=SIZE, how="resume")

    assert outcome.said.startswith("right"), outcome.said
    assert outcome.called_twice <= WORKERS
    assert outcome.ended_before > 0
