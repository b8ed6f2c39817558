"""Batches of plain functions and routers: look up, call, commit, receipt."""

from __future__ import annotations

import json
import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from tensorlake_nb import (
    RequestException,
    RouteTo,
    TensorlakeCompute,
    tensorlake_function,
    tensorlake_router,
)
from tensorlake_nb.core.batches.batch import BARE, Column, FailureKind
from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.core.keys import DIGEST_SIZE, RunId, row_digest
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls import loaded as functions
from tensorlake_nb.engine.calls.caller import Host
from tensorlake_nb.engine.calls.cancellation import forget_run, request_cancel
from tensorlake_nb.engine.calls.reporting import BatchBegun
from tensorlake_nb.errors import CorruptCheckpointError
from tests.support.batches import RUN, Bench, Calls, counts

OTHER_RUN = RunId("20260102-000000-abcdef")


class Rude(BaseModel):
    x: int

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def int32(*numbers: int) -> bytes:
    return np.array(numbers, dtype=np.int32).tobytes()


# --- what is returned ------------------------------------------------------------------------------------------------


def test_each_element_is_called_and_its_output_committed_in_order(bench: Bench) -> None:
    @tensorlake_function
    def double(x: int) -> int:
        return 2 * x

    receipt = bench.run_one(bench.batch(bench.call(double), [3, 1, 2]))

    assert receipt.done == 3
    assert bench.values(receipt) == [6, 2, 4]
    (piece,) = receipt.pieces
    assert (piece.start, piece.stop, piece.computed, piece.replayed) == (0, 3, 3, 0)
    assert piece.outputs.digests == digest(6) + digest(2) + digest(4)
    assert sum(len(span) for span in piece.outputs.spans) == 3


def test_nothing_a_list_and_a_bare_value_are_told_apart_by_their_counts(bench: Bench) -> None:
    @tensorlake_function
    def spread(n: int) -> Any:
        return None if n == 0 else n if n == 1 else list(range(n)) if n < 9 else (n, n)

    receipt = bench.run_one(bench.batch(bench.call(spread), [0, 1, 3, 9]))

    assert counts(receipt) == [0, BARE, 3, BARE]
    assert bench.values(receipt) == [1, 0, 1, 2, (9, 9)]


def test_an_empty_list_is_no_output(bench: Bench) -> None:
    @tensorlake_function
    def nothing(x: int) -> list[int]:
        return []

    receipt = bench.run_one(bench.batch(bench.call(nothing), [1]))

    assert counts(receipt) == [0]
    assert receipt.pieces[0].outputs.n_out == 0


def test_values_cross_as_json_does_where_the_encoder_says_so(bench: Bench) -> None:
    @tensorlake_function(output_encoder="json")
    def pair(x: int) -> Any:
        return {"pair": (x, x)}

    receipt = bench.run_one(bench.batch(bench.call(pair), [1]))

    assert bench.values(receipt) == [{"pair": [1, 1]}]
    assert receipt.pieces[0].outputs.digests == digest({"pair": [1, 1]})


def test_an_input_encoder_of_json_makes_lists_of_tuples_before_they_bind(bench: Bench, calls: Calls) -> None:
    @tensorlake_function(input_encoder="json")
    def kind(value) -> str:  # type: ignore[no-untyped-def]
        return type(value).__name__

    receipt = bench.run_one(bench.batch(bench.call(kind), [(1, 2)]))

    assert bench.values(receipt) == ["list"]


def test_an_output_that_json_does_not_know_fails_as_usage(bench: Bench) -> None:
    @tensorlake_function(output_encoder="json")
    def bad(x: int) -> Any:
        return {1, 2}

    receipt = bench.run_one(bench.batch(bench.call(bad), [1]))

    (failure,) = receipt.failures
    assert failure.kind is FailureKind.USAGE
    assert "JSON" in failure.error


# --- how elements bind -----------------------------------------------------------------------------------------------


