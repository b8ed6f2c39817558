"""The store and the cluster that runs use, opened when they are first needed and kept for the kernel's life."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from typing import Any

from tensorlake_nb.engine.cluster.connection import Connection, connect
from tensorlake_nb.engine.cluster.settings import Settings, read_settings
from tensorlake_nb.errors import ClusterError, StoreError, StoreUnavailableError
from tensorlake_nb.store.checkpoints.opening import identity_of, open_store
from tensorlake_nb.store.checkpoints.store import Store


class Session:
    """The settings in force, and what was opened under them."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        self.settings = settings
        self._store = store
        self._connection: Connection | None = None
        self._fit_for: tuple[Connection | None, Store | None] = (None, None)
        self._fit: set[str] = set()
        self._lock = threading.RLock()

    def store(self) -> Store:
        """Return the checkpoint store.

        Raises
        ------
        StoreUnavailableError, StoreVersionError
            It can't be opened.
        """
        with self._lock:
            if self._store is None:
                self._store = open_store(self.settings.store, trusted=self.settings.trust_store)
            return self._store

    def connection(self) -> Connection:
        """Return the cluster; start it or connect to it if that hasn't happened yet, or if it was closed.

        Raises
        ------
        ClusterError
            It can't be reached or started.
        """
        with self._lock:
            if self._connection is not None and self._connection.loss is not None:
                self._connection.close()
                self._connection = None
            if self._connection is None:
                self._connection = connect(self.settings.cluster, workers=self.settings.workers)
            return self._connection

    def is_on(self, address: str) -> bool:
        """Return True if the session is connected to the cluster at an address."""
        with self._lock:
            connection = self._connection
            return connection is not None and connection.loss is None and connection.address == address

    def check(self, *, detach: bool = False) -> None:
        """Refuse settings that can't work, before a run begins.

        Parameters
        ----------
        detach
            The cluster is to drive the run when this process has ended.

        Raises
        ------
        StoreUnavailableError
            The store is in this process's memory, and the workers are other processes; or one of them sees another
            store, or none.
        ClusterError
            An address or a client that doesn't answer, a cluster that can't drive a detached run, or workers with other
            versions.
        """
        store = self.store()
        if detach and self.settings.starts_cluster:
            raise ClusterError(
                f"detach=True needs a cluster that outlives this kernel, and cluster={self.settings.cluster!r} ends "
                "with it. Start `dask scheduler` and `dask worker`, then "
                'configure(cluster="tcp://…"); or leave detach out.'
            )
        # Connecting to an existing cluster starts nothing; the embedded one starts only when something is computed.
        has_processes = self.settings.cluster == "embedded" or self.connection().has_processes
        if has_processes and not store.is_shared:
            raise StoreUnavailableError(
                f"{store.url} is in the memory of this process, which worker processes can't "
                'see. Use configure(cluster="threads"), or a store on disk.'
            )
        if has_processes and not self.settings.starts_cluster:
            self._check_workers(self.connection(), store)

    def _check_workers(self, connection: Connection, store: Store) -> None:
        """Refuse workers of the user's own cluster that can't work for this kernel: each is asked once."""
        with self._lock:
            if self._fit_for != (connection, store):
                self._fit_for, self._fit = (connection, store), set()
            newcomers = sorted(connection.threads().keys() - self._fit)
            if newcomers:
                connection.refuse_other_versions(newcomers)
                _refuse_unshared(connection, store.url, newcomers)
                self._fit.update(newcomers)

    def take_over(self, other: Session) -> None:
        """Use what another session has open, where both settings mean the same."""
        if other._store is not None and self.settings.is_same_store(other.settings):
            self._store = other._store
        if other._connection is not None and self.settings.is_same_cluster(other.settings):
            self._connection = other._connection

    def close(self) -> None:
        """Close the cluster if it was started here; leave anybody else's as it is."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._store = None


_lock = threading.RLock()
_session: Session | None = None
_given: dict[str, Any] = {}


def current() -> Session:
    """Return the session of this process."""
    global _session
    with _lock:
        if _session is None:
            _session = Session(read_settings(**_given))
        return _session


def configure(
    *,
    store: str | os.PathLike[str] | None = None,
    cluster: Any = None,
    workers: int | None = None,
    trust_store: bool | None = None,
    checkpoint_interval: float | None = None,
    store_patience: float | None = None,
) -> Settings:
    """Choose where checkpoints are stored and where functions run; other settings stay as they are.

    ``with configure(...):`` restores the previous settings at its end. A cluster that was started here and that the
    new settings don't use ends either way; it starts again when a run next needs it.

    Parameters
    ----------
    store
        Path or fsspec URL (``"s3://bucket/path"``). Default: ``TENSORLAKE_NB_STORE``, else ``./.tensorlake``.
    cluster
        ``"embedded"`` (worker processes on this machine, started on first need), ``"threads"`` (in this process), a
        ``distributed.Client``, or a scheduler's address. Default: ``TENSORLAKE_NB_CLUSTER``, else ``"embedded"``.
    workers
        Worker processes of the embedded cluster; one per CPU by default.
    trust_store
        Load pickled values from this store. Default: only if it is the user's own.
    checkpoint_interval
        Seconds of finished work that a crash may lose on an object store; on a local disk it loses none.
    store_patience
        Seconds that a run waits for a store that is full, read-only or out of reach before it fails; computed
        results are kept meanwhile.

    Returns
    -------
    Settings
        The current settings, and a context that restores the previous ones.

    Raises
    ------
    OptionError
        A setting has a wrong value.
    StoreUnavailableError, StoreVersionError, ClusterError
        The given store or cluster can't be used.
    """
    given = {
        "store": os.fspath(store) if isinstance(store, os.PathLike) else store,
        "cluster": cluster,
        "workers": workers,
        "trust_store": trust_store,
        "checkpoint_interval": checkpoint_interval,
        "store_patience": store_patience,
    }
    with _lock:
        before = (_session, _given)
        wanted = {**_given, **{name: value for name, value in given.items() if value is not None}}
        session = Session(read_settings(**wanted))
        if _session is not None:
            session.take_over(_session)
        if trust_store is not None:  # opened again, as whoever has the key now
            session._store = None
        # What was given has to work before anything that works is let go.
        if store is not None:
            session.store()
        if cluster is not None and not session.settings.starts_cluster:
            session.connection()
        _put_in_force(session, wanted)
        session.settings._restore = functools.partial(_restore, *before)
        return session.settings


def _put_in_force(session: Session | None, given: dict[str, Any]) -> None:
    """Let a session follow the one in force, which closes a cluster that the new one doesn't use."""
    global _session, _given
    if _session is not None and (session is None or not session.settings.is_same_cluster(_session.settings)):
        _session.close()
    _session, _given = session, given


def _restore(session: Session | None, given: dict[str, Any]) -> None:
    """Restore the settings in force before `configure`."""
    with _lock:
        if session is not None and _session is not None:
            session.take_over(_session)
        _put_in_force(session, given)


def _refuse_unshared(connection: Connection, url: str, workers: Sequence[str]) -> None:
    """Refuse a store that one of these workers can't reach, or in whose place it sees another one or nothing.

    Raises
    ------
    StoreUnavailableError
        With what a worker sees, and its address.
    """
    client: Any = connection.client
    mine = identity_of(url)
    seen: dict[str, str | Exception | None] = client.run(identity_of, url, workers=workers, on_error="return")
    for worker, theirs in seen.items():
        if isinstance(theirs, StoreError):
            raise StoreUnavailableError(f"worker {worker} can't use the store: {theirs}")
        if isinstance(theirs, Exception):
            continue  # it is just leaving
        if theirs != mine:
            raise StoreUnavailableError(
                f"worker {worker} sees {'no store' if theirs is None else 'another store'} at {url}. The kernel and "
                "all workers must see the same store: use a folder that all machines share, or an object store."
            )
