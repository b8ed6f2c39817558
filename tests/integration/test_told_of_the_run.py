"""What a call was told of its run - its id, the graph's name - holds where another run is told the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tensorlake_nb import Graph, Run, TensorlakeCompute, tensorlake_function, tensorlake_router
from tensorlake_nb.core.batches.batch import Batch
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.cluster.session import Session
from tensorlake_nb.engine.cluster.settings import read_settings
from tensorlake_nb.engine.worker.execute import execute
from tests.support import local_backend
from tests.support.notes import Notes


@tensorlake_function()
def spread(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function(inject_ctx=True)
def stamped(ctx: Any, x: int) -> Any:
    return (x, ctx.request_id if x == 1 else None)


@tensorlake_function(accumulate=list)
def listed(found: list[Any], x: Any) -> list[Any]:
    return [*found, x]


def computed(run: Run) -> dict[str, int]:
    return {name: standing.computed for name, standing in run.standings().items()}


def test_what_reads_the_id_of_its_run_is_kept_for_that_run_and_says_so() -> None:
    graph = Graph("stamps", spread).add_edge(spread, stamped).add_edge(stamped, listed)

    first, second = graph.run(n=3), graph.run(n=3)

    assert first.result() == [(0, None), (1, first.id), (2, None)]
    assert second.result() == [(0, None), (1, second.id), (2, None)]
    assert computed(second) == {"spread": 0, "stamped": 1, "listed": 2}, "whoever didn't ask is replayed"
    said = "reads ctx.request_id: what it gives is kept for this run only"
    assert said in str(second.why(stamped))
    assert said in str(Run.open(second.id).why(stamped))
    assert said in second.standings()["stamped"].notes
    assert said not in str(second.why(listed))
    assert second.resume().result() == second.result()
    assert graph.plan(n=3).nodes["stamped"].to_compute == 1


def test_what_reads_the_name_or_the_version_of_its_graph_is_kept_for_graphs_that_are_called_so() -> None:
    @tensorlake_function(inject_ctx=True)
    def named(ctx: Any, x: int) -> Any:
        return (ctx.graph_name, ctx.graph_version)

    def run(name: str, version: str) -> tuple[Any, int]:
        done = Graph(name, named, version=version).run(x=1)
        return done.result(), computed(done)["named"]

    assert run("one", "1") == (("one", "1"), 1)
    assert run("one", "1") == (("one", "1"), 0)
    assert run("other", "1") == (("other", "1"), 1)
    assert run("one", "2") == (("one", "2"), 1)


@pytest.mark.parametrize("combine", [None, lambda left, right: left + right])
def test_a_fold_is_told_once_and_all_that_follows_is_of_that_run(combine: Any) -> None:
    @tensorlake_function(inject_ctx=True, accumulate=list, combine=combine)
    def folded(ctx: Any, found: list[Any], x: int) -> list[Any]:
        return [*found, ctx.run_id if x == 1 else x]

    graph = Graph("folds", spread).add_edge(spread, folded)
    first = graph.run(n=9)
    second = graph.run(n=9)
    longer = graph.run(n=12)

    for run, n in ((first, 9), (second, 9), (longer, 12)):
        assert run.result() == [0, run.id, *range(2, n)]


def test_routers_generators_coroutines_and_classes_are_told_of_their_own_run() -> None:
    @tensorlake_router(inject_ctx=True, next=[listed])
    def routed(ctx: Any, x: int) -> list[Any]:
        return [listed] if ctx.request_id else []

    @tensorlake_function(inject_ctx=True)
    def generated(ctx: Any, x: int) -> Any:
        yield ctx.request_id

    @tensorlake_function(inject_ctx=True)
    async def awaited(ctx: Any, x: int) -> str:
        return str(ctx.request_id)

    class Told(TensorlakeCompute):
        inject_ctx = True

        def run(self, ctx: Any, x: int) -> str:
            return str(ctx.request_id)

    for function in (generated, awaited, Told):
        graph = Graph("kinds", spread).add_edge(spread, function)
        for _ in range(2):
            run = graph.run(n=2)
            assert run.output(function) == [run.id] * 2
    graph = Graph("routes", spread).add_edge(spread, routed).route(routed, [listed])
    assert [computed(graph.run(n=2))["routed"] for _ in range(2)] == [2, 2]


def test_who_has_the_context_and_asks_nothing_is_replayed(notes: Notes) -> None:
    @tensorlake_function(inject_ctx=True)
    def counted(ctx: Any, x: int) -> int:
        notes.add(x)
        ctx.counter("calls")
        return x

    graph = Graph("counts", spread).add_edge(spread, counted)
    for _ in range(2):
        assert graph.run(n=2).metrics["counters"] == {"calls": 2}
    assert len(notes.all()) == 2


@pytest.fixture
def lossy(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each batch of a node that has the context ends after a step or two, and every second one is lost with its worker.

    What it had committed is there; of its receipts nobody hears.
    """
    seen = Counter[str]()

    def lost(batch: Batch, *rest: Any) -> Any:
        if not batch.calls[0].inject_ctx:
            return execute(batch, *rest)
        seen[batch.node] += 1
        receipts = execute(replace(batch, budget_s=0.0), *rest)
        if seen[batch.node] % 2:
            raise ConnectionError("the worker is gone")
        return receipts

    monkeypatch.setattr(local_backend, "execute", lost)
    monkeypatch.setattr(session, "_session", Session(read_settings(store=store, cluster="embedded")))
    with local_backend.runs_here(local_backend.Place()):
        yield


@pytest.mark.parametrize("combine", [None, lambda left, right: left + right])
def test_a_fold_passes_on_what_steps_were_told_whose_worker_was_lost(lossy: None, combine: Any) -> None:
    @tensorlake_function(inject_ctx=True, accumulate=list, combine=combine)
    def folded(ctx: Any, found: list[Any], x: int) -> list[Any]:
        ctx.counter("steps")
        return [*found, ctx.run_id if x == 0 else x]

    graph = Graph("folds", spread).add_edge(spread, folded)
    runs = [(n, graph.run(n=n)) for n in (5, 5, 7, 4)]
    assert [run.result() for _, run in runs] == [[run.id, *range(1, n)] for n, run in runs]
    for n, run in runs:
        assert combine is not None or run.metrics["counters"] == {"steps": n}
        assert "reads ctx.request_id" in str(run.why(folded))


def test_elements_whose_worker_was_lost_keep_what_they_did_beside_returning(lossy: None) -> None:
    @tensorlake_function(inject_ctx=True)
    def told(ctx: Any, x: int) -> Any:
        ctx.counter("calls")
        ctx.request_state.set("last", x)
        return ctx.request_id

    graph = Graph("maps", spread).add_edge(spread, told)
    runs = [(n, graph.run(n=n)) for n in (1, 1, 3)]
    assert [run.output(told) for _, run in runs] == [[run.id] * n for n, run in runs]
    for n, run in runs:
        assert run.metrics["counters"] == {"calls": n}
        assert "reads ctx.request_id" in str(run.why(told))