def test_a_run_starts_with_its_inputs_by_name(bench: Bench) -> None:
    @tensorlake_function
    def area(width: int, height: int = 2) -> int:
        return width * height

    spans, given = bench.put([{"width": 5, "height": 3}])
    receipt = bench.run_one(bench.batch_of(bench.call(area), (Column(spans, into="**"),), given))

    assert bench.values(receipt) == [15]


def test_a_joined_row_takes_each_value_by_its_parameter(bench: Bench) -> None:
    @tensorlake_function
    def glue(left: str, right: str) -> str:
        return left + right

    lefts, _ = bench.put(["a", "b"])
    rights, _ = bench.put(["x", "y"])
    rows = b"".join(row_digest([("left", digest(a)), ("right", digest(b))]) for a, b in [("a", "x"), ("b", "y")])
    columns = (Column(lefts, into="left"), Column(rights, into="right"))
    receipt = bench.run_one(bench.batch_of(bench.call(glue), columns, rows))

    assert bench.values(receipt) == ["ax", "by"]


def test_a_list_that_is_taken_whole_comes_as_one_value(bench: Bench) -> None:
    @tensorlake_function
    def shown(values) -> str:  # type: ignore[no-untyped-def]
        return repr(values)

    spans, _ = bench.put([1, 2, 3])
    given = digest([1, 2]) + digest(3) + digest([])
    column = Column(spans, groups=int32(2, BARE, 0))
    receipt = bench.run_one(bench.batch_of(bench.call(shown), (column,), given))

    assert bench.values(receipt) == ["[1, 2]", "3", "[]"]


def test_a_call_that_changes_its_argument_changes_nothing_else(bench: Bench) -> None:
    @tensorlake_function
    def empty(values: dict[str, int]) -> int:
        size = len(values)
        values.clear()
        return size

    batch = bench.batch(bench.call(empty), [{"a": 1}])
    bench.run(batch)
    again = bench.run_one(bench.batch_of(bench.call(empty, fingerprint="ab" * 32), batch.columns, batch.given))

    assert bench.values(again) == [1]


def test_what_does_not_bind_fails_as_usage_and_the_others_go_on(bench: Bench) -> None:
    @tensorlake_function
    def named(a: int, b: int) -> int:
        return a + b

    values = [{"a": 1, "b": 2}, {"a": 1}, {"a": 3, "b": 4}]
    receipt = bench.run_one(bench.batch(bench.call(named), values, stop_on_failure=False))

    assert receipt.done == 3
    assert bench.values(receipt) == [3, 7]
    (failure,) = receipt.failures
    assert (failure.offset, failure.kind) == (1, FailureKind.USAGE)
    assert failure.error.startswith("BindingError")
    assert [(piece.start, piece.stop) for piece in receipt.pieces] == [(0, 1), (2, 3)]


# --- what is never called twice --------------------------------------------------------------------------------------


