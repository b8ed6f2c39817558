"""Runs whose driver lives on the cluster: the kernel may end, and any other opens the run by its id.

The driver is a Dask task that leaves its worker's slot free. When that worker dies, Dask begins the task again
elsewhere, and the run continues with the missing outputs. It is asked to stop through the run's record in the store.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from distributed import Client, Security, fire_and_forget, get_worker, secede
from distributed.comm.addressing import get_address_host_port

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.cluster.connection import Connection
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.cluster.settings import Settings
from tensorlake_nb.engine.driving.run_secrets import publish_secrets, withdraw_secrets
from tensorlake_nb.engine.process.secrets import signing_keys_of, with_signing_keys
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.checkpoints.store import Store

if TYPE_CHECKING:
    from tensorlake_nb.engine.runs.run import Run

logger = logging.getLogger(__name__)

#: How often a driver looks whether its run is to stop (s).
LISTEN_S = 1.0
_LOOK_S = 0.02
#: How long a scheduler may take to answer (s) before nothing can be said of it.
_ANSWER_S = 1.0
#: Stands before the address of the cluster that drives a run, where the host of a process would.
_CLUSTER = "cluster "


def owner(connection: Connection) -> dict[str, str | int | float]:
    """Return a stand-in for the driver's process until it begins and names itself."""
    return {"host": f"{_CLUSTER}{connection.address}", "pid": 0, "created": 0.0, "named_on": socket.gethostname()}


def is_owner(owner: Mapping[str, object]) -> bool:
    """Return True if a run is driven by a cluster."""
    return str(owner.get("host", "")).startswith(_CLUSTER)


def in_words(owner: Mapping[str, object]) -> str:
    """Say who drives a run, and what can be done about it."""
    if not is_owner(owner):
        return f"by process {owner.get('pid')} of {owner.get('host')}"
    address = _address(owner)
    return (
        f"by the cluster at {address}, which can't be seen from here. Look closer with configure(cluster={address!r}); "
        "if it is gone for good, run the graph again: finished work is replayed"
    )


def detach(session: Session, run_id: RunId, secrets: Mapping[str, str]) -> None:
    """Hand the driving of a recorded run to the cluster."""
    connection = session.connection()
    client: Any = connection.client
    publish_secrets(client, run_id, with_signing_keys(secrets, session.store().signing_keys))
    chosen = {name: getattr(session.settings, name) for name in ("checkpoint_interval", "store_patience")}
    future = client.submit(drive_here, run_id, session.store(), chosen, key=_key(run_id), pure=False)
    fire_and_forget(future)
    while not connection.client.run_on_scheduler(_is_kept, key=_key(run_id)) and not future.done():
        time.sleep(_LOOK_S)  # until then the scheduler would drop it if this process ended


def drive_here(run_id: RunId, store: Store, chosen: Mapping[str, Any]) -> str:
    """Drive a run to its end on the worker that this is called on; what the cluster runs. Gives the run's status."""
    # a worker that never drives anything needn't import all that
    from tensorlake_nb.engine.runs.run import Run

    worker: Any = get_worker()
    secede()
    address, security = worker.scheduler.address, worker.security
    client = _client(address, security)
    try:
        store = open_store(store.url, trusted=store.trusted, options=store.options, keys=signing_keys_of(run_id))
        settings = Settings(store=store.url, cluster=client, trust_store=store.trusted, **chosen)
        session = Session(settings, store=store)
        run = Run.open(run_id, session)
        if run.has_ended:  # its first driver's worker died after the last word
            return run.status
        run.drive_detached()
        with _Listening(RunLog(store, run_id), run):
            while not run.wait_quietly(LISTEN_S):
                pass
        withdraw_secrets(client, run_id)
        return run.status
    finally:
        client.close()


def is_driven(session: Session, owner: Mapping[str, object], run_id: RunId) -> bool:
    """Return True if a cluster still has a run's driver, running or waiting for a worker.

    A session on another cluster, or on none, can't tell more than whether anybody answers at its address.
    """
    address = _address(owner)
    if not session.is_on(address):
        if _is_deserted(owner):
            return False
        if session.settings.starts_cluster or session.connection().address != address:
            return True
    connection = session.connection()
    state = connection.client.run_on_scheduler(_state_of, key=_key(run_id))
    return state in ("queued", "no-worker", "waiting", "processing")


def _address(owner: Mapping[str, object]) -> str:
    return str(owner["host"]).removeprefix(_CLUSTER)


def _is_deserted(owner: Mapping[str, object]) -> bool:
    """Return True if the cluster's address certainly has no scheduler any more: it refuses connections.

    Whoever doesn't answer at all may be behind a firewall; and a loopback address says nothing on another host.
    """
    try:
        host, port = get_address_host_port(_address(owner))
        if owner.get("named_on") != socket.gethostname() and ipaddress.ip_address(host).is_loopback:
            return False
        socket.create_connection((host, port), _ANSWER_S).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _state_of(key: str, dask_scheduler: Any) -> str | None:
    task = dask_scheduler.tasks.get(key)
    return None if task is None else str(task.state)


def _is_kept(key: str, dask_scheduler: Any) -> bool:
    """Return True if a task is computed although no connected client wants it, as `fire_and_forget` arranges."""
    task = dask_scheduler.tasks.get(key)
    return task is not None and any(client.client_key == "fire-and-forget" for client in task.who_wants or ())


def _client(address: str, security: Any) -> Any:
    if security.tls_client_cert is None and security.tls_worker_cert is not None:
        # a worker that was started with certificates of its own may use them to speak for itself
        security = Security(
            require_encryption=security.require_encryption,
            tls_ca_file=security.tls_ca_file,
            tls_client_cert=security.tls_worker_cert,
            tls_client_key=security.tls_worker_key,
        )
    connect: Callable[..., Any] = Client
    return connect(address, security=security, set_as_default=False)


def _key(run_id: RunId) -> str:
    return f"tensorlake-nb-driver-{run_id}"


class _Listening:
    """Cancels a run as soon as its record asks for it."""

    def __init__(self, log: RunLog, run: Run) -> None:
        self._log, self._run = log, run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="tensorlake-nb-requests", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        heard: str | None = None
        while not self._over.wait(LISTEN_S):
            try:
                asked = self._log.asked()
            except Exception:
                logger.warning("can't see whether run %s is to stop", self._run.id, exc_info=True)
                continue
            if asked is not None and asked != heard:
                heard = asked
                self._run.cancel(force=asked == "force")
