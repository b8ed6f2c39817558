"""The driver's loop with a cluster that does what a test tells it to: no Dask, and no waiting for time to pass."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from tensorlake_nb import Graph, Retries, tensorlake_function
from tensorlake_nb.core.batches import messages as ms
from tensorlake_nb.core.batches.batch import Failure, FailureKind
from tensorlake_nb.core.batches.messages import Message, Order
from tensorlake_nb.core.batches.receipt import Receipt
from tensorlake_nb.core.planning import events as ev
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.core.planning.events import Event
from tensorlake_nb.core.planning.instructions import Probe
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.engine.calls import loaded as functions
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.cluster.settings import read_settings
from tensorlake_nb.engine.desk.desk import Desk
from tensorlake_nb.engine.driving.driver import Driver
from tensorlake_nb.engine.driving.launch import make_desk_of
from tensorlake_nb.engine.driving.recorder import Recorder
from tensorlake_nb.engine.worker.execute import execute
from tensorlake_nb.errors import ClusterError, CorruptCheckpointError
from tensorlake_nb.store.checkpoints.run_log import RunLog

Post = Callable[[Message], None]
#: What a cluster does with an order; what it gives is posted.
Reaction = Callable[["Cluster", Order], Sequence[Message]]


@tensorlake_function()
def double(x: int) -> int:
    return 2 * x


@tensorlake_function()
def thrice(x: int) -> int:
    return 3 * x


@tensorlake_function()
def count_to(x: int) -> list[int]:
    return list(range(x))


def computed(cluster: Cluster, order: Order) -> list[Message]:
    receipts = execute(order.batch, lambda message: None, Host(address="here"))
    return [ms.Finished(order.number, receipts)]


def kept(cluster: Cluster, order: Order) -> list[Message]:
    """Nothing comes of an order, until it is withdrawn or given up."""
    return []


@dataclass
class Cluster:
    """Reacts to each order as it is told, in turn; the last reaction stands for all that follow."""

    reactions: Sequence[Reaction] = (computed,)
    orders: list[Order] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    on_call: Mapping[str, Callable[[], None]] = field(default_factory=dict)

    def made(self, post: Post) -> Cluster:
        self.post = post
        return self

    def submit(self, orders: Sequence[Order]) -> None:
        for order in orders:
            reaction = self.reactions[min(len(self.orders), len(self.reactions) - 1)]
            self.orders.append(order)
            for message in reaction(self, order):
                self.post(message)

    def halt(self, *, interrupt: bool) -> None:
        self._called("halt", interrupt)

    def look(self) -> None:
        self._called("look")

    def refresh(self) -> None:
        self._called("refresh")

    def backlog(self, seconds: float, elements: int) -> None:
        pass

    def abandon(self, numbers: Iterable[int]) -> None:
        numbers = sorted(numbers)
        for number in numbers:
            self.post(ms.Lost(number, "it was cancelled while it ran"))
        self._called("abandon", numbers)

    def close(self) -> None:
        self._called("close")

    def _called(self, name: str, what: Any = None) -> None:
        self.calls.append((name, what))
        self.on_call.get(name, lambda: None)()

    def was_called(self, name: str) -> bool:
        return any(called == name for called, _ in self.calls)


class Bench:
    """Drives graphs on clusters of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._session = Session(read_settings(store=str(folder), cluster="threads"))

    def driver(
        self,
        graph: Graph,
        cluster: Cluster,
        desk_of: Callable[[Desk], Any] = lambda desk: desk,
        log: Any = None,
        clock: Callable[[], float] = time.time,
        **inputs: Any,
    ) -> Driver:
        blueprint, resolver = graph._draw_up(self._session, inputs)
        self.blueprint: Blueprint = blueprint
        self._resolver = resolver
        store = self._session.store()
        return Driver(
            RunState.fresh(blueprint.plan),
            blueprint.run_id,
            lambda: cast(Desk, desk_of(make_desk_of(blueprint, store, resolver, self._session))),
            cluster.made,
            Recorder(log if log is not None else RunLog(store, blueprint.run_id), 0.001),
            blueprint.placements,
            clock=clock,
        )

    def outputs(self, driver: Driver, name: str) -> list[Any]:
        spans = [span for chunk in driver.state.nodes[name].chunks for span in chunk.spans]
        return self._session.store().read(spans, self._resolver)

    def logged(self) -> list[Event]:
        log = RunLog(self._session.store(), self.blueprint.run_id)
        return [ev.from_json(plain) for plain in log.events()]


