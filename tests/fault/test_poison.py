"""An element that ends its worker fails alone, and is named with how the process died."""

from __future__ import annotations

import ctypes
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tensorlake_nb import Graph, Retries, Run, configure, tensorlake_function
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.cluster.connection import connect
from tensorlake_nb.errors import TaskFailedError

POISON, FATAL = 7, 13


@tensorlake_function()
def numbers(n: int, calls: str) -> list[tuple[int, str]]:
    return [(i, calls) for i in range(n)]


def note(x: int, calls: str) -> None:
    handle = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{x}\n".encode())
    os.close(handle)


@tensorlake_function(retries=Retries(max_retries=1, initial_delay=0.1))
def work(x: int, calls: str) -> int:
    note(x, calls)
    if x == POISON:
        os._exit(3)
    if x == FATAL:
        ctypes.string_at(0)
    time.sleep(0.005)
    return x


@tensorlake_function(timeout=1)
def hang(x: int, calls: str) -> int:
    note(x, calls)
    if x == POISON:
        time.sleep(60)
    if x == FATAL:
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter lock: no thread of the process can do anything
    return x


@tensorlake_function(retries=Retries(max_retries=1, initial_delay=0.1))
def hoard(x: int, calls: str) -> int:
    note(x, calls)
    kept = []
    while x == POISON:
        kept.append(bytearray(20_000_000))
        time.sleep(0.01)
    return x


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    configure(store=tmp_path / "store", cluster="embedded", workers=2)
    return tmp_path / "calls"


def called(calls: Path) -> Counter[int]:
    return Counter(int(line) for line in calls.read_text().split())


def test_a_poison_element_fails_alone_after_its_own_attempts(calls: Path) -> None:
    graph = Graph(name="poison", start_node=numbers, on_error="continue").add_edge(numbers, work)

    run = graph.run(n=40, calls=str(calls))

    assert sorted(run.output(work)) == [i for i in range(40) if i not in (POISON, FATAL)]
    assert {failure.index: failure.error for failure in run.failures} == {
        POISON: "its worker process ended (exit code 3)",
        FATAL: "its worker process ended (SIGSEGV)",
    }
    assert called(calls) == Counter(range(40)) + Counter([POISON, FATAL]), "neighbours are called once"
    assert run.counts(work) == {"computed": 38, "replayed": 0, "failed": 2, "cancelled": 0, "pending": 0}


def test_the_error_of_a_dead_worker_names_the_element_and_how_it_died(calls: Path) -> None:
    graph = Graph(name="fatal", start_node=numbers).add_edge(numbers, work)

    with pytest.raises(TaskFailedError, match=r"'work' failed on element 7, input \(7, .*exit code 3") as caught:
        graph.run(n=10, calls=str(calls))

    assert isinstance(caught.value.run, Run)


def test_a_hung_call_ends_at_its_timeout_and_costs_only_itself(calls: Path) -> None:
    graph = Graph(name="hang", start_node=numbers, on_error="continue").add_edge(numbers, hang)

    began = time.monotonic()
    run = graph.run(n=20, calls=str(calls))

    assert time.monotonic() - began < 40, "it hangs for a minute"
    assert sorted(run.output(hang)) == [i for i in range(20) if i not in (POISON, FATAL)]
    assert [(failure.index, failure.kind) for failure in run.failures] == [(POISON, "timeout"), (FATAL, "timeout")]
    assert [failure.error for failure in run.failures] == [
        "TaskTimeoutError: 'hang' took longer than its timeout of 1 s, and its worker process was ended",
        "TaskTimeoutError: it took longer than its timeout, and its worker process was ended",  # it could tell nothing
    ]
    assert max(called(calls).values()) == 1


