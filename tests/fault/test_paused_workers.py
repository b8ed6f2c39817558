"""Workers of the embedded cluster that are paused (SIGSTOP) in the middle of a call."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tensorlake_nb import Graph, Retries, configure, tensorlake_function
from tensorlake_nb.engine.cluster import nanny as nannies
from tensorlake_nb.engine.cluster.session import current
from tests.support.notes import Notes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
PATIENCE_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    configure(cluster="embedded", workers=2)
    yield
    configure(cluster="threads", workers=2)
    current().close()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    configure(store=tmp_path / "store")
    return Notes(str(tmp_path / "notes"))


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


def callers(notes: Notes, x: int) -> list[int]:
    """The processes that have begun to call an element, one after the other."""
    return [int(line.split()[2]) for line in notes.all() if line.startswith(f"begun {x} ")]


def called_by(notes: Notes, x: int, times: int = 1) -> list[int]:
    until = time.monotonic() + PATIENCE_S
    while len(found := callers(notes, x)) < times:
        assert time.monotonic() < until, f"element {x} wasn't called {times} times: {notes.all()}"
        time.sleep(0.01)
    return found


def test_a_worker_that_goes_on_after_its_call_s_deadline_costs_that_call_one_attempt_and_frees_its_slot(
    notes: Notes,
) -> None:
    timeout_s = 1.0

    @tensorlake_function(timeout=timeout_s, retries=Retries(max_retries=1, initial_delay=0.01))
    def work(x: int) -> int:
        notes.add(f"begun {x} {os.getpid()}")
        while x == 3 and len(callers(notes, x)) == 1:
            pass
        return 2 * x

    @tensorlake_function()
    def meet(x: int) -> int:
        notes.add(f"met {x}")
        notes.wait_for(f"met {1 - x}")
        return x

    run = Graph("late", numbers).add_edge(numbers, work).start(n=8)
    (paused,) = called_by(notes, 3)
    os.kill(paused, signal.SIGSTOP)
    try:
        time.sleep(timeout_s + 0.5)  # the deadline passes
    finally:
        os.kill(paused, signal.SIGCONT)
    run.wait(PATIENCE_S)

    assert run.output("work") == [2 * x for x in range(8)]
    assert run.failures == ()
    assert [len(callers(notes, x)) for x in range(8)] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert Graph("both", numbers).add_edge(numbers, meet).run(n=2).output("meet") == [0, 1], "both slots are free"


def test_a_worker_that_stays_paused_is_replaced_and_its_call_is_made_elsewhere_without_being_charged(
    tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nannies, "MOST_PAUSED_LOOKS", 2)
    gate = tmp_path / "gate"

    @tensorlake_function()
    def work(x: int) -> int:
        notes.add(f"begun {x} {os.getpid()}")
        while x == 3 and not os.path.exists(gate):
            time.sleep(0.01)
        return 2 * x

    run = Graph("paused", numbers).add_edge(numbers, work).start(n=8)
    (paused,) = called_by(notes, 3)
    os.kill(paused, signal.SIGSTOP)
    called_by(notes, 3, times=2)
    gate.touch()
    run.wait(PATIENCE_S)

    assert run.output("work") == [2 * x for x in range(8)]
    assert (run.status, run.failures) == ("succeeded", ()), "no retries are allowed, and none was needed"
    assert [len(callers(notes, x)) for x in range(8)] == [1, 1, 1, 2, 1, 1, 1, 1]
    wait_until(lambda: not psutil.pid_exists(paused))
