"""The cluster that runs go to: the embedded one, threads of this process, or the user's own."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import dask
from distributed import Client, KilledWorker, Nanny, Security, SpecCluster, Worker
from distributed.comm.addressing import parse_address
from distributed.comm.registry import get_backend

from tensorlake_nb.engine.cluster import backlog
from tensorlake_nb.engine.cluster.deaths import Births, death_at
from tensorlake_nb.engine.cluster.nanny import EmbeddedCluster, QuietNanny, end_busy, end_left
from tensorlake_nb.engine.cluster.quiet import MuteClient, MuteScheduler, MuteWorker, silencing_only_its_own
from tensorlake_nb.engine.cluster.versions import disagreements, versions_here, versions_there
from tensorlake_nb.engine.cluster.worker_deaths import BegunBeforeError, attempt_once, ending_of
from tensorlake_nb.engine.process.children import kill_tree
from tensorlake_nb.engine.process.surroundings import Followed, Surroundings
from tensorlake_nb.errors import ClusterError

CONNECT_S = 5.0
CLOSE_S = 5.0
_EmbeddedCluster: Any = EmbeddedCluster
_SpecCluster: Any = SpecCluster
_Client: Any = MuteClient
_LOOPBACK = "127.0.0.1"
_DEATH_NOTICE_S = 1.0

#: How Dask calls the processes of its workers.
_WORKER = "Dask Worker process"

_EMBEDDED: dict[str, Any] = {
    # A worker that dies takes only what it computed: which element that was is found out by the driver.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": float("inf"),
    # Values never stay on workers, so what memory they use is the functions' own: spilling and pausing won't help.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    # Sampled every 10 ms, as Dask has it, idle workers in this process took 4 % of a core, those of their own 1.5 %.
    "distributed.worker.profile.interval": "100ms",
    "distributed.worker.daemon": True,
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.admin.large-graph-warning-threshold": "1GiB",
    "distributed.comm.timeouts.connect": "10s",
}


class Connection:
    """A client, and what is known of the cluster behind it.

    Attributes
    ----------
    address
        Of its scheduler.
    is_embedded
        Started here, and closed with the connection.
    has_processes
        Its workers are processes of their own, so a hanging call can be ended, and ``memory://`` can't be shared.
    followed
        The surroundings of workers that were started here; ``None`` for others, which have their own.
    attempts_once
        Dask gives a batch up when its worker dies. A scheduler that takes no plugins may begin it again.
    """

    attempts_once = True

    def __init__(
        self,
        client: Client,
        *,
        cluster: SpecCluster | None = None,
        owns_client: bool = True,
        has_processes: bool = True,
        followed: Followed | None = None,
    ) -> None:
        self.client = client
        self._client: Any = client  # without types, as much of distributed is
        self._cluster, self._owns_client = cluster, owns_client
        self.is_embedded = cluster is not None
        self.has_processes, self.followed = has_processes, followed
        self.address = str(getattr(client.scheduler, "address", ""))
        self._is_closed = False
        atexit.register(self.close)

    @property
    def loss(self) -> str | None:
        """Why nothing more can be expected of what was submitted; ``None`` as long as it can.

        Dask drops all that it was to compute when it loses its scheduler, though a client may find it again.
        """
        if self._is_closed:
            return "it was closed"
        if self.client.status == "connecting":
            return "its scheduler doesn't answer any more"
        return None if self.client.status == "running" else "its client was closed"

    def slots(self) -> int:
        """Return the number of batches that can be computed at once; a worker being replaced counts."""
        if self._cluster is not None:
            return len(self._cluster.worker_spec)
        return sum(self._client.nthreads().values()) if self.client.status == "running" else 0

    def threads(self) -> Mapping[str, int]:
        """Return the number of threads of each worker, by its address."""
        found: Mapping[str, int] = self._client.nthreads()
        return found

    def workers(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the scheduler's facts about each worker, by address; waits for the answer."""
        found: Mapping[str, Mapping[str, Any]] = self._client.scheduler_info(n_workers=-1)["workers"]
        return found

    def placed(self) -> Mapping[Any, str]:
        """Return the worker of an embedded cluster that each Dask task was handed to; empty for other clusters."""
        if self._cluster is None or self._cluster.scheduler is None:
            return {}
        workers = list(self._cluster.scheduler.workers.items())  # of another thread, as all that it holds
        return {task.key: address for address, worker in workers for task in list(worker.processing)}

    def resources(self) -> list[Mapping[str, float]]:
        """Return the Dask resources that each worker declares."""
        declared: list[Mapping[str, float]] = self._client.run_on_scheduler(_declared)
        return declared

    def refuse_other_versions(self, workers: Sequence[str] | None = None) -> None:
        """Refuse workers (all, or those given) that wouldn't understand what they are sent.

        Raises
        ------
        ClusterError
            Says what is in another version there, or missing.
        """
        problems = disagreements(versions_here(), versions_there(self.client, workers))
        if problems:
            raise ClusterError(
                f"the workers of {self.address} can't work for this kernel: {'; '.join(problems)}. "
                "Install the same versions on both sides."
            )

    def kill_worker(self, address: str) -> None:
        """End a worker's process at once, whatever it is doing; its nanny starts another.

        `Client.restart_workers` asks it to close first, and waits four seconds for that.
        """
        with suppress(Exception):  # it may be dying already
            self.client.run(_kill_child, workers=[address], nanny=True, on_error="ignore")

    def close(self) -> None:
        """Close what was opened here; a client and cluster of the user's own stay open."""
        atexit.unregister(self.close)
        self._is_closed = True
        cluster, self._cluster = self._cluster, None
        nannies = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(Exception):
                if cluster is not None:
                    nannies = end_busy(cluster)
                if self._owns_client:
                    self._client.close(timeout=2)
            with suppress(Exception):
                if cluster is not None:
                    cluster.close(timeout=CLOSE_S)
            end_left(nannies)


