"""Worker processes that die, hang or are stopped while they run a batch: what is finished stays, what was computed
at that moment is known, and nothing else is called again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.batches.batch import Column, FailureKind
from tensorlake_nb.core.keys import Digest, task_key
from tensorlake_nb.engine.calls import loaded as functions
from tensorlake_nb.engine.calls.cancellation import forget_run, request_cancel
from tensorlake_nb.engine.calls.reporting import BatchBegun, Message, Overran, decoded, topic_of
from tensorlake_nb.engine.cluster.connection import Connection, connect, death_of
from tensorlake_nb.engine.worker.execute import run_batch
from tests.support.batches import RUN, Bench, Calls
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    made = connect("embedded", workers=1)
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    functions.clear()
    yield Bench(str(tmp_path / "store"))
    functions.clear()


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(str(tmp_path / "calls"))


def client_of(connection: Connection) -> Any:
    return connection.client


def worker_of(connection: Connection) -> tuple[str, int]:
    """Address and process of the only worker, once there is one."""
    found: dict[str, int] = {}

    def is_there() -> bool:
        found.clear()
        found.update(client_of(connection).run(os.getpid, on_error="ignore"))
        return len(found) == 1

    wait_until(is_there)
    return next(iter(found.items()))


def interrupted(bench: Bench, batch: Any) -> set[bytes]:
    call = batch.calls[0]
    writer = bench.store.writer(call.fingerprint, f"{batch.run_id}-{batch.name}")
    keys = set(writer.interrupted())
    writer.abandon()
    return keys


def kills_itself(how: str) -> None:
    if how == "exit":
        os._exit(7)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        import ctypes

        ctypes.string_at(0)


@pytest.mark.parametrize(("how", "cause"), [("exit", "exit code 7"), ("kill", "SIGKILL"), ("segfault", "SIGSEGV")])
def test_a_dying_worker_loses_only_what_it_was_computing(
    connection: Connection, bench: Bench, calls: Calls, how: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @tensorlake_function
    def deadly(x: int) -> int:
        calls.note(x)
        if x == 3 and len(calls.all()) <= 3:
            kills_itself(how)
        return x * 10

    batch = bench.batch(bench.call(deadly), [1, 2, 3, 4])
    address, _ = worker_of(connection)
    future = client_of(connection).submit(run_batch, batch, pure=False)

    assert type(future.exception(timeout=30)).__name__ == "KilledWorker"
    assert death_of(connection, address) == cause

    worker_of(connection)
    (receipt,) = client_of(connection).submit(run_batch, batch, pure=False).result(timeout=30)

    assert bench.values(receipt) == [10, 20, 30, 40]
    assert calls.all() == ["1", "2", "3", "3", "4"]
    assert (receipt.done, receipt.failures) == (4, ())


def test_the_driver_can_find_out_what_a_dead_worker_was_computing(
    connection: Connection, bench: Bench, calls: Calls
) -> None:
    @tensorlake_function
    def poison(x: int) -> int:
        if x == 2:
            os._exit(7)
        return x

    batch = bench.batch(bench.call(poison), [1, 2, 3])
    worker_of(connection)
    future = client_of(connection).submit(run_batch, batch, pure=False)
    assert future.exception(timeout=30) is not None

    keys = [task_key(batch.calls[0].fingerprint, Digest(batch.given[i : i + 32])) for i in (0, 32, 64)]
    assert interrupted(bench, batch) == {keys[1]}


def test_a_dying_worker_loses_one_step_of_a_fold(connection: Connection, bench: Bench, calls: Calls) -> None:
    @tensorlake_function(accumulate=list)
    def join(parts: list[int], part: int) -> list[int]:
        calls.note(part)
        if part == 3 and len(calls.all()) <= 3:
            os._exit(7)
        parts.append(part)
        return parts

    batch = bench.fold(bench.call(join), [1, 2, 3, 4])
    worker_of(connection)
    assert client_of(connection).submit(run_batch, batch, pure=False).exception(timeout=30) is not None
    worker_of(connection)
    (receipt,) = client_of(connection).submit(run_batch, batch, pure=False).result(timeout=30)

    assert bench.values(receipt) == [[1, 2, 3, 4]]
    assert calls.all() == ["1", "2", "3", "3", "4"]


@pytest.mark.alone
def test_a_hanging_call_ends_with_its_process_and_is_told(connection: Connection, bench: Bench) -> None:
    @tensorlake_function(timeout=0.2)
    def hangs(x: int) -> int:
        if x == 2:
            time.sleep(60)  # in C: no exception arrives
        return x

    heard: list[Message | None] = []
    client_of(connection).subscribe_topic(topic_of(RUN), lambda event: heard.append(decoded(event[1])))
    batch = bench.batch(bench.call(hangs), [1, 2])
    address, pid = worker_of(connection)
    began = time.monotonic()
    future = client_of(connection).submit(run_batch, batch, pure=False)

    assert future.exception(timeout=30) is not None
    assert time.monotonic() - began < 8.0
    assert death_of(connection, address) == "timeout"
    wait_until(lambda: any(isinstance(message, Overran) for message in heard))
    assert BatchBegun(batch.name, "hangs", address, pid) in heard
    assert Overran(batch.name, "hangs", 1, 0.2, exits=True) in heard
    client_of(connection).unsubscribe_topic(topic_of(RUN))
    assert len(bench.store.index(batch.calls[0].fingerprint, refresh=True)) == 1


def test_a_call_that_locks_its_interpreter_up_is_ended_by_the_alarm(connection: Connection, bench: Bench) -> None:
    @tensorlake_function(timeout=0.2)
    def locked(x: int) -> int:
        import ctypes

        ctypes.PyDLL(None).sleep(60)
        return x

    address, _ = worker_of(connection)
    future = client_of(connection).submit(run_batch, bench.batch(bench.call(locked), [1]), pure=False)

    assert future.exception(timeout=30) is not None
    assert death_of(connection, address) == "timeout"


def test_a_worker_paused_past_the_deadline_that_goes_on_costs_a_timeout_and_nothing_else(
    connection: Connection, bench: Bench, calls: Calls
) -> None:
    @tensorlake_function(timeout=0.5)
    def paused(x: int) -> int:
        calls.note(x)
        while x == 2:
            pass
        return x

    batch = bench.batch(bench.call(paused), [1, 2, 3], stop_on_failure=False)
    address, pid = worker_of(connection)
    future = client_of(connection).submit(run_batch, batch, pure=False)
    wait_until(lambda: calls.all() == ["1", "2"])
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(pid, signal.SIGCONT)
    error = future.exception(timeout=30)

    if error is None:  # the exception came first
        (receipt,) = future.result()
        assert [failure.kind for failure in receipt.failures] == [FailureKind.TIMEOUT]
        assert bench.values(receipt) == [1, 3]
    else:
        assert death_of(connection, address) == "timeout"
        assert len(bench.store.index(batch.calls[0].fingerprint, refresh=True)) == 1


@pytest.mark.alone
def test_cancelling_frees_a_worker_at_once(connection: Connection, bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def long(x: int) -> int:
        calls.note(x)
        while x == 2:
            pass
        return x

    batch = bench.batch(bench.call(long), [1, 2, 3])
    _, pid = worker_of(connection)
    future = client_of(connection).submit(run_batch, batch, pure=False)
    wait_until(lambda: calls.all() == ["1", "2"])
    began = time.monotonic()
    client_of(connection).run(request_cancel, RUN)
    (receipt,) = future.result(timeout=30)
    client_of(connection).run(forget_run, RUN)

    assert time.monotonic() - began < 2.0
    assert receipt.done == 1
    assert bench.values(receipt) == [1]
    assert worker_of(connection)[1] == pid, "its worker lives on"


def test_classes_of_a_notebook_are_one_class_for_all_functions_of_a_worker(
    connection: Connection, bench: Bench
) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Reading:\n    value: float\n"
        "def make(x):\n    return Reading(x)\n"
        "def check(reading):\n    return type(reading) is Reading and isinstance(reading, Reading)\n",
        namespace,
    )
    make, check = tensorlake_function(namespace["make"]), tensorlake_function(namespace["check"])
    made = client_of(connection).submit(run_batch, bench.batch(bench.call(make), [1.5]), pure=False).result(timeout=30)
    spans = made[0].pieces[0].outputs.spans
    checked = bench.batch_of(bench.call(check), (Column(spans),), made[0].pieces[0].outputs.digests)
    (receipt,) = client_of(connection).submit(run_batch, checked, pure=False).result(timeout=30)

    assert bench.values(receipt) == [True]
    (value,) = bench.store.read(spans, bench.resolver)
    assert type(value) is namespace["Reading"]