def test_equal_elements_are_called_once(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(x: int) -> int:
        calls.note(x)
        return x

    receipt = bench.run_one(bench.batch(bench.call(noted), [7, 8, 7, 7]))

    assert calls.all() == ["7", "8"]
    assert bench.values(receipt) == [7, 8, 7, 7]
    assert (receipt.pieces[0].computed, receipt.pieces[0].replayed) == (2, 2)


def test_equal_elements_fail_together_after_one_call(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def fails(x: int) -> int:
        calls.note(x)
        raise ValueError("no")

    receipt = bench.run_one(bench.batch(bench.call(fails), [7, 7], stop_on_failure=False))

    assert calls.all() == ["7"]
    assert [failure.offset for failure in receipt.failures] == [0, 1]
    assert receipt.done == 2


def test_another_run_replays_what_is_in_the_store(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(x: int) -> int:
        calls.note(x)
        return -x

    call = bench.call(noted)
    bench.run(bench.batch(call, [1, 2]))
    receipt = bench.run_one(bench.batch(call, [2, 3, 1], run_id=OTHER_RUN))

    assert calls.all() == ["1", "2", "3"]
    assert bench.values(receipt) == [-2, -3, -1]
    assert (receipt.pieces[0].computed, receipt.pieces[0].replayed) == (1, 2)


def test_a_batch_that_dask_runs_again_finds_what_its_first_run_left(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(x: int) -> int:
        calls.note(x)
        return x

    batch = bench.batch(bench.call(noted, cold=True), [1, 2, 3])
    first = bench.run_one(batch)
    functions.clear()  # as in another process
    second = bench.run_one(batch)

    assert calls.all() == ["1", "2", "3"]
    assert bench.values(second) == bench.values(first) == [1, 2, 3]


def test_a_function_is_unpickled_once_so_its_globals_survive_from_batch_to_batch(bench: Bench) -> None:
    seen: list[int] = []

    @tensorlake_function(version="1")
    def remembering(x: int) -> int:
        seen.append(x)
        return len(seen)

    call = bench.call(remembering)
    first = bench.run_one(bench.batch(call, [1]))
    second = bench.run_one(bench.batch(call, [2]))

    assert bench.values(first) + bench.values(second) == [1, 2]
    assert seen == []


def test_a_class_is_initialised_once_per_process(bench: Bench, calls: Calls) -> None:
    class Model(TensorlakeCompute):
        name = "model"

        def __init__(self) -> None:
            calls.note("init")

        def run(self, x: int) -> int:
            return x + 1

    call = bench.call(Model)
    bench.run(bench.batch(call, [1, 2]))
    receipt = bench.run_one(bench.batch(call, [3]))

    assert bench.values(receipt) == [4]
    assert calls.all() == ["init"]


# --- routes ----------------------------------------------------------------------------------------------------------


def test_a_routers_input_travels_on_by_reference(bench: Bench) -> None:
    @tensorlake_router
    def by_sign(x: int) -> Any:
        return ["negative"] if x < 0 else [] if x == 0 else "positive"

    batch = bench.batch(bench.call(by_sign, routes=("negative", "positive")), [-1, 0, 1])
    receipt = bench.run_one(batch)

    (piece,) = receipt.pieces
    assert piece.outputs.spans == batch.columns[0].spans
    assert piece.outputs.digests == batch.given
    assert piece.outputs.routes == Routes.of([("negative",), (), ("positive",)])
    assert counts(receipt) == [BARE, BARE, BARE]


def test_a_router_that_starts_a_run_stores_what_travels(bench: Bench) -> None:
    @tensorlake_router
    def route(text: str) -> Any:
        return "next"

    spans, given = bench.put([{"text": "hello"}])
    batch = bench.batch_of(bench.call(route, routes=("next",)), (Column(spans, into="**"),), given)
    receipt = bench.run_one(batch)

    assert bench.values(receipt) == ["hello"]
    assert receipt.pieces[0].outputs.digests == digest("hello")
    assert receipt.pieces[0].outputs.routes == Routes.of([("next",)])


def test_a_router_that_changes_its_input_passes_on_what_it_was_given(bench: Bench) -> None:
    @tensorlake_router
    def route(row: dict[str, Any]) -> Any:
        row["spoiled"] = True
        return "next"

    spans, given = bench.put([{"row": {"a": 1}}])
    batch = bench.batch_of(bench.call(route, routes=("next",)), (Column(spans, into="**"),), given)

    assert bench.values(bench.run_one(batch)) == [{"a": 1}]


def test_routers_are_replayed_too(bench: Bench, calls: Calls) -> None:
    @tensorlake_router
    def route(x: int) -> Any:
        calls.note(x)
        return "even" if x % 2 == 0 else "odd"

    call = bench.call(route, routes=("even", "odd"))
    batch = bench.batch(call, [1, 2])
    first = bench.run_one(batch)
    again = bench.run_one(bench.batch_of(call, batch.columns, batch.given, run_id=OTHER_RUN))

    assert calls.all() == ["1", "2"]
    assert again.pieces[0].outputs.routes == first.pieces[0].outputs.routes == Routes.of([("odd",), ("even",)])
    assert again.pieces[0].outputs.spans == batch.columns[0].spans


def test_an_undeclared_route_is_an_error_that_lists_the_routes(bench: Bench) -> None:
    @tensorlake_router
    def route(x: int) -> Any:
        return "tables"

    receipt = bench.run_one(bench.batch(bench.call(route, routes=("text", "image")), [1]))

    (failure,) = receipt.failures
    assert failure.kind is FailureKind.USAGE
    assert "router 'route' chose 'tables', but its routes are 'text', 'image'" in failure.error


def test_route_to_sends_a_value_and_a_plain_return_goes_everywhere(bench: Bench) -> None:
    @tensorlake_function
    def split(x: int) -> Any:
        return RouteTo(x, ["left"]) if x == 1 else RouteTo(x, []) if x == 2 else [x, RouteTo(-x, "right")]

    receipt = bench.run_one(bench.batch(bench.call(split, routes=("left", "right")), [1, 2, 3]))

    assert bench.values(receipt) == [1, 2, 3, -3]
    assert receipt.pieces[0].outputs.routes == Routes.of([("left",), (), ("left", "right"), ("right",)])


def test_route_to_without_declared_routes_is_refused(bench: Bench) -> None:
    @tensorlake_function
    def split(x: int) -> Any:
        return RouteTo(x, "left")

    (failure,) = bench.run_one(bench.batch(bench.call(split), [1])).failures

    assert "its routes are none" in failure.error


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_failure_shows_the_input_and_only_the_authors_own_lines(bench: Bench) -> None:
    @tensorlake_function
    def parse(text: str) -> int:
        return int(text)

    receipt = bench.run_one(bench.batch(bench.call(parse), ["12", "twelve"]))

    (failure,) = receipt.failures
    assert (failure.offset, failure.kind) == (1, FailureKind.ERROR)
    assert failure.error == "ValueError: invalid literal for int() with base 10: 'twelve'"
    assert failure.input_repr == "'twelve'"
    assert "return int(text)" in failure.traceback_text
    assert "tensorlake_nb/engine" not in failure.traceback_text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, MemoryError, RecursionError, GeneratorExit])
def test_nothing_that_a_function_raises_ends_the_batch(bench: Bench, kind: type[BaseException]) -> None:
    @tensorlake_function
    def fails(x: int) -> int:
        if x == 1:
            raise kind("gone")
        return x

    receipt = bench.run_one(bench.batch(bench.call(fails), [1, 2], stop_on_failure=False))

    (failure,) = receipt.failures
    assert failure.kind is FailureKind.ERROR
    assert failure.error == f"{kind.__name__}: gone"
    assert bench.values(receipt) == [2]


def test_a_value_whose_repr_fails_does_not_hide_the_failure(bench: Bench) -> None:
    @tensorlake_function
    def fails(value: Rude) -> int:
        raise ValueError("bad")

    (failure,) = bench.run_one(bench.batch(bench.call(fails), [{"x": 1}])).failures

    assert failure.error == "ValueError: bad"
    assert len(failure.input_repr) <= 200


def test_the_first_final_failure_ends_a_batch_and_keeps_what_is_done(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def fails(x: int) -> int:
        calls.note(x)
        if x == 2:
            raise ValueError("no")
        return x

    receipt = bench.run_one(bench.batch(bench.call(fails), [1, 2, 3]))

    assert calls.all() == ["1", "2"]
    assert receipt.done == 2
    assert bench.values(receipt) == [1]


def test_a_failure_with_a_retry_left_does_not_end_the_batch(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def fails(x: int) -> int:
        calls.note(x)
        if x == 2:
            raise ValueError("no")
        return x

    receipt = bench.run_one(bench.batch(bench.call(fails), [1, 2, 3], final=False))

    assert calls.all() == ["1", "2", "3"]
    assert receipt.done == 3


def test_a_request_exception_ends_the_batch_whatever_the_policy(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def refuses(x: int) -> int:
        calls.note(x)
        raise RequestException("wrong account")

    receipt = bench.run_one(bench.batch(bench.call(refuses), [1, 2], stop_on_failure=False, final=False))

    assert calls.all() == ["1"]
    (failure,) = receipt.failures
    assert failure.kind is FailureKind.REQUEST
    assert "wrong account" in failure.error


def test_failures_are_never_kept(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def fails(x: int) -> int:
        calls.note(x)
        raise ValueError("no")

    call = bench.call(fails)
    bench.run(bench.batch(call, [1]))
    bench.run(bench.batch(call, [1], run_id=OTHER_RUN))

    assert calls.all() == ["1", "1"]


def test_an_output_that_cannot_be_stored_names_the_culprit(bench: Bench) -> None:
    @tensorlake_function
    def lock(x: int) -> Any:
        import threading

        return {"a": [threading.Lock()]}

    (failure,) = bench.run_one(bench.batch(bench.call(lock), [1])).failures

    assert failure.kind is FailureKind.USAGE
    assert "['a'][0]" in failure.error


def test_a_damaged_input_is_told_apart_from_a_failure_of_the_function(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(x: Any) -> int:
        calls.note("called")
        return 1

    batch = bench.batch(bench.call(noted), ["x" * 100])
    functions.clear()
    bench.store._values.clear()
    bench.store._reader.recent.clear()
    (span,) = batch.columns[0].spans
    for file in Path(bench.url, "segments", span.segment[:2], span.segment).rglob("*"):
        if file.is_file() and file.name != "zarr.json":
            file.write_bytes(b"\0" * file.stat().st_size)
    (failure,) = bench.run_one(batch).failures

    assert failure.kind is FailureKind.DAMAGE
    assert calls.all() == []


def test_code_that_was_tampered_with_is_refused(bench: Bench) -> None:
    @tensorlake_function
    def fine(x: int) -> int:
        return x

    call = bench.call(fine, code_digest=b"\0" * DIGEST_SIZE)

    with pytest.raises(CorruptCheckpointError, match="isn't what was sent"):
        bench.run(bench.batch(call, [1]))


# --- how far a batch goes --------------------------------------------------------------------------------------------


def test_a_batch_begins_nothing_after_its_budget_but_always_something(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(x: int) -> int:
        calls.note(x)
        return x

    receipt = bench.run_one(bench.batch(bench.call(noted), [1, 2, 3], budget_s=0.0))

    assert receipt.done == 1
    assert bench.values(receipt) == [1]
    assert calls.all() == ["1"]


def test_replayed_elements_cost_no_budget(bench: Bench) -> None:
    @tensorlake_function
    def same(x: int) -> int:
        return x

    call = bench.call(same)
    bench.run(bench.batch(call, [1, 2, 3]))
    receipt = bench.run_one(bench.batch(call, [1, 2, 3, 4, 5], run_id=OTHER_RUN, budget_s=0.0))

    assert receipt.done == 4


def test_a_cancelled_run_begins_nothing(bench: Bench, calls: Calls) -> None:
    @tensorlake_function
    def noted(x: int) -> int:
        calls.note(x)
        return x

    batch = bench.batch(bench.call(noted), [1])
    request_cancel(RUN)
    stopped = bench.run_one(batch)
    forget_run(RUN)
    resumed = bench.run_one(batch)

    assert (stopped.done, stopped.pieces, stopped.failures) == (0, (), ())
    assert resumed.done == 1


def test_cancelling_interrupts_the_call_under_way_without_a_failure(bench: Bench) -> None:
    @tensorlake_function
    def cancels(x: int) -> int:
        from tensorlake_nb.engine.calls.cancellation import request_cancel

        if x == 2:
            request_cancel(RUN)
            while True:
                pass
        return x

    receipt = bench.run_one(bench.batch(bench.call(cancels), [1, 2, 3]))
    forget_run(RUN)

    assert receipt.done == 1
    assert receipt.failures == ()
    assert bench.values(receipt) == [1]


# --- chains ----------------------------------------------------------------------------------------------------------


def test_one_element_is_carried_through_a_chain_with_a_receipt_per_node(bench: Bench) -> None:
    @tensorlake_function
    def one(x: int) -> int:
        return x + 1

    @tensorlake_function
    def two(x: int) -> list[int]:
        return [x * 10]

    @tensorlake_function
    def three(x: int) -> str:
        return f"<{x}>"

    chain = [bench.call(one), bench.call(two), bench.call(three)]
    receipts = bench.run(bench.batch(chain, [1]))

    assert [receipt.node for receipt in receipts] == ["one", "two", "three"]
    assert [bench.values(receipt) for receipt in receipts] == [[2], [20], ["<20>"]]
    assert counts(receipts[1]) == [1]


@pytest.mark.parametrize("returned", [None, [1, 2], []])
def test_a_chain_ends_where_there_is_not_exactly_one_output(bench: Bench, returned: Any) -> None:
    @tensorlake_function
    def first(x: int) -> Any:
        return returned

    @tensorlake_function
    def second(x: int) -> int:
        return x

    receipts = bench.run(bench.batch([bench.call(first), bench.call(second)], [1]))

    assert [receipt.node for receipt in receipts] == ["first"]


def test_a_failure_in_a_chain_belongs_to_its_node_and_what_came_before_is_kept(bench: Bench) -> None:
    @tensorlake_function
    def fine(x: int) -> int:
        return x

    @tensorlake_function
    def fails(x: int) -> int:
        raise ValueError("late")

    receipts = bench.run(bench.batch([bench.call(fine), bench.call(fails)], [5]))

    assert bench.values(receipts[0]) == [5]
    assert receipts[0].failures == ()
    assert receipts[1].failures[0].error == "ValueError: late"


# --- what a receipt tells --------------------------------------------------------------------------------------------


def test_what_a_call_prints_warns_and_logs_comes_with_the_receipt(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    @tensorlake_function
    def noisy(x: int) -> int:
        print("printed", x)
        warnings.warn("watch out", stacklevel=1)
        logging.getLogger("mine").warning("logged %s", x)
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        receipt = bench.run_one(bench.batch(bench.call(noisy), [4]))

    texts = {line.stream: line.text for line in receipt.logs}
    assert texts["stdout"] == "printed 4\n"
    assert "UserWarning: watch out" in texts["warning"]
    assert texts["log"] == "WARNING:mine:logged 4\n"
    assert {line.offset for line in receipt.logs} == {0}
    assert capsys.readouterr().out == ""


def test_a_receipt_names_its_worker_and_its_time(bench: Bench) -> None:
    @tensorlake_function
    def same(x: int) -> int:
        return x

    batch = bench.batch(bench.call(same), [1])
    receipt = bench.run_one(batch, Host(address="tcp://there"))

    assert receipt.worker == "tcp://there"
    assert receipt.batch == batch.name
    assert receipt.started_at <= receipt.ended_at
    assert 0.0 < receipt.seconds < 10.0
    assert next(message for message in bench.messages if isinstance(message, BatchBegun)).batch == batch.name


def test_large_results_are_committed_on_the_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    @tensorlake_function
    def big(x: int) -> Any:
        return np.full(1000, x)

    monkeypatch.setattr("tensorlake_nb.engine.worker.node_work.PART_BYTES", 10_000)
    receipt = bench.run_one(bench.batch(bench.call(big), [1, 2, 3, 4]))

    assert len({span.segment for span in receipt.pieces[0].outputs.spans}) > 1
    assert [int(value[0]) for value in bench.values(receipt)] == [1, 2, 3, 4]


def test_receipts_are_small_whatever_the_values(bench: Bench) -> None:
    @tensorlake_function
    def big(x: int) -> str:
        return "x" * 100_000

    receipt = bench.run_one(bench.batch(bench.call(big), list(range(20))))

    assert len(pickle.dumps(receipt)) < 3000


def test_a_stored_outcome_is_plain_to_anyone_who_looks_it_up(bench: Bench) -> None:
    @tensorlake_function
    def pair(x: int) -> list[int]:
        return [x, x + 1]

    batch = bench.batch(bench.call(pair), [1])
    bench.run(batch)
    index = bench.store.index(batch.calls[0].fingerprint, refresh=True)

    assert len(index) == 1
    outcome = index.outcome(0)
    assert outcome.outputs.each_count.tolist() == [2]
    assert outcome.outputs.routes is None
    assert json.dumps(bench.store.read(outcome.outputs.spans)) == "[1, 2]"