def connect(
    cluster: Client | str | None = None, *, workers: int | None = None, memory_limit: str | float | None = None
) -> Connection:
    """Connect to a cluster, or start one.

    Parameters
    ----------
    cluster
        ``None`` or ``"embedded"``: processes of this machine, with one thread each. ``"threads"``: threads of this
        process. Else the address of a Dask scheduler, or a client of one.
    workers
        How many, of a cluster that is started here; ``None``: one per CPU.
    memory_limit
        Per worker process of the embedded cluster, as Dask takes it; ``None``: an equal share of the machine's.

    Raises
    ------
    ClusterError
        It can't be reached or started, or its workers can't understand what they would be sent.
    """
    if isinstance(cluster, Client):
        return _checked(Connection(cluster, owns_client=False))
    if cluster is None or cluster == "embedded":
        return _embedded(workers, memory_limit)
    if cluster == "threads":
        return _threads(workers)
    if not isinstance(cluster, str):
        raise ClusterError(
            f"cluster={cluster!r:.80} is a {type(cluster).__qualname__}. "
            "Give a dask Client, a scheduler's address, 'embedded' or 'threads'."
        )
    if ":" not in cluster:
        raise ClusterError(
            f"cluster={cluster!r:.80} isn't an address, which names a port: 'tcp://host:8786'. "
            "Give an address, a dask Client, 'embedded' or 'threads'."
        )
    return _checked(_remote(cluster))


def death_of(connection: Connection, address: str, error: BaseException | None = None) -> str | None:
    """Return a worker's cause of death: ``"exit code 3"``, ``"SIGKILL"``, ``"timeout"``; ``""`` if unknown, ``None``
    if it lives.

    The nanny may hear of it a little later than whoever lost the connection, so this waits up to a second. Of a cluster
    that isn't ours only the error says that a worker has died, and what isn't its task's fault is one of `BLAMELESS`.
    """
    if not connection.has_processes:
        return None
    if not connection.is_embedded:
        is_dead = isinstance(error, (KilledWorker, BegunBeforeError))
        return ending_of(connection.client, address, error) if is_dead else None
    return death_at(address, _DEATH_NOTICE_S)


def _n_workers(workers: int | None) -> int:
    if workers is not None:
        if workers < 1:
            raise ClusterError(f"workers={workers} isn't allowed. Give a whole number, 1 or more.")
        return workers
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _embedded(workers: int | None, memory_limit: str | float | None) -> Connection:
    process = multiprocessing.current_process()
    if process.daemon or process.name.startswith(_WORKER) or getattr(process, "_inheriting", False):
        raise ClusterError(
            "this process is another one's worker, so it can't start a cluster. A script starts its run "
            'below `if __name__ == "__main__":`. A function can\'t run a graph: it calls the functions directly, or '
            "returns a list, and an edge leads from there to the function to call for each item."
        )
    config = _config()
    options: dict[str, Any] = {} if memory_limit is None else {"memory_limit": memory_limit}

    def start() -> SpecCluster:
        cluster = _EmbeddedCluster(
            n_workers=_n_workers(workers),
            threads_per_worker=1,
            processes=True,
            host=_LOOPBACK,
            worker_class=QuietNanny,
            dashboard_address=f"{_LOOPBACK}:0",  # without one, it would take port 8787
            # The second is what the first batch would import, a quarter of a second on each worker, one by one.
            preload=["tensorlake_nb.engine.cluster.worker_setup", "tensorlake_nb.engine.worker.execute"],
            config=config,
            silence_logs=logging.CRITICAL,
            **options,
        )
        cluster.scheduler.add_plugin(Births())
        return cluster  # type: ignore[no-any-return]

    return _started(start, config, has_processes=True)


