"""What functions say about themselves: state, timers, counters, progress; kept and applied again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb import RequestContext, tensorlake_function
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.calls.context import Effects
from tensorlake_nb.engine.calls.reporting import CallProgress, decoded, encoded
from tensorlake_nb.store.codecs.classes import ModuleResolver
from tests.support.batches import RUN, Bench

OTHER_RUN = RunId("20260102-000000-abcdef")


def context(bench: Bench, run: RunId = RUN, **hooks: Any) -> RequestContext:
    return RequestContext(run, "graph", "1", bench.store, ModuleResolver(), **hooks)


def test_state_is_shared_by_all_calls_of_a_run(bench: Bench) -> None:
    context(bench).request_state.set("rows", {"a": np.arange(3)})

    assert context(bench).request_state.get("rows")["a"].tolist() == [0, 1, 2]
    assert context(bench, OTHER_RUN).request_state.get("rows") is None
    assert context(bench).request_state.get("missing", 5) == 5


def test_what_is_read_is_a_copy(bench: Bench) -> None:
    mine = context(bench)
    mine.request_state.set("list", [1])
    mine.request_state.get("list").append(2)

    assert mine.request_state.get("list") == [1]


def test_names_of_the_run_are_there(bench: Bench) -> None:
    mine = context(bench)

    assert (mine.request_id, mine.run_id, mine.graph_name, mine.graph_version) == (RUN, RUN, "graph", "1")


def test_timers_and_counters_add_up(bench: Bench) -> None:
    mine = context(bench)
    mine.timer("fetch", 0.5)
    mine.request_state.timer("fetch", 0.25)
    mine.counter("pages")
    mine.request_state.counter("pages", 4)

    assert mine.effects.timers == {"fetch": 0.75}
    assert mine.effects.counters == {"pages": 5}


def test_progress_restarts_the_clock_each_time_and_is_reported_now_and_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("tensorlake_nb.engine.calls.context.time.monotonic", lambda: now[0])
    reported: list[tuple[float, float]] = []
    restarted: list[None] = []
    mine = context(
        bench,
        on_progress=lambda current, total: reported.append((current, total)),
        restart_clock=lambda: restarted.append(None),
    )
    for i in range(10):
        mine.update_progress(i, 10)
        now[0] += 0.1
    mine.update_progress(10, 10)

    assert len(restarted) == 11
    assert reported == [(0, 10), (3, 10), (6, 10), (9, 10), (10, 10)]


def test_the_effects_of_a_call_are_applied_again_when_it_is_replayed(bench: Bench) -> None:
    @tensorlake_function(inject_ctx=True)
    def writes(ctx: RequestContext, x: int) -> int:
        ctx.request_state.set("last", x)
        ctx.counter("calls")
        ctx.timer("work", 1.5)
        return x

    call = bench.call(writes)
    first = bench.run_one(bench.batch(call, [1, 2]))
    second = bench.run_one(bench.batch(call, [2, 1], run_id=OTHER_RUN))

    assert (first.counters, first.timers) == ({"calls": 2}, {"work": 3.0})
    assert second.pieces[0].replayed == 2
    assert (second.counters, second.timers) == (first.counters, first.timers)
    assert context(bench).request_state.get("last") == 2
    assert context(bench, OTHER_RUN).request_state.get("last") == 1, "in the order of the elements"
    assert len(second.effects) == 2


def test_progress_reaches_the_driver_with_its_element(bench: Bench) -> None:
    @tensorlake_function(inject_ctx=True)
    def works(ctx: RequestContext, x: int) -> int:
        ctx.update_progress(1, 4)
        return x

    batch = bench.batch(bench.call(works), [1])
    bench.run(batch)

    assert CallProgress(batch.name, "works", 0, 1.0, 4.0) in bench.messages


def test_messages_travel_as_plain_data_and_strangers_are_ignored() -> None:
    message = CallProgress("works-1", "works", 0, 1.0, 4.0)

    assert decoded(encoded(message)) == message
    assert decoded({"anything": "else"}) is None


names = st.text(min_size=1, max_size=5)


@given(
    st.dictionaries(names, st.binary(max_size=5), max_size=3),
    st.dictionaries(names, st.floats(0, 10), max_size=3),
    st.dictionaries(names, st.integers(-5, 5), max_size=3),
)
def test_effects_pack_and_unpack(state: dict[str, bytes], timers: dict[str, float], counters: dict[str, int]) -> None:
    effects = Effects(state, timers, counters)
    packed = effects.packed()

    assert (packed is None) == (not state and not timers and not counters)
    assert packed is None or Effects.unpacked(packed) == effects


def test_values_of_the_notebooks_own_classes_come_back_as_such(bench: Bench, tmp_path: Path) -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    class Resolver:
        def name_of(self, cls: type) -> tuple[str, str] | None:
            return ("__main__", "Local") if cls is Local else None

        def find(self, module: str, qualname: str) -> type:
            return Local

    mine = RequestContext(RUN, "graph", None, bench.store, Resolver())
    mine.request_state.set("x", Local(3))

    assert type(mine.request_state.get("x")) is Local
