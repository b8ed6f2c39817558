"""What a scheduler counts of the work that runs have told it of."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tensorlake_nb.engine.cluster import backlog
from tensorlake_nb.engine.cluster.backlog import Backlogs

BATCH = ("work-20261130-101500-0a3f2c", "3 work-3")


def worker(*keys: object) -> Any:
    return SimpleNamespace(nthreads=2, processing=[SimpleNamespace(key=key) for key in keys])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Backlogs]:
    """A scheduler of two workers that knows of ten seconds of work, and the plugin on it."""
    monkeypatch.setattr(backlog, "time", SimpleNamespace(monotonic=lambda: scheduler.now))
    scheduler: Any = SimpleNamespace(
        adaptive_target=lambda target_duration=None: 1,
        handlers={},
        total_occupancy=10.0,
        workers={"a": worker(BATCH), "b": worker("others")},
        now=0.0,
    )
    plugin = Backlogs()
    asyncio.run(plugin.start(scheduler))
    return scheduler, plugin


def tell(plugin: Backlogs, seconds: float, elements: int, run: str = "r") -> None:
    plugin.log_event("tensorlake-nb-backlog", {"run": run, "seconds": seconds, "elements": elements})


def test_whoever_asks_hears_of_the_work_that_is_not_handed_over(told: tuple[Any, Backlogs]) -> None:
    scheduler, plugin = told
    assert scheduler.adaptive_target("5s") == 1
    tell(plugin, 50.0, 100)
    tell(plugin, 20.0, 20, run="another")

    assert scheduler.adaptive_target("5s") == 8, "80 s in 5 s: 16 threads"
    assert scheduler.handlers["adaptive_target"](target_duration=10) == 4
    assert scheduler.adaptive_target() == 8, "Dask's own setting is 5 s"


def test_a_few_long_calls_ask_for_no_more_workers_than_can_take_one(told: tuple[Any, Backlogs]) -> None:
    scheduler, plugin = told
    tell(plugin, 9000.0, 2)

    assert scheduler.adaptive_target("5s") == 2, "two elements, and two tasks that are at work"


def test_a_backlog_is_taken_back_or_expires(told: tuple[Any, Backlogs]) -> None:
    scheduler, plugin = told
    tell(plugin, 50.0, 100)
    tell(plugin, 0.0, 0)
    assert scheduler.adaptive_target("5s") == 1

    tell(plugin, 50.0, 100)
    scheduler.now = backlog.EXPIRES_S + 1
    assert scheduler.adaptive_target("5s") == 1


def test_a_worker_that_has_a_batch_is_not_let_go(told: tuple[Any, Backlogs]) -> None:
    scheduler, plugin = told

    assert plugin.valid_workers_downscaling(scheduler, list(scheduler.workers.values())) == [scheduler.workers["b"]]