def _threads(workers: int | None) -> Connection:
    number = _n_workers(workers) if workers is not None else max(2, _n_workers(workers))
    options = {"protocol": "inproc://", "dashboard": False}
    worker = {"cls": MuteWorker, "options": {**options, "nthreads": 1, "memory_limit": None}}

    def start() -> SpecCluster:
        return _SpecCluster(  # type: ignore[no-any-return]
            scheduler={"cls": MuteScheduler, "options": options},
            workers=dict.fromkeys(range(number), worker),
            silence_logs=logging.CRITICAL,
        )

    return _started(start, _config(), has_processes=False)


def _config() -> dict[str, Any]:
    user = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return {**_EMBEDDED, "temporary-directory": os.path.join(tempfile.gettempdir(), f"tensorlake-nb-{user}")}


def _started(start: Callable[[], SpecCluster], config: Mapping[str, Any], *, has_processes: bool) -> Connection:
    cluster: SpecCluster | None = None
    followed = Followed(Surroundings.here()) if has_processes else None
    try:
        with dask.config.set(config), silencing_only_its_own():
            cluster = start()
            client = _Client(cluster, set_as_default=False, timeout=CONNECT_S)
    except Exception as error:
        if cluster is not None:
            with suppress(Exception):
                cluster.close(timeout=2)
        raise ClusterError(f"the embedded cluster can't be started: {type(error).__name__}: {error}") from error
    return Connection(client, cluster=cluster, has_processes=has_processes, followed=followed)


def _remote(address: str) -> Connection:
    try:
        scheme, _ = parse_address(address)
        backend: Any = get_backend(scheme)  # else the client would try an unknown one for a while
        if backend.get_connector().encrypted and not Security().get_connection_args("client").get("ssl_context"):
            raise ClusterError(  # such a client couldn't even be closed
                f"{address!r} needs certificates, and Dask's configuration in this kernel names none. Set "
                "distributed.comm.tls (DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT, …__CLIENT__KEY), or "
                "give a Client that was made with security=Security(…)."
            )
        with dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_S}s"}):
            client = _Client(address, set_as_default=False, timeout=CONNECT_S)
    except ClusterError:
        raise
    except Exception as error:
        reason, advice = _said(error)
        raise ClusterError(f"{reason} at {address!r} ({type(error).__name__}: {error}). {advice}") from error
    return Connection(client)


def _said(error: Exception) -> tuple[str, str]:
    """Explain why connecting failed and what to try."""
    text = str(error)
    if "TLS certificate" in text:
        return "these certificates don't match the Dask scheduler's", "The same authority must sign both."
    if "Connection reset" in text:
        return "no Dask scheduler answers", "Something there hangs up: a scheduler with certificates is at tls://…"
    return "no Dask scheduler answers", "Is it running, and is the address right? Without one, use cluster='embedded'."


def _checked(connection: Connection) -> Connection:
    """Refuse a cluster whose workers wouldn't understand what they are sent."""
    try:
        client = connection.client
        began = time.monotonic()
        while client.status == "connecting" and time.monotonic() - began < CONNECT_S:  # its scheduler may be back
            time.sleep(0.05)
        if client.status != "running":
            raise ClusterError(f"the Dask client is {client.status}: make a new one")
        while not connection.slots():
            if time.monotonic() - began > CONNECT_S:
                raise ClusterError(f"the cluster at {connection.address} has no workers. Start some, then run again.")
            time.sleep(0.05)
        connection.has_processes = _has_processes(client)
        connection.refuse_other_versions()
        connection.attempts_once = attempt_once(client)
        backlog.count(client)
    except BaseException:
        connection.close()
        raise
    return connection


def _has_processes(client: Client) -> bool:
    """Return True if any worker is outside of this process."""
    return any(pid != os.getpid() for pid in client.run(os.getpid, on_error="ignore").values())


def _declared(dask_scheduler: Any) -> list[dict[str, float]]:
    """List the workers' resources on the scheduler: the client's copy may be seconds old."""
    return [dict(worker.resources) for worker in dask_scheduler.workers.values()]


def _kill_child(dask_worker: Nanny | Worker) -> None:
    """Kill a nanny's worker process; runs on the nanny."""
    pid = getattr(dask_worker, "pid", None)
    if isinstance(dask_worker, Nanny) and pid is not None:
        kill_tree(pid)