def drive(driver: Driver) -> RunState:
    asyncio.run(asyncio.wait_for(driver.drive(), 30))
    return driver.state


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> Iterable[Bench]:
    functions.clear()
    yield Bench(tmp_path / "store")
    functions.clear()


def test_a_run_succeeds_and_its_log_says_how(made: Bench) -> None:
    cluster = Cluster()
    driver = made.driver(Graph("g", count_to).add_edge(count_to, double), cluster, x=5)

    state = drive(driver)

    assert state.status == "succeeded"
    assert state.nodes["double"].computed == 5
    assert made.outputs(driver, "double") == [0, 2, 4, 6, 8]
    assert cluster.calls == [("close", None)]
    logged = made.logged()
    assert isinstance(logged[0], ev.RunStarted)
    assert isinstance(logged[-1], ev.RunEnded)


def test_a_run_cancelled_before_its_loop_begins_computes_nothing(made: Bench) -> None:
    cluster = Cluster()
    driver = made.driver(Graph("g", double), cluster, x=1)
    driver.cancel()

    state = drive(driver)

    assert state.status == "cancelled"
    assert cluster.orders == []
    assert ("halt", True) in cluster.calls


def test_batches_that_go_on_after_the_grace_are_given_up(made: Bench) -> None:
    def cancelled_meanwhile(cluster: Cluster, order: Order) -> list[Message]:
        driver.cancel()
        return [ms.Started(order.number, "w")]

    cluster = Cluster([cancelled_meanwhile])
    driver = made.driver(Graph("g", double), cluster, x=1)

    state = drive(driver)

    assert state.status == "cancelled"
    assert ("abandon", [cluster.orders[0].number]) in cluster.calls


