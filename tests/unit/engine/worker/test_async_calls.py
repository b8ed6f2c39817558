"""Coroutine functions: several elements at once, results in the order of the stream."""

from __future__ import annotations

import asyncio
from typing import Any

from tensorlake_nb import RequestContext, tensorlake_function
from tensorlake_nb.core.batches.batch import FailureKind
from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.calls.cancellation import forget_run
from tests.support.batches import RUN, Bench, Calls

OTHER_RUN = RunId("20260102-000000-abcdef")


def test_outputs_are_in_the_order_of_the_elements_whatever_ends_first(bench: Bench, calls: Calls) -> None:
    @tensorlake_function(max_concurrency=3)
    async def waits(x: int) -> int:
        for _ in range(x):
            await asyncio.sleep(0.001)
        calls.note(x)
        return x * 10

    receipt = bench.run_one(bench.batch(bench.call(waits), [30, 20, 1]))

    assert bench.values(receipt) == [300, 200, 10]
    assert calls.all()[0] == "1"


def test_no_more_than_max_concurrency_run_at_once_and_that_many_do(bench: Bench) -> None:
    @tensorlake_function(max_concurrency=3, version="peak")
    async def peak(x: int) -> int:
        loop: Any = asyncio.get_running_loop()
        loop.running = getattr(loop, "running", 0) + 1
        most = int(loop.running)
        for _ in range(5):
            await asyncio.sleep(0)
            most = max(most, loop.running)
        loop.running -= 1
        return most

    values = bench.values(bench.run_one(bench.batch(bench.call(peak), list(range(9)))))

    assert max(values) == 3


def test_the_event_loop_is_kept_from_batch_to_batch(bench: Bench) -> None:
    @tensorlake_function
    async def loop_of(x: int) -> int:
        return id(asyncio.get_running_loop())

    call = bench.call(loop_of)
    (first,) = bench.values(bench.run_one(bench.batch(call, [1])))
    (second,) = bench.values(bench.run_one(bench.batch(call, [2])))

    assert first == second


def test_a_failure_of_one_leaves_the_others(bench: Bench) -> None:
    @tensorlake_function
    async def fails(x: int) -> int:
        await asyncio.sleep(0)
        if x == 2:
            raise ValueError("two")
        return x

    receipt = bench.run_one(bench.batch(bench.call(fails), [1, 2, 3], stop_on_failure=False))

    assert bench.values(receipt) == [1, 3]
    assert receipt.failures[0].offset == 1
    assert "tensorlake_nb/engine" not in receipt.failures[0].traceback_text


def test_an_element_that_takes_too_long_is_cancelled_alone(bench: Bench) -> None:
    @tensorlake_function(timeout=0.1)
    async def hangs(x: int) -> int:
        if x == 2:
            await asyncio.Event().wait()
        return x

    receipt = bench.run_one(bench.batch(bench.call(hangs), [1, 2, 3], stop_on_failure=False))

    assert bench.values(receipt) == [1, 3]
    (failure,) = receipt.failures
    assert (failure.offset, failure.kind) == (1, FailureKind.TIMEOUT)
    assert "'hangs' took longer than its timeout of 0.1 s" in failure.error


def test_cancelling_the_run_cancels_what_is_under_way(bench: Bench) -> None:
    @tensorlake_function
    async def cancels(x: int) -> int:
        from tensorlake_nb.engine.calls.cancellation import request_cancel

        if x == 1:
            return x
        if x == 3:
            request_cancel(RUN)
        await asyncio.Event().wait()
        return x

    receipt = bench.run_one(bench.batch(bench.call(cancels), [1, 2, 3]))
    forget_run(RUN)

    assert receipt.done == 1
    assert receipt.failures == ()


def test_output_of_coroutines_is_told_apart(bench: Bench) -> None:
    @tensorlake_function
    async def chatty(x: int) -> int:
        for _ in range(3):
            print(x, end="")
            await asyncio.sleep(0)
        return x

    receipt = bench.run_one(bench.batch(bench.call(chatty), [1, 2]))

    assert sorted((line.offset, line.text) for line in receipt.logs) == [(0, "111"), (1, "222")]


def test_the_context_comes_first(bench: Bench) -> None:
    @tensorlake_function(inject_ctx=True)
    async def named(ctx: RequestContext, x: int) -> str:
        return f"{ctx.graph_name} {x}"

    assert bench.values(bench.run_one(bench.batch(bench.call(named), [1]))) == ["bench 1"]


def test_they_are_replayed_as_any_other(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    async def noted(x: int) -> int:
        calls.note(x)
        return x

    call = bench.call(noted)
    bench.run(bench.batch(call, [1, 2, 2]))
    receipt = bench.run_one(bench.batch(call, [2, 1], run_id=OTHER_RUN))

    assert sorted(calls.all()) == ["1", "2"]
    assert bench.values(receipt) == [2, 1]
