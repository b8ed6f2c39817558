"""Clusters: the embedded one, threads, somebody's own; and what is said of those that can't be used."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster, default_client, get_worker

from tensorlake_nb.engine.cluster import connection as cluster
from tensorlake_nb.engine.cluster import deaths
from tensorlake_nb.engine.cluster.connection import Connection, connect, death_of
from tensorlake_nb.engine.cluster.deaths import cause_of
from tensorlake_nb.engine.cluster.versions import versions_here
from tensorlake_nb.errors import ClusterError
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def embedded() -> Iterator[Connection]:
    connection = connect("embedded", workers=2)
    yield connection
    connection.close()


@pytest.fixture
def threads() -> Iterator[Connection]:
    connection = connect("threads", workers=2)
    yield connection
    connection.close()


def client_of(connection: Connection) -> Any:
    """The client, without types: much of distributed has none."""
    return connection.client


def addresses(connection: Connection) -> list[str]:
    return list(client_of(connection).nthreads())


def script(tmp_path: Path, text: str, **options: Any) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "script.py"
    file.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(file)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=90, cwd=tmp_path, check=False, **options
    )


# --- the embedded cluster --------------------------------------------------------------------------------------------


def test_workers_are_processes_with_one_thread_each(embedded: Connection) -> None:
    assert embedded.is_embedded
    assert embedded.has_processes
    assert embedded.slots() == 2
    assert set(client_of(embedded).run(os.getpid).values()).isdisjoint({os.getpid()})


def test_everything_listens_on_loopback_only(embedded: Connection) -> None:
    pids = [os.getpid(), *client_of(embedded).run(os.getpid).values()]
    listening = [
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]

    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_workers_are_deaf_to_the_interrupt_key(embedded: Connection) -> None:
    pids = list(client_of(embedded).run(os.getpid).values())
    for pid in pids:
        os.kill(pid, signal.SIGINT)

    assert client_of(embedded).submit(lambda: 5).result(timeout=20) == 5
    assert sorted(client_of(embedded).run(os.getpid).values()) == sorted(pids)


def test_a_program_that_a_worker_starts_may_listen_to_signals_of_its_own(embedded: Connection) -> None:
    blocked = client_of(embedded).submit(lambda: len(signal.pthread_sigmask(signal.SIG_BLOCK, []))).result(timeout=20)

    assert blocked == 0


def test_a_client_that_could_not_be_closed_is_forgotten_without_a_word(
    embedded: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    kind: Any = type(client_of(embedded))
    client = kind(client_of(embedded).scheduler.address, set_as_default=False)
    forgotten = weakref.ref(client)
    client.close()
    monkeypatch.setattr(sys, "unraisablehook", said.append)

    def close(self: object) -> None:
        raise ValueError("IOStream is not idle; cannot convert to SSL")

    monkeypatch.setattr(Client, "close", close)
    del client
    gc.collect()

    assert forgotten() is None
    assert said == []


@pytest.mark.alone
def test_a_killed_worker_is_replaced_and_its_death_is_known(embedded: Connection) -> None:
    first = addresses(embedded)[0]
    began = time.monotonic()
    embedded.kill_worker(first)
    wait_until(lambda: first not in addresses(embedded))
    assert time.monotonic() - began < 4.0, "it isn't asked to close first"

    wait_until(lambda: len(addresses(embedded)) == 2)
    assert death_of(embedded, first) == "SIGKILL"


def test_killing_works_while_the_worker_is_stuck_in_its_interpreter(embedded: Connection) -> None:
    def stuck() -> None:
        import ctypes

        ctypes.PyDLL(None).sleep(60)

    victim = addresses(embedded)[0]
    future = client_of(embedded).submit(stuck, workers=[victim], allow_other_workers=False, pure=False)
    wait_until(lambda: client_of(embedded).processing().get(victim))
    time.sleep(0.1)
    embedded.kill_worker(victim)
    wait_until(lambda: victim not in addresses(embedded) and len(addresses(embedded)) == 2)
    future.cancel(force=True)

    assert death_of(embedded, victim) == "SIGKILL"


@pytest.mark.parametrize("code", [3, 124])
def test_what_a_worker_died_of_is_known(embedded: Connection, code: int) -> None:
    def where_and_exit(code: int) -> None:
        os._exit(code)

    victim = addresses(embedded)[0]
    future = client_of(embedded).submit(where_and_exit, code, workers=[victim], pure=False)

    assert future.exception(timeout=20) is not None
    assert death_of(embedded, victim) == {3: "exit code 3", 124: "timeout"}[code]
    wait_until(lambda: len(addresses(embedded)) == 2)


def test_a_worker_at_the_address_of_a_dead_one_dies_of_its_own_cause(embedded: Connection) -> None:
    first = addresses(embedded)[0]
    deaths.note(first, "what somebody died of who had this port before")
    started: Any = embedded._cluster
    deaths.Births().add_worker(started.scheduler, first)
    embedded.kill_worker(first)
    wait_until(lambda: first not in addresses(embedded) and len(addresses(embedded)) == 2)

    assert death_of(embedded, first) == "SIGKILL"


def test_nothing_is_known_of_the_death_of_the_living(embedded: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_DEATH_NOTICE_S", 0.01)

    assert death_of(embedded, addresses(embedded)[0]) is None


def test_a_worker_that_takes_too_much_memory_dies_of_that() -> None:
    connection = connect("embedded", workers=1, memory_limit="400MB")
    try:

        def greedy() -> None:
            kept = []
            while True:
                kept.append(bytearray(20_000_000))
                time.sleep(0.02)

        victim = addresses(connection)[0]
        future = client_of(connection).submit(greedy)

        assert future.exception(timeout=60) is not None
        assert "used more than its 381 MiB of memory" in str(death_of(connection, victim))
    finally:
        connection.close()


def test_the_worker_tells_what_it_declares(embedded: Connection) -> None:
    assert embedded.resources() == [{}, {}]


def test_exit_codes_in_words() -> None:
    assert [cause_of(code) for code in (0, 3, -9, -11, -250, 124, -14)] == [
        "exit code 0",
        "exit code 3",
        "SIGKILL",
        "SIGSEGV",
        "signal 250",
        "timeout",
        "timeout",
    ]


def test_kernel_settings_are_left_as_they_were(embedded: Connection) -> None:
    import dask

    assert dask.config.get("distributed.scheduler.allowed-failures") == 3


def test_the_default_client_of_the_notebook_is_left_alone(embedded: Connection) -> None:
    with pytest.raises(ValueError, match="No clients found"):
        default_client()


# --- scripts ---------------------------------------------------------------------------------------------------------


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        "print('begun')\nfrom tensorlake_nb.engine.cluster.connection import connect\n"
        "connection = connect('embedded', workers=2)\n"
        "def f(x): return x + 1\n"
        "print(connection.client.submit(f, 1).result())\nconnection.close()\n",
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n2\n", "")


def test_a_script_that_just_ends_closes_its_cluster_quietly(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        "from tensorlake_nb.engine.cluster.connection import connect\nimport os\n"
        "connection = connect('embedded', workers=1)\nprint(list(connection.client.run(os.getpid).values())[0])\n",
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert not psutil.pid_exists(int(done.stdout))


def test_a_process_that_multiprocessing_started_is_refused_a_cluster(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        "import multiprocessing as mp\n"
        "from tensorlake_nb.engine.cluster.connection import connect\n"
        "def work():\n"
        "    try:\n        connect('embedded')\n    except Exception as error:\n        print(type(error).__name__)\n"
        "if __name__ == '__main__':\n"
        "    process = mp.get_context('spawn').Process(target=work, daemon=True)\n"
        "    process.start(); process.join()\n",
    )

    assert done.stdout == "ClusterError\n"


def test_a_call_may_start_processes_of_its_own_and_no_cluster(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        "import multiprocessing as mp\n"
        "from tensorlake_nb.engine.cluster.connection import connect\n"
        "def in_a_pool():\n"
        "    with mp.get_context('fork').Pool(2) as pool:\n        return pool.map(abs, [-1, -2])\n"
        "def nested():\n"
        "    try:\n        connect('embedded')\n    except Exception as error:\n        return type(error).__name__\n"
        "if __name__ == '__main__':\n"
        "    client = connect('embedded', workers=1).client\n"
        "    print(client.submit(in_a_pool).result(), client.submit(nested).result())\n",
    )

    assert (done.stdout, done.stderr, done.returncode) == ("[1, 2] ClusterError\n", "", 0)


def test_stop_pressed_while_the_cluster_starts_leaves_the_workers_alive(tmp_path: Path) -> None:
    text = """
