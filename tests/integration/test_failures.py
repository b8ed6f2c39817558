"""Failures: how often they are tried again, what they stop, what they leave, and what they say."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tensorlake_nb import (
    Graph,
    RequestException,
    Retries,
    Run,
    TaskFailedError,
    configure,
    tensorlake_function,
)
from tensorlake_nb.core.batches.messages import Order
from tensorlake_nb.engine.cluster.batch_names import batch_key
from tensorlake_nb.engine.driving.dask_backend import DaskBackend
from tensorlake_nb.engine.runs import recorded_run
from tests.support.notes import Notes

SOON = Retries(max_retries=2, initial_delay=0.02, max_delay=0.05)


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


@tensorlake_function(accumulate=list)
def listed(acc: list[int], x: int) -> list[int]:
    return [*acc, x]


def test_a_failure_names_node_element_input_and_the_line() -> None:
    @tensorlake_function()
    def parse(text: str) -> int:
        return int(text)  # the line

    with pytest.raises(TaskFailedError) as raised:
        Graph("parsing", spread).add_edge(spread, parse).run(items=["1", "2", "three"])

    error = raised.value
    assert (error.node, error.index) == ("parse", 2)
    assert "'three'" in str(error)
    assert "invalid literal for int()" in str(error)
    assert "return int(text)  # the line" in str(error)
    assert isinstance(error.run, Run)
    assert error.run.status == "failed"


def test_a_lone_failure_ends_the_run_at_once() -> None:
    @tensorlake_function()
    def fail(x: int) -> int:
        raise ValueError(x)

    for _ in range(3):
        with pytest.raises(TaskFailedError, match="ValueError: 1"):
            Graph("lone", fail).start(x=1).wait(timeout=10)


def test_start_raises_only_when_it_is_waited_for() -> None:
    @tensorlake_function()
    def fail(x: int) -> int:
        raise ValueError("later")

    run = Graph("later", fail).start(x=1)

    with pytest.raises(TaskFailedError, match="later"):
        run.wait(timeout=10)
    assert run.status == "failed"
    (failure,) = run.failures
    assert (failure.node, failure.index, failure.attempt) == ("fail", 0, 1)


def test_an_attempt_is_made_as_often_as_retries_say(notes: Notes) -> None:
    @tensorlake_function(retries=SOON)
    def flaky(x: int) -> int:
        notes.add(x)
        if notes.all().count(str(x)) < (3 if x else 9):
            raise ValueError(x)
        return x

    with pytest.raises(TaskFailedError) as raised:
        Graph("flaky", spread, on_error="fail").add_edge(spread, flaky).run(items=[1, 2, 0])

    assert (raised.value.node, raised.value.index) == ("flaky", 2)
    assert raised.value.run is not None
    assert raised.value.run.failures[0].attempt == 3
    assert notes.all().count("0") == 3


def test_the_graphs_retries_are_for_functions_without_their_own(notes: Notes) -> None:
    @tensorlake_function()
    def second_time(x: int) -> int:
        notes.add(x)
        if notes.all().count(str(x)) < 2:
            raise ValueError(x)
        return x

    run = Graph("retried", spread, retries=SOON).add_edge(spread, second_time).run(items=[1, 2])

    assert run.output(second_time) == [1, 2]
    assert sorted(notes.all()) == ["1", "1", "2", "2"]
    assert run.failures == ()


def test_a_request_exception_is_not_tried_again_and_ends_the_run(notes: Notes) -> None:
    @tensorlake_function(retries=SOON)
    def refuse(x: int) -> int:
        notes.add(x)
        raise RequestException("the document has no pages")

    with pytest.raises(RequestException, match="the document has no pages") as raised:
        Graph("refused", refuse, on_error="continue").run(x=1)

    assert notes.all() == ["1"]
    assert raised.value.run is not None


def test_a_failure_keeps_what_is_finished(notes: Notes) -> None:
    @tensorlake_function()
    def each(x: int) -> int:
        notes.add(x)
        if x == 3 and notes.all().count("3") == 1:
            raise ValueError("once")
        return x

    graph = Graph("kept", spread).add_edge(spread, each).add_edge(each, listed)
    with pytest.raises(TaskFailedError):
        graph.run(items=[1, 2, 3])

    run = graph.run(items=[1, 2, 3])

    assert run.result() == [1, 2, 3]
    assert sorted(notes.all()) == ["1", "2", "3", "3"]


def test_what_does_not_depend_on_a_failure_goes_on() -> None:
    @tensorlake_function()
    def each(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    @tensorlake_function()
    def after(x: int) -> int:
        return -x

    graph = Graph("on", spread, on_error="continue").add_edge(spread, each).add_edges(each, [after, listed])

    run = graph.run(items=[1, 2, 3])

    assert run.status == "failed"
    assert run.output(after) == [-1, -3]
    assert [*run.outputs(listed)] == []  # a partial fold would be a wrong value
    (failure,) = run.failures
    assert (failure.node, failure.index, failure.input_repr) == ("each", 1, "2")
    assert failure.error == "ValueError: two"
    assert "raise ValueError" in failure.traceback_text
    assert run.counts(each) == {"computed": 2, "replayed": 0, "failed": 1, "cancelled": 0, "pending": 0}


@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_a_fold_that_fails_is_not_emitted_and_goes_on_from_where_it_stood(on_error: str, notes: Notes) -> None:
    @tensorlake_function(accumulate=list)
    def folded(acc: list[int], x: int) -> list[int]:
        notes.add(x)
        acc.append(x)
        if x == 3 and notes.all().count("3") == 1:
            raise ValueError("once")
        return acc

    graph = Graph("folds", spread, on_error=on_error).add_edge(spread, folded)  # type: ignore[arg-type]
    run = graph.start(items=[1, 2, 3, 4])
    if on_error == "fail":
        with pytest.raises(TaskFailedError) as raised:
            run.wait(timeout=10)
        assert (raised.value.node, raised.value.index) == ("folded", 2)
    else:
        run.wait(timeout=10)
    assert [*run.outputs(folded)] == []

    assert graph.run(items=[1, 2, 3, 4]).result() == [1, 2, 3, 4]
    assert notes.all().count("4") == 1


def test_equal_elements_fail_together_and_are_counted_each() -> None:
    @tensorlake_function()
    def each(x: int) -> int:
        raise ValueError(x)

    run = Graph("equal", spread, on_error="continue").add_edge(spread, each).run(items=[5, 5, 5])

    assert run.counts(each)["failed"] == 3
    assert sorted(failure.index for failure in run.failures) == [0, 1, 2]


@pytest.mark.parametrize("comes", ["while it waits for its second attempt", "after that"])
def test_an_element_equal_to_one_that_failed_once_is_not_computed_again(comes: str, notes: Notes) -> None:
    @tensorlake_function()
    def early(x: int) -> int:
        return x

    @tensorlake_function()
    def late(x: int) -> int:
        notes.wait_for("failed" if comes.startswith("while") else "done")
        return x

    @tensorlake_function(retries=Retries(max_retries=1, initial_delay=0.5))
    def paid(x: int) -> int:
        if not notes.all():
            notes.add("failed")
            raise ValueError("the service is busy")
        notes.add("done")
        return x + 1

    graph = Graph("equal_to_one_that_failed", spread)
    graph.add_edge(spread, early).add_edge(spread, late).add_edge(early, paid).add_edge(late, paid)

    assert graph.run(items=[1]).output(paid) == [2, 2]
    assert notes.all() == ["failed", "done"]


def test_a_generator_that_fails_midway_is_tried_again_and_gives_each_item_once(notes: Notes) -> None:
    @tensorlake_function(retries=SOON)
    def source():  # type: ignore[no-untyped-def]
        yield 1
        time.sleep(0.6)
        yield 2
        notes.add("here")
        if len(notes.all()) < 2:
            raise ValueError("once")
        yield 3

    @tensorlake_function()
    def each(x: int) -> int:
        return x

    run = Graph("midway", source).add_edge(source, each).run()

    assert run.output(each) == [1, 2, 3]
    assert len(notes.all()) == 2


def test_a_call_that_takes_too_long_is_ended() -> None:
    @tensorlake_function(timeout=1)
    def sleepy(x: int) -> int:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            time.sleep(0.01)
        return x

    began = time.monotonic()
    with pytest.raises(TaskFailedError, match="TaskTimeoutError: 'sleepy' took longer than its timeout of 1 s"):
        Graph("late", sleepy).run(x=1)

    assert time.monotonic() - began < 15


def test_an_argument_that_does_not_fit_names_the_function_and_what_came() -> None:
    @tensorlake_function()
    def triples():  # type: ignore[no-untyped-def]
        return [(1, 2, 3)]

    @tensorlake_function()
    def two(a: int, b: int) -> int:
        return a + b

    with pytest.raises(TaskFailedError, match=r"two\(a: int, b: int\) can't take a tuple of 3"):
        Graph("misfit", triples).add_edge(triples, two).run()


def test_an_output_that_cannot_be_stored_names_the_culprit() -> None:
    import threading

    @tensorlake_function()
    def bad(x: int):  # type: ignore[no-untyped-def]
        return {"lock": threading.Lock()}

    with pytest.raises(TaskFailedError, match="lock"):
        Graph("unstorable", bad).run(x=1)


def test_a_reducer_that_forgets_to_return_is_told() -> None:
    @tensorlake_function(accumulate=list)
    def forgetful(acc: list[int], x: int) -> None:
        acc.append(x)

    with pytest.raises(TaskFailedError, match="returned None"):
        Graph("forgets", spread).add_edge(spread, forgetful).run(items=[1])


def test_a_run_that_is_gone_on_with_gives_no_batch_the_name_of_one_that_nobody_remembers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its kernel died before the last events were written: batches of before may still be at work under their names."""
    configure(store=tmp_path / "store")
    gate = str(tmp_path / "gate")

    @tensorlake_function()
    def passes(path: str) -> int:
        if not Path(path).exists():
            raise ValueError("the gate is shut")
        return 1

    given: list[tuple[object, str]] = []
    real = DaskBackend.submit

    def submit(backend: DaskBackend, orders: Sequence[Order]) -> None:
        given.extend((batch_key(order.batch, order.number), order.batch.name) for order in orders)
        real(backend, orders)

    monkeypatch.setattr(DaskBackend, "submit", submit)
    run = Graph("gated", passes).start(path=gate)
    with pytest.raises(TaskFailedError):
        run.wait()
    before = list(given)
    for part in (tmp_path / "store" / "runs" / run.id / "events").iterdir():
        part.unlink()
    monkeypatch.setattr(recorded_run, "is_alive", lambda owner: False)
    Path(gate).touch()

    resumed = Run.open(run.id).resume()

    assert resumed.output(passes) == [1]
    after = given[len(before) :]
    assert after
    assert not {key for key, _ in before} & {key for key, _ in after}
    assert not {name for _, name in before} & {name for _, name in after}


def test_a_call_that_nobody_can_end_is_said_to_go_on(tmp_path: Path) -> None:
    script = f"""
import time
from tensorlake_nb import Graph, configure, tensorlake_function
configure(store={str(tmp_path / "store")!r}, cluster="threads", workers=1)

@tensorlake_function(timeout=0.1)
def hangs() -> None:
    until = time.monotonic() + 2
    while time.monotonic() < until:
        try:
            time.sleep(0.01)
        except BaseException:  # what the timeout raises
            pass

Graph("goes-on", hangs, on_error="continue").start().wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert "'hangs' goes on after its timeout of 0.1 s and can't be ended where it runs" in done.stderr
