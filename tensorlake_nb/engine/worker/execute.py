"""One batch on a worker: look up, call, commit, receipt.

Each element's outputs are given to the writer at once, so that on a local store a killed worker loses only what it was
computing; a receipt is sent when everything it names is committed. Nothing here knows of Dask but `run_batch`, which
asks for the worker that it runs on.

A store that is full or away is waited for here, with what was computed in hand.
"""

from __future__ import annotations

import os
import pickle
import time
from contextlib import suppress
from dataclasses import replace

from distributed import Status, Worker

from tensorlake_nb.core.batches.batch import Batch
from tensorlake_nb.core.batches.receipt import Receipt
from tensorlake_nb.core.streams.uncacheable_keys import placed
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.calls.cancellation import cancelled, given_up
from tensorlake_nb.engine.calls.loaded import store_at
from tensorlake_nb.engine.calls.reporting import BatchAwaitsStore, BatchBegun, Report, current_worker, reporter
from tensorlake_nb.engine.cluster.worker_deaths import BegunBeforeError
from tensorlake_nb.engine.process.capture import redirected
from tensorlake_nb.engine.process.surroundings import go_home
from tensorlake_nb.engine.process.watchdog import rest_alarm
from tensorlake_nb.engine.worker.async_calls import compute_concurrently
from tensorlake_nb.engine.worker.emitting import emit
from tensorlake_nb.engine.worker.folding import fold
from tensorlake_nb.engine.worker.node_work import Did, NodeWork
from tensorlake_nb.engine.worker.settling import compute_in_turn
from tensorlake_nb.errors import InternalError, TensorlakeError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.filesystems.retrying import Patience, patient

#: The states of a worker that its scheduler, or a user, is removing.
_LEAVING = frozenset({Status.closing_gracefully, Status.closing, Status.closed})
#: How long a worker that is taken away may be at its last call (s): Dask ends its process about 30 s later.
_LEAVES_S, _LOOK_EVERY_S = 60.0, 0.05


def run_batch(batch: Batch, *dependencies: object) -> tuple[Receipt, ...]:
    """Carry a batch through its node, or its element through a chain of nodes; what Dask runs.

    Parameters
    ----------
    dependencies
        Only make Dask wait for other batches.

    Returns
    -------
    receipts
        One per node that was reached. What goes wrong in a user's function stands in them.

    Raises
    ------
    StoreError
        The store can't be reached, or the code sent isn't there.
    """
    worker = current_worker()
    try:
        return execute(batch, reporter(worker, batch.run_id), host_of(worker))
    except Exception as error:
        raise _portable(error) from None


def _portable(error: Exception) -> Exception:
    """Return an error that reaches the driver: Dask drops the message of a task whose error can't be pickled.

    A traceback is pickled frame by frame, each inside the one before, so that of a `RecursionError` can't be.
    """
    bare = error.with_traceback(None)
    bare.__cause__ = bare.__context__ = None
    if isinstance(error, TensorlakeError):
        with suppress(Exception):
            pickle.loads(pickle.dumps(bare))
            return bare
    return InternalError(f"{type(error).__name__}: {error}")


def run_batch_once(batch: Batch, *dependencies: object) -> tuple[Receipt, ...]:
    """`run_batch` where Dask may begin a batch again because its worker has ended.

    Raises
    ------
    BegunBeforeError
        Its spool says what that worker was at: the run decides whether that is tried again.
    """
    writer = store_at(batch.store_url, batch.trusted, batch.run_id).writer(batch.calls[0].fingerprint, batch.segment)
    begun = writer.interrupted()
    writer.close()
    if begun:
        raise BegunBeforeError(batch.name)
    return run_batch(batch, *dependencies)


def host_of(worker: Worker | None) -> Host:
    """Return this process as the host of calls."""
    if worker is None:
        return Host(address=f"process {os.getpid()}")
    exits = worker.nanny is not None
    return Host(
        exits,
        exits and worker.state.nthreads == 1,
        worker.address,
        # It knows as tasks what it computes, what waits, data that it holds, actors, and drivers of detached runs.
        is_alone=lambda: len(worker.state.tasks) <= 1,
        is_leaving=lambda: worker.status in _LEAVING,
    )


def execute(batch: Batch, report: Report, host: Host, store: Store | None = None) -> tuple[Receipt, ...]:
    """`run_batch` anywhere: with what it reports, where it runs, and another store than the batch names, given."""

    def waits(seconds: float) -> None:
        rest_alarm()
        report(BatchAwaitsStore(batch.name, seconds))

    patience = Patience(batch.store_patience_s, is_over=lambda: given_up(batch.run_id), on_wait=waits)
    with patient(patience):
        return _executed(batch, report, host, store)


def _executed(batch: Batch, report: Report, host: Host, store: Store | None) -> tuple[Receipt, ...]:
    if store is None:
        store = store_at(batch.store_url, batch.trusted, batch.run_id)
    go_home(batch.run_id)
    report(BatchBegun(batch.name, batch.node, host.address, os.getpid(), surely=not store.is_local))
    _wait_for_leaver(batch, store)
    works: list[NodeWork] = []
    done: list[Did] = []
    try:
        with redirected():
            here = batch
            for position, call in enumerate(batch.calls):
                work = NodeWork(here, call, position, store, report, host, works[0].writer if works else None)
                works.append(work)
                done.append(_done(work))
                only = work.only_output(done[-1]) if position + 1 < len(batch.calls) else None
                if only is None:
                    break
                digest, place, column = only
                given = placed(digest, place) if batch.calls[position + 1].by_place else digest
                here = replace(here, given=given, place=place, columns=(column,))
        shares = zip(works, done, strict=True)
        return tuple(work.receipt(did) for work, did in shares if work is works[0] or did.is_anything)
    finally:
        for work in works:
            work.close()


def _done(work: NodeWork) -> Did:
    """Look up, call, encode and commit the elements of a batch at one node."""
    if work.loaded is None:  # its code can't come to life here: the failures say so
        return Did(work.size, failures=work.refused)
    if work.batch.fold is not None:
        return fold(work)
    if work.loaded.function.is_generator:
        return emit(work)
    return compute_concurrently(work) if work.loaded.is_async else compute_in_turn(work)


def _wait_for_leaver(batch: Batch, store: Store) -> None:
    """Wait until no other worker is at this batch.

    Dask begins what a retired worker computes elsewhere at once, and lets that worker end the call that it is at.
    """
    fingerprint, until = batch.calls[0].fingerprint, time.monotonic() + _LEAVES_S
    while store.is_being_written(fingerprint, batch.segment) and time.monotonic() < until:
        if cancelled(batch.run_id):
            return
        time.sleep(_LOOK_EVERY_S)
