"""What a failure has kept from being computed is no silent nothing: it is raised, with what the function raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tensorlake_nb import Graph, RequestException, Run, TaskFailedError, tensorlake_function
from tensorlake_nb.errors import WorkerLostError


class Refused(Exception):
    """One with state of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no")


@tensorlake_function()
def spread(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function()
def odd(x: int) -> int:
    if x % 2 == 0:
        raise Refused(x)
    return x


@tensorlake_function()
def fails(x: int) -> int:
    raise Refused(x)


@tensorlake_function(accumulate=int)
def total(acc: int, x: int) -> int:
    return acc + x


@tensorlake_function(accumulate=int, combine=lambda left, right: left + right)
def grouped(acc: int, x: int) -> int:
    return acc + x


@tensorlake_function()
def after(x: int) -> int:
    return x


@tensorlake_function()
def nothing(n: int) -> None:
    return None


@pytest.mark.parametrize("reducer", [total, grouped])
def test_a_result_that_a_failure_above_a_reducer_has_prevented_is_that_failure(reducer: Any) -> None:
    graph = Graph("lacking", spread, on_error="continue").add_edge(spread, odd).add_edge(odd, reducer)
    graph.add_edge(reducer, after)
    run = graph.run(n=4)

    asked: list[tuple[Callable[[], Any], str]] = [
        (run.result, "after"),
        (lambda: run.output(after), "after"),
        (lambda: run.output(reducer), reducer.name),
    ]
    for ask, who in asked:
        with pytest.raises(TaskFailedError) as caught:
            ask()
        assert str(caught.value).startswith(f"'{who}' has no output, because 'odd' failed on element 0")
        assert (caught.value.node, caught.value.index, caught.value.run) == ("odd", 0, run)
        assert isinstance(caught.value.__cause__, Refused)
    assert (run.output(odd), [*run.outputs(reducer)]) == ([1, 3], [])


def test_so_it_is_where_the_first_function_or_all_calls_failed() -> None:
    run = Graph("lacking", fails, on_error="continue").add_edge(fails, after).run(x=1)
    with pytest.raises(TaskFailedError, match="'after' has no output, because 'fails' failed on element 0"):
        run.result()
    with pytest.raises(TaskFailedError, match=r"^'fails' failed on element 0"):
        run.output(fails)

    run = Graph("all", spread, on_error="continue").add_edge(spread, fails).run(n=2)
    with pytest.raises(TaskFailedError, match=r"^'fails' failed on element 0"):
        run.result()


def test_what_really_gave_nothing_is_nothing() -> None:
    run = Graph("nothing", nothing).add_edge(nothing, after).run(n=1)

    assert (run.result(), run.output(nothing), run.output(after)) == ([], [], [])
    run = Graph("none", spread, on_error="continue").add_edge(spread, total).run(n=0)
    assert run.result() == 0


def test_an_output_of_a_run_that_a_function_has_ended_is_its_word() -> None:
    @tensorlake_function()
    def ends(x: int) -> int:
        raise RequestException(f"not with {x}")

    graph = Graph("ended", spread).add_edge(spread, ends)
    with pytest.raises(RequestException) as caught:
        graph.run(n=2)
    run = caught.value.run
    assert isinstance(run, Run)
    for ask in (run.result, lambda: run.output(ends), lambda: run.output(spread), lambda: graph.output(run.id, spread)):
        with pytest.raises(RequestException, match="not with 0"):
            ask()
    assert [*run.outputs(spread)] == [0, 1]


def test_what_a_function_raised_is_the_cause_as_far_as_it_can_be_rebuilt() -> None:
    with pytest.raises(TaskFailedError) as caught:
        Graph("raises", fails).run(x=7)

    assert isinstance(caught.value.__cause__, Refused)
    assert caught.value.__cause__.code == 7
    assert caught.value.exception_type == "Refused"
    (shown,) = caught.value._render_traceback_()
    assert shown.count("Refused: 7") == 2, "the message, and the traceback of the call; the cause adds nothing"
    assert isinstance(caught.value.run, Run)
    with pytest.raises(TaskFailedError) as later:
        Run.open(caught.value.run.id).wait()
    assert later.value.__cause__ is None, "a store's pickles aren't loaded for it"
    assert later.value.exception_type == "Refused"


def test_what_can_not_be_rebuilt_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", uuid4().hex)

    @tensorlake_function()
    def unpicklable(x: int) -> int:
        raise Unpicklable(x)

    @tensorlake_function()
    def large(x: int) -> int:
        raise ValueError("x" * 100_000)

    @tensorlake_function(secrets=["API_KEY"])
    def telling(x: int) -> int:
        import os

        raise ValueError(os.environ["API_KEY"])

    for function, kind in (
        (unpicklable, "Unpicklable"),
        (large, "ValueError"),
        (telling, "ValueError"),
    ):
        with pytest.raises(TaskFailedError) as caught:
            Graph("raises", function).run(x=1)
        assert caught.value.__cause__ is None
        assert caught.value.exception_type.endswith(kind)


def test_a_failure_that_nothing_was_raised_for_has_no_type() -> None:
    def named(error: str) -> str:
        return TaskFailedError("node", 0, "1", 1, error, "").exception_type

    assert named("its worker ended while it ran: exit code 3") == ""
    assert named(f"{WorkerLostError.__name__}: gone") == "WorkerLostError"
    assert named("KeyError") == "KeyError"
    assert named("Outer.<locals>.Mine: 3: 4") == "Outer.<locals>.Mine"