import os, signal, threading, time
from tensorlake_nb.engine.cluster.connection import connect
signal.signal(signal.SIGINT, lambda *_: None)
stop = threading.Event()
def press():
    while not stop.is_set():
        os.killpg(os.getpgid(0), signal.SIGINT)
        time.sleep(0.01)
thread = threading.Thread(target=press)
thread.start()
connection = connect("embedded", workers=2)
before = sorted(connection.client.run(os.getpid).values())
stop.set(); thread.join()
print(len(before), before == sorted(connection.client.run(os.getpid).values()))
connection.close()
"""
    done = script(tmp_path, text, start_new_session=True)

    assert (done.stdout, done.stderr) == ("2 True\n", "")


# --- others ----------------------------------------------------------------------------------------------------------


def test_threads_of_this_process_listen_nowhere(threads: Connection) -> None:
    assert threads.is_embedded
    assert not threads.has_processes
    assert threads.slots() == 2
    assert threads.client.submit(os.getpid).result(timeout=20) == os.getpid()
    assert threads.client.submit(lambda: get_worker().nanny is None).result(timeout=20)
    assert threads.address.startswith("inproc://")


def test_connecting_works_inside_a_running_event_loop() -> None:
    async def cell() -> int:
        connection = connect("threads", workers=2)
        try:
            return int(connection.client.submit(lambda: 7).result(timeout=20))
        finally:
            connection.close()

    assert asyncio.run(cell()) == 7


def test_a_client_of_somebody_elses_stays_open() -> None:
    cluster_type: Any = LocalCluster
    client_type: Any = Client
    with (
        cluster_type(n_workers=1, processes=False, dashboard_address="127.0.0.1:0", memory_limit=None) as theirs,
        client_type(theirs, set_as_default=False) as client,
    ):
        connection = connect(client)
        connection.close()

        assert client.status == "running"
        assert not connection.is_embedded
        connection.kill_worker(addresses(connection)[0])
        assert connection.slots() >= 1, "it has no nanny, so nothing happened"


def test_an_address_is_connected_to(embedded: Connection) -> None:
    connection = connect(embedded.address)
    try:
        assert connection.slots() == 2
        assert connection.has_processes
        assert not connection.is_embedded
        assert death_of(connection, "tcp://127.0.0.1:9") is None
    finally:
        connection.close()
    assert embedded.slots() == 2


@pytest.mark.alone
def test_an_address_where_nobody_answers_is_a_clear_error_within_ten_seconds() -> None:
    began = time.monotonic()

    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        connect("tcp://127.0.0.1:9")
    assert time.monotonic() - began < 10.0


@pytest.mark.parametrize("address", ["bogus://x", "tcp://no such host:1"])
def test_an_address_that_is_none_is_a_clear_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)

    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        connect(address)


def test_something_else_than_a_cluster_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"5 is a int.*'embedded' or 'threads'"):
        connect(5)  # type: ignore[arg-type]
    with pytest.raises(
        ClusterError, match=r"'processes' isn't an address, which names a port.*'embedded' or 'threads'"
    ):
        connect("processes")


def test_other_versions_on_the_workers_are_named(embedded: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "versions_there", lambda *_: {"a": {**versions_here(), "cloudpickle": "1.0"}})

    with pytest.raises(ClusterError, match=r"cloudpickle is [\d.]+ here and 1\.0 there"):
        connect(embedded.address)


def test_workers_without_this_package_are_named(embedded: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'tensorlake_nb'", name="tensorlake_nb")

    monkeypatch.setattr("tensorlake_nb.engine.cluster.versions._versions_on_worker", missing)

    with pytest.raises(ClusterError, match=r"tensorlake_nb is .* here and missing there"):
        connect(embedded.address)


def test_a_closed_client_is_refused() -> None:
    connection = connect("threads", workers=2)
    connection.close()

    with pytest.raises(ClusterError, match="make a new one"):
        connect(connection.client)


def test_no_workers_at_all_is_no_cluster() -> None:
    with pytest.raises(ClusterError, match="Give a whole number, 1 or more"):
        connect("embedded", workers=0)


def test_closing_twice_is_fine() -> None:
    connection = connect("threads", workers=2)
    connection.close()
    connection.close()

    assert connection.slots() == 0


@pytest.mark.parametrize("kind", ["threads", "embedded"])
def test_a_handler_that_hears_dasks_loggers_hears_others_while_a_cluster_lives(kind: str) -> None:
    heard: list[str] = []

    class Listening(logging.StreamHandler):  # type: ignore[type-arg]
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    handler, mine, dasks = Listening(), logging.getLogger("mine"), logging.getLogger("distributed")
    for logger in (mine, dasks):
        logger.addHandler(handler)
    connection = connect(kind, workers=1)
    try:
        mine.warning("a word")
    finally:
        connection.close()
        for logger in (mine, dasks):
            logger.removeHandler(handler)

    assert "a word" in heard
