"""Batches on a Dask cluster: futures and topic events ↔ the driver's messages."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from distributed import Future, KilledWorker

from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.core.batches.messages import Message, Order
from tensorlake_nb.core.functions.policy import Placement
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.calls import reporting
from tensorlake_nb.engine.calls.cancellation import forget_run, request_cancel, request_stop
from tensorlake_nb.engine.calls.failure_text import middle_cut
from tensorlake_nb.engine.calls.loaded import forget_listed
from tensorlake_nb.engine.cluster import backlog
from tensorlake_nb.engine.cluster.batch_names import batch_key
from tensorlake_nb.engine.cluster.connection import Connection, death_of
from tensorlake_nb.engine.cluster.deaths import last_words_at
from tensorlake_nb.engine.cluster.resources import required
from tensorlake_nb.engine.cluster.worker_deaths import BegunBeforeError
from tensorlake_nb.engine.driving.lost_workers import culprit_of, lost_with_worker, process_ended, too_late
from tensorlake_nb.engine.driving.run_secrets import publish_secrets, withdraw_secrets
from tensorlake_nb.engine.driving.silent_cluster import Pending, Silence
from tensorlake_nb.engine.process.secrets import without
from tensorlake_nb.engine.process.surroundings import EnvironmentChange, adopt
from tensorlake_nb.engine.worker.execute import run_batch, run_batch_once
from tensorlake_nb.errors import ClusterError, StoreUnavailableError
from tensorlake_nb.store.format.trust import KEY_VARIABLE

logger = logging.getLogger(__name__)

#: How long a worker may take to answer (s): one whose call holds the interpreter answers when that ends.
_TELL_S = 0.5
#: How long after its workers this process may end itself (s), if somebody is ending them all.
_EXIT_NOTICE_S = 3.0
#: How old the number of workers of a cluster that isn't ours may be (s).
_COUNT_EVERY_S = 1.0
_GOES_ON = (
    "%r goes on after its timeout of %g s and can't be ended where it runs: the run waits for it. "
    "On the embedded cluster, or with a nanny, its process would be ended."
)
#: How many characters of what a call wrote to either descriptor before its worker ended stand in its failure.
_LAST_WORDS = 4000
#: After what time a batch counts as long (s): others had better not wait behind it.
_LONG_S = 1.0


def _gone(connection: Connection, why: str) -> ClusterError:
    return ClusterError(
        f"the cluster at {connection.address} is gone: {why}. What is finished is kept; resume() goes on with the run."
    )


class DaskBackend:
    """Computes a run's batches on a cluster that it connects to when the first one is there.

    Parameters
    ----------
    connect
        Gives the connection; slow when the embedded cluster has to be started first.
    secrets
        Values that calls need in their environment, by name: sent to the workers' memory and nowhere else.
    task
        The function that a worker calls with a batch; `ms.Finished` brings its return value.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        run_id: RunId,
        secrets: Mapping[str, str],
        post: Callable[[Message], None],
        task: Callable[..., Any] = run_batch,
    ) -> None:
        self._connect, self._run_id, self._secrets, self._post = connect, run_id, secrets, post
        self._task = task
        self._connection: Connection | None = None
        self._futures: dict[int, Future[Any]] = {}
        self._numbers: dict[str, int] = {}
        #: Which worker has begun a batch, and when (s, monotonic).
        self._workers: dict[int, tuple[str, float]] = {}
        #: Which worker had begun a batch before Dask gave it to the one that is at it now.
        self._before: dict[int, str] = {}
        self._lasting: set[int] = set()
        #: The call in a batch that its worker ends itself for.
        self._overran: dict[int, reporting.Overran] = {}
        #: The Dask resources that a batch asks for.
        self._needs: dict[int, Mapping[str, float]] = {}
        self._silence = Silence(post)
        self._slots, self._count_again_at = 0, 0.0
        self._lock = threading.Lock()

    def submit(self, orders: Sequence[Order]) -> None:
        connection = self._connected()
        groups: dict[tuple[int, Placement], list[Order]] = defaultdict(list)
        for order in orders:
            groups[order.priority, order.placement].append(order)
        try:
            if connection.loss is not None:
                raise _gone(connection, connection.loss)
            self._count_slots(connection)
            for (priority, placement), group in groups.items():
                # The embedded cluster declares no resources, so there is nothing to ask its scheduler.
                needs = {} if connection.is_embedded else required(placement, connection.resources())
                self._submit(connection, group, priority, needs)
        except OSError as error:
            raise _gone(connection, str(error)) from error

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
            client = self._connection.client
            client.subscribe_topic(reporting.topic_of(self._run_id), self._on_event)
            if self._connection.followed is not None:
                tell = partial(self._tell, self._connection, adopt)
                self._connection.followed.bring(tell, self._secrets.keys())
            publish_secrets(client, self._run_id, self._secrets)
        return self._connection

    def _count_slots(self, connection: Connection) -> None:
        """Tell how many batches can be computed at once, and again when workers have come or gone."""
        now = time.monotonic()
        if now < self._count_again_at:
            return
        self._count_again_at = now + (float("inf") if connection.is_embedded else _COUNT_EVERY_S)
        slots = max(1, connection.slots())
        if slots != self._slots:
            self._slots = slots
            self._post(ms.Ready(slots))

    def _submit(
        self, connection: Connection, orders: Sequence[Order], priority: int, resources: Mapping[str, float]
    ) -> None:
        keys = [batch_key(order.batch, order.number) for order in orders]
        with self._lock:  # before they are on their way: a worker may say at once that it has begun
            self._numbers.update({order.batch.name: order.number for order in orders})
            self._needs.update({order.number: resources for order in orders})
            self._lasting.update(order.number for order in orders if order.is_lasting)
        # Where Dask finds none of the workers that are asked for, it forgets the resources with them.
        free = None if resources else self._free_workers(connection)
        # Begun in this order, so that what comes first in a stream is there first; a graph of independent tasks would
        # be begun in any.
        client: Any = connection.client
        may_come_again = self._task is run_batch and not connection.attempts_once
        futures = client.map(
            run_batch_once if may_come_again else self._task,
            [order.batch for order in orders],
            key=keys,
            pure=False,
            priority=priority,
            retries=0,
            resources=dict(resources) or None,
            workers=free,
            allow_other_workers=free is not None,
        )
        for order, future in zip(orders, futures, strict=True):
            with self._lock:
                self._futures[order.number] = future
            future.add_done_callback(lambda done, number=order.number: self._on_done(number, done))

    def _free_workers(self, connection: Connection) -> list[str] | None:
        """Return the workers without a long task, so that nothing waits behind one; ``None``: any will do.

        Dask takes every task to last as long as others of its name, and would have a fold wait for the generator
        that feeds it.
        """
        now = time.monotonic()
        with self._lock:
            at_work = [
                worker
                for number, (worker, begun_at) in self._workers.items()
                if number in self._futures and (number in self._lasting or now - begun_at > _LONG_S)
            ]
        if not at_work:
            return None
        threads = connection.threads()
        free = [worker for worker, count in threads.items() if at_work.count(worker) < count]
        return free if 0 < len(free) < len(threads) else None

    def _on_done(self, number: int, future: Future[Any]) -> None:
        self._silence.ended()
        with self._lock:
            if self._futures.get(number) is not future:
                return  # halted, abandoned or closed meanwhile
        try:
            receipts = future.result()
        except StoreUnavailableError as error:  # it was waited for as long as it may be
            self._post(ms.Broken(error))
        except BaseException as error:
            connection = self._connection
            if connection is not None and connection.loss is not None:
                self._post(ms.Broken(_gone(connection, connection.loss)))
            else:
                self._post(self._lost(number, future, error))
        else:
            self._post(ms.Finished(number, receipts))
        self._forget(number)

    def _forget(self, number: int) -> None:
        with self._lock:
            self._futures.pop(number, None)
            self._workers.pop(number, None)
            self._before.pop(number, None)
            self._needs.pop(number, None)
            self._lasting.discard(number)
            self._overran.pop(number, None)

    def _lost(self, number: int, future: Future[Any], error: BaseException) -> ms.Lost:
        worker, _ = self._workers.get(number, (None, 0.0))
        has_begun = worker is not None
        if isinstance(error, BegunBeforeError):
            worker, has_begun = self._before.get(number, worker), True
        elif worker is None and isinstance(error, KilledWorker) and error.last_worker is not None:
            worker = error.last_worker.address
        death: str | None = None
        if self._connection is not None and worker is not None:
            death = death_of(self._connection, worker, error)
        elif isinstance(error, BegunBeforeError):  # nothing has come of the worker that began it
            death = ""
        if death == "SIGTERM":  # a Jupyter kernel that shuts down ends its children first, and then itself
            threading.main_thread().join(_EXIT_NOTICE_S)
        if death is not None:
            words = partial(self._last_words, worker)
            return lost_with_worker(number, death, self._overran.get(number), words, has_begun=has_begun)
        if future.status == "cancelled":
            return ms.Lost(number, "the cluster gave it up: was it restarted?")
        return ms.Lost(number, f"{type(error).__name__}: {error}", has_begun=has_begun)

    def _last_words(self, worker: str | None) -> str:
        """Return the last output of programs and C libraries on a worker that was started here."""
        hidden = (*self._secrets.values(), *self._secrets.get(KEY_VARIABLE, "").split())
        texts = [without(text, hidden).strip() for text in last_words_at(worker or "")]
        return (
            "\n".join(["Before that, it wrote:", *(middle_cut(text, _LAST_WORDS) for text in texts)]) if texts else ""
        )

    def _on_event(self, event: Any) -> None:
        self._silence.ended()
        _, body = event
        message = reporting.decoded(body)
        match message:
            case reporting.BatchBegun(batch, _, worker) if batch in self._numbers:
                self._on_started(self._numbers[batch], worker)
            case reporting.CallProgress(batch, _, _, current, total) if batch in self._numbers:
                self._post(ms.Progress(self._numbers[batch], current, total))
            case reporting.PartDone(receipt) if receipt.batch in self._numbers:
                self._post(ms.PartFinished(self._numbers[receipt.batch], receipt))
            case reporting.BatchAwaitsStore(batch, seconds) if batch in self._numbers:
                self._post(ms.StoreAwaited(seconds))
            case reporting.Overran(batch, exits=True) if batch in self._numbers:
                self._on_overran(self._numbers[batch], message)
            case reporting.Overran(batch, node, _, timeout_s, exits=False) if batch in self._numbers:
                logger.warning(_GOES_ON, node, timeout_s)
            case _:
                pass

    def _on_started(self, number: int, worker: str) -> None:
        with self._lock:
            before = self._workers.get(number)
            self._workers[number] = (worker, time.monotonic())
            if before is not None:
                self._before[number] = before[0]
        self._post(ms.Started(number, worker))
        if before is not None and self._connection is not None and not self._connection.attempts_once:
            self._withdraw_soon(number, process_ended(), FailureKind.WORKER_LOST)

    def _on_overran(self, number: int, overran: reporting.Overran) -> None:
        """Let the worker end itself: another scheduler would begin the batch again elsewhere, repeatedly."""
        with self._lock:
            self._overran[number] = overran
        if self._connection is not None and not self._connection.is_embedded:
            self._withdraw_soon(number, too_late(overran), FailureKind.TIMEOUT)

    def _withdraw_soon(self, number: int, reason: str, kind: FailureKind) -> None:
        """Withdraw a batch, though not on this thread, which is the one that the client withdraws it on."""
        with self._lock:
            left = {number: self._futures[number]} if number in self._futures else {}
        withdraw = partial(self._withdraw, left, reason, kind)
        threading.Thread(target=withdraw, name="tensorlake-nb-withdraw", daemon=True).start()

    def look(self) -> None:
        if self._connection is None:
            return
        if self._connection.loss is not None:
            self._post(ms.Broken(_gone(self._connection, self._connection.loss)))
        else:
            self._silence.look(self._connection, self._pending)

    def _pending(self) -> list[Pending]:
        """Return the batches that the cluster has, or is about to get."""
        with self._lock:
            return [Pending(self._workers.get(number, (None, 0.0))[0], needs) for number, needs in self._needs.items()]

    def backlog(self, seconds: float, elements: int) -> None:
        if self._connection is not None and not self._connection.is_embedded:
            backlog.tell(self._connection.client, self._run_id, seconds, elements)

    def refresh(self) -> None:
        if self._connection is not None:
            self._tell(self._connection, forget_listed, self._run_id)

    def halt(self, *, interrupt: bool) -> None:
        if self._connection is None:
            return
        self._tell(self._connection, request_cancel if interrupt else request_stop, self._run_id)
        silent = self._silent(self._connection)
        with self._lock:
            waiting = {
                number: future
                for number, future in self._futures.items()
                if number not in self._workers and number not in silent
            }
        # A batch that no worker has begun is withdrawn; one that begins just now returns at once by itself.
        self._withdraw(waiting, "it was withdrawn before it began")

    def _tell(self, connection: Connection, what: Callable[..., None], about: RunId | EnvironmentChange) -> None:
        """Have all workers do something for the run; one that can't be reached just now is not waited for."""

        def tell() -> None:
            with suppress(Exception):  # the scheduler itself may be gone
                connection.client.run(what, about, on_error="ignore")

        told = threading.Thread(target=tell, name="tensorlake-nb-tell", daemon=True)
        told.start()
        told.join(_TELL_S)

    def abandon(self, numbers: Iterable[int]) -> None:
        connection = self._connection
        if connection is None:
            return
        with self._lock:
            left = {number: self._futures[number] for number in numbers if number in self._futures}
            workers = {self._workers[number][0] for number in left if number in self._workers}
        workers.update(worker for number, worker in self._silent(connection).items() if number in left)
        self._withdraw(left, "it was cancelled while it ran")
        if connection.is_embedded and connection.has_processes:
            for worker in workers:
                connection.kill_worker(worker)

    def _silent(self, connection: Connection) -> dict[int, str]:
        """Batches that may have begun without a word, and where: whoever keeps the interpreter at once can't say so.

        Their worker can be ended, has nothing of other runs, and isn't known to be at another batch of this one.
        """
        placed = connection.placed() if connection.has_processes else {}
        with self._lock:
            numbers = {future.key: number for number, future in self._futures.items()}
            known = {self._workers[number][0] for number in numbers.values() if number in self._workers}
        known.update(worker for key, worker in placed.items() if key not in numbers)
        return {numbers[key]: worker for key, worker in placed.items() if worker not in known}

    def _withdraw(
        self, futures: Mapping[int, Future[Any]], reason: str, kind: FailureKind = FailureKind.WORKER_LOST
    ) -> None:
        if not futures:
            return
        with self._lock:
            for number in futures:
                self._futures.pop(number, None)
        assert self._connection is not None
        self._connection.client.cancel(list(futures.values()), force=True)
        for number in futures:
            culprit = culprit_of(self._overran.get(number))
            lost = ms.Lost(number, reason, kind, has_begun=number in self._workers, culprit=culprit)
            self._forget(number)
            self._post(lost)

    def close(self) -> None:
        if self._connection is None:
            return
        client = self._connection.client
        with self._lock:
            left, self._futures = list(self._futures.values()), {}
            self._needs.clear()
        if client.status == "running":
            self.backlog(0.0, 0)
            client.cancel(left, force=True)
            client.unsubscribe_topic(reporting.topic_of(self._run_id))
            self._tell(self._connection, forget_run, self._run_id)
            if self._secrets:
                withdraw_secrets(client, self._run_id)
