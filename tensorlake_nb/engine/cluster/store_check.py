"""Whether the workers of somebody's cluster see the store that the kernel sees: asked before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorlake_nb.engine.cluster.connection import Connection
from tensorlake_nb.errors import StoreError, StoreUnavailableError
from tensorlake_nb.store.checkpoints.opening import identity_of


def refuse_unshared(connection: Connection, url: str, workers: Sequence[str]) -> None:
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
                "all workers have to see the same one: use a folder that all machines share, or an object store."
            )