def test_a_call_that_keeps_the_event_loop_is_found_among_those_that_share_it(calls: Path) -> None:
    @tensorlake_function(timeout=1.5, max_concurrency=4)
    async def shares(x: int, calls: str) -> int:
        import asyncio

        note(x, calls)
        if x == 3:
            await asyncio.sleep(0.3)
            time.sleep(60)
        await asyncio.sleep(1.0)
        return x

    graph = Graph(name="loop", start_node=numbers, on_error="continue").add_edge(numbers, shares)
    run = graph.run(n=8, calls=str(calls))

    assert [(failure.index, failure.kind) for failure in run.failures] == [(3, "timeout")]
    assert sorted(run.output(shares)) == [0, 1, 2, 4, 5, 6, 7]
    assert max(called(calls).values()) == 2, "once beside the others, once alone"


def test_an_element_that_takes_all_memory_fails_alone_and_is_told_the_limit(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "connect", partial(connect, memory_limit="400MB"))
    configure(cluster="embedded", workers=1)  # another number, so that one is started
    graph = Graph(name="hoard", start_node=numbers, on_error="continue").add_edge(numbers, hoard)

    run = graph.run(n=12, calls=str(calls))

    assert sorted(run.output(hoard)) == [i for i in range(12) if i != POISON]
    assert {failure.index: failure.error for failure in run.failures} == {
        POISON: "its worker process ended (SIGTERM: it used more than its 381 MiB of memory)"
    }
    assert called(calls) == Counter(range(12)) + Counter([POISON]), "neighbours are called once"


def test_what_a_chain_has_finished_before_its_worker_died_is_not_called_again(calls: Path) -> None:
    """One element is carried through several functions in one batch; all but the last had committed."""

    @tensorlake_function()
    def first(calls: str) -> str:
        note(1, calls)
        return calls

    @tensorlake_function()
    def second(calls: str) -> str:
        note(2, calls)
        return calls

    @tensorlake_function(retries=Retries(max_retries=1, initial_delay=0.1))
    def third(calls: str) -> str:
        note(3, calls)
        if Path(calls).read_text().split().count("3") == 1:
            os._exit(3)
        return calls

    run = Graph("chain", first).add_edge(first, second).add_edge(second, third).run(calls=str(calls))

    assert run.result() == str(calls)
    assert called(calls) == Counter([1, 2, 3, 3])


@pytest.mark.parametrize("known", [False, True], ids=["computed", "replayed"])
def test_a_call_further_along_a_chain_that_ends_its_worker_is_made_once(calls: Path, known: bool) -> None:
    @tensorlake_function()
    def first(x: int, calls: str) -> tuple[int, str]:
        note(1, calls)
        return x, calls

    @tensorlake_function()
    def second(x: int, calls: str) -> tuple[int, str]:
        note(2, calls)
        return x, calls

    @tensorlake_function()
    def third(x: int, calls: str) -> int:
        note(3, calls)
        os._exit(3)

    chain = Graph(name="chain", start_node=first).add_edge(first, second)
    if known:
        chain.run(x=1, calls=str(calls))
        calls.unlink()
    graph = chain.add_edge(second, third)

    with pytest.raises(TaskFailedError, match=r"'third' failed .*exit code 3") as caught:
        graph.run(x=1, calls=str(calls))

    assert called(calls) == Counter([3] if known else [1, 2, 3]), "no retries: an attempt is one call"
    assert caught.value.run is not None
    assert caught.value.run.counts(second)["replayed" if known else "computed"] == 1
    assert caught.value.run.counts(third)["failed"] == 1


def test_a_call_further_along_a_chain_that_ends_its_worker_has_its_retries(calls: Path) -> None:
    @tensorlake_function()
    def begins(x: int, calls: str) -> tuple[int, str]:
        return x, calls

    graph = Graph(name="retried-chain", start_node=begins).add_edge(begins, work)

    with pytest.raises(TaskFailedError, match="exit code 3"):
        graph.run(x=POISON, calls=str(calls))

    assert called(calls) == Counter({POISON: 2})