def test_to_cancel_again_and_again_puts_no_end_off(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorlake_nb.engine.driving.driver.CANCEL_GRACE_S", 0.3)
    ended = threading.Event()

    def impatient() -> None:
        for _ in range(100):
            driver.cancel()
            if ended.wait(0.05):
                return

    presses = threading.Thread(target=impatient)

    def begins(cluster: Cluster, order: Order) -> list[Message]:
        presses.start()
        return []

    cluster = Cluster([begins], on_call={"abandon": ended.set})
    driver = made.driver(Graph("g", double), cluster, x=1)

    drive(driver)
    presses.join()

    assert [called for called, _ in cluster.calls].count("halt") < 50, "the grace began anew with every press"


def test_what_is_planned_before_a_cancellation_is_not_handed_over_after_it(made: Bench) -> None:
    class Slow:
        """Makes batches while the run is being cancelled."""

        def __init__(self, desk: Desk) -> None:
            self._desk = desk

        def __getattr__(self, name: str) -> Any:
            return getattr(self._desk, name)

        def batch(self, order: Any) -> Any:
            driver.cancel()
            assert halted.wait(10)
            return self._desk.batch(order)

    halted = threading.Event()
    cluster = Cluster([kept], on_call={"halt": halted.set})
    driver = made.driver(Graph("g", double), cluster, Slow, x=1)

    state = drive(driver)

    assert state.status == "cancelled"
    assert cluster.orders == []
    assert not cluster.was_called("abandon")


def test_a_batch_that_is_lost_and_comes_back_all_the_same_is_settled_once(made: Bench) -> None:
    def both(cluster: Cluster, order: Order) -> list[Message]:
        return [ms.Lost(order.number, "it was withdrawn before it began"), *computed(cluster, order)]

    cluster = Cluster([both, computed])
    driver = made.driver(Graph("g", double), cluster, x=1)

    state = drive(driver)

    assert driver.exception is None
    assert state.status == "succeeded"
    assert made.outputs(driver, "double") == [2]


def test_what_is_lost_blamelessly_costs_no_attempt_unless_it_is_lost_again_and_again(made: Bench) -> None:
    def lost(cluster: Cluster, order: Order) -> list[Message]:
        return [ms.Lost(order.number, "its worker was paused", is_blameless=True)]

    few, many = Cluster([lost, lost, lost, computed]), Cluster([lost])

    assert drive(made.driver(Graph("few", double), few, x=1)).status == "succeeded"
    assert drive(made.driver(Graph("many", double), many, x=2)).status == "failed"
    assert len(many.orders) == 4


def test_messages_of_an_unknown_batch_are_ignored(made: Bench) -> None:
    strange = Receipt("nobody", "double", 1, ())

    def noisy(cluster: Cluster, order: Order) -> list[Message]:
        return [
            ms.Started(99, "w"),
            ms.Progress(99, 1, 2),
            ms.PartFinished(99, strange),
            ms.Finished(99, (strange,)),
            ms.Lost(99, "who?"),
            *computed(cluster, order),
        ]

    state = drive(made.driver(Graph("g", double), Cluster([noisy]), x=1))

    assert state.status == "succeeded"


def test_an_exception_at_the_desk_ends_the_run_and_says_what_it_was(made: Bench) -> None:
    class Broken:
        def probe(self, order: Probe) -> Event:
            raise ZeroDivisionError("the desk is bare")

    cluster = Cluster()
    driver = made.driver(Graph("g", double), cluster, lambda desk: Broken(), x=1)

    state = drive(driver)

    assert state.status == "failed"
    assert state.error == "ZeroDivisionError: the desk is bare"
    assert isinstance(driver.exception, ZeroDivisionError)
    assert cluster.was_called("close")


def test_a_cluster_that_cannot_be_reached_ends_the_run(made: Bench) -> None:
    def unreachable(cluster: Cluster, order: Order) -> list[Message]:
        raise ClusterError("nobody answers")

    driver = made.driver(Graph("g", double), Cluster([unreachable]), x=1)

    state = drive(driver)

    assert state.status == "failed"
    assert isinstance(driver.exception, ClusterError)


def test_a_cluster_that_breaks_ends_the_run(made: Bench) -> None:
    cluster = Cluster([lambda cluster, order: [ms.Broken(ClusterError("gone"))]])
    driver = made.driver(Graph("g", double), cluster, x=1)

    assert drive(driver).error == "ClusterError: gone"


def test_a_log_that_cannot_be_written_is_not_fatal(made: Bench) -> None:
    class Full:
        def append(self, events: Sequence[Mapping[str, Any]]) -> None:
            raise OSError("no space left on device")

    state = drive(made.driver(Graph("g", double), Cluster(), log=Full(), x=1))

    assert state.status == "succeeded"


def damaged(cluster: Cluster, order: Order) -> list[Message]:
    failure = Failure(0, FailureKind.DAMAGE, "a segment is damaged", "1")
    return [ms.Finished(order.number, (Receipt(order.batch.name, order.batch.node, 1, (), (failure,)),))]


def test_damage_lets_the_run_begin_again(made: Bench) -> None:
    cluster = Cluster([damaged, computed])
    driver = made.driver(Graph("g", double), cluster, x=1)

    state = drive(driver)

    assert state.status == "succeeded"
    assert state.damage == ["a segment is damaged"]
    assert cluster.was_called("refresh")
    assert [order.number for order in cluster.orders] == [0, 1]


def test_damage_that_comes_again_and_again_ends_the_run(made: Bench) -> None:
    cluster = Cluster([damaged])
    driver = made.driver(Graph("g", double), cluster, x=1)

    state = drive(driver)

    assert state.status == "failed"
    assert isinstance(driver.exception, CorruptCheckpointError)
    assert len(cluster.orders) < 10


def test_damage_does_not_undo_a_cancellation(made: Bench) -> None:
    def damaged_when_cancelled(cluster: Cluster, order: Order) -> list[Message]:
        driver.cancel()
        return []

    def end() -> None:
        for message in damaged(cluster, cluster.orders[0]):
            cluster.post(message)

    cluster = Cluster([damaged_when_cancelled, computed], on_call={"halt": end})
    driver = made.driver(Graph("g", double), cluster, x=1)

    state = drive(driver)

    assert state.status == "cancelled"
    assert state.damage == ["a segment is damaged"]
    assert len(cluster.orders) == 1


def test_damage_found_at_the_desk_does_not_undo_a_cancellation(made: Bench) -> None:
    class Damaged:
        def probe(self, order: Probe) -> Event:
            driver.cancel()
            assert halted.wait(10)
            raise CorruptCheckpointError("a record is damaged")

    halted = threading.Event()
    cluster = Cluster(on_call={"halt": halted.set})
    driver = made.driver(Graph("g", double), cluster, lambda desk: Damaged(), x=1)

    state = drive(driver)

    assert state.status == "cancelled"
    assert driver.exception is None
    assert state.damage == ["a record is damaged"]


def test_what_the_desk_said_before_damage_was_found_does_not_count(made: Bench) -> None:
    class Together:
        """Damage is found while its first answer about a batch lies in the inbox already."""

        def __init__(self, desk: Desk) -> None:
            self._desk = desk

        def __getattr__(self, name: str) -> Any:
            return getattr(self._desk, name)

        def settle(self, number: int, receipts: Any, at: float) -> Event:
            event = self._desk.settle(number, receipts, at)
            if not found_before:
                found_before.append(True)
                driver._post(CorruptCheckpointError("a record is damaged"))
            return event

    found_before: list[bool] = []
    driver = made.driver(Graph("g", count_to).add_edges(count_to, [double, thrice]), Cluster(), Together, x=3)

    state = drive(driver)

    assert state.status == "succeeded", state.error
    assert state.damage == ["a record is damaged"]
    assert state.nodes["double"].computed == state.nodes["thrice"].computed == 3


def test_a_retry_that_falls_due_while_the_driver_works_is_not_slept_through(made: Bench) -> None:
    """The clock moves with every look at it, so a delay is always over between planning and waiting."""
    at = 0.0

    def clock() -> float:
        nonlocal at
        at += 0.04
        return at

    def failed(cluster: Cluster, order: Order) -> list[Message]:
        failure = Failure(0, FailureKind.ERROR, "ValueError: no", "1")
        return [ms.Finished(order.number, (Receipt(order.batch.name, order.batch.node, 1, (), (failure,)),))]

    for x in range(15):
        delay = 0.03 + 0.02 * x
        retries = Retries(max_retries=1, initial_delay=delay, max_delay=delay, jitter=0.0)
        driver = made.driver(Graph("g", double, retries=retries), Cluster([failed, computed]), clock=clock, x=x)

        assert drive(driver).status == "succeeded"


def test_after_an_error_nothing_more_is_handed_over(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still queued then would start a cluster for a run that has ended."""
    closing = threading.Event()
    make = Desk.batch

    def late(desk: Desk, order: Any) -> Any:
        driver._post(ms.Broken(ClusterError("gone")))
        assert closing.wait(10)
        return make(desk, order)

    class Thread(ThreadPoolExecutor):
        def shutdown(self, *args: Any, **options: Any) -> None:
            closing.set()
            super().shutdown(*args, **options)

    monkeypatch.setattr(Desk, "batch", late)
    cluster = Cluster([kept])
    driver = made.driver(Graph("g", double), cluster, x=1)
    driver._hands._desk_thread = Thread(1)

    assert drive(driver).status == "failed"
    assert cluster.orders == []
