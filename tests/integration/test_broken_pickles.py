"""What can't be made again on a worker, in whatever way: the run fails and says so, and never waits for it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from traitlets.config import Config

from tensorlake_nb import Graph, TaskFailedError, tensorlake_function
from tensorlake_nb.engine.worker import execute
from tensorlake_nb.errors import SerializationError


class Breaking:
    """Travels well, and raises when it arrives."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return Breaking, (self.error,), {"error": self.error}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["error"] is RecursionError:
            self.__setstate__(state)
        raise state["error"]("on arrival")


def graph_with(held: Any) -> Graph:
    @tensorlake_function()
    def holding(x: int) -> int:
        return x if held is not None else 0

    return Graph("holding", holding)


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, SystemExit, ModuleNotFoundError, KeyError])
def test_what_raises_when_it_arrives_fails_the_run_at_once(error: type[BaseException]) -> None:
    with pytest.raises((SerializationError, TaskFailedError)) as caught:
        graph_with(Breaking(error)).run(x=1).result()

    assert error.__name__ in str(caught.value) or "module" in str(caught.value)
    assert "worker" in str(caught.value)


def test_a_decorator_that_answers_for_the_function_below_it_travels() -> None:
    class Decorator:
        def __init__(self, f: Any) -> None:
            self.f = f

        def __call__(self, x: int) -> int:
            return int(self.f(x))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.f, name)

    class Slotted:
        __slots__ = ("f",)

        def __init__(self, f: Any) -> None:
            self.f = f

        def __getattr__(self, name: str) -> Any:
            return getattr(self.f, name)

    def plus_one(x: int) -> int:
        return x + 1

    helper, other = Decorator(plus_one), Slotted(plus_one)

    @tensorlake_function()
    def calling(x: int) -> str:
        return f"{helper(x)} {other.__name__}"

    assert Graph("calling", calling).run(x=4).result() == "5 plus_one"


def test_what_lists_and_dicts_that_answer_for_attributes_hold_travels() -> None:
    class Record(dict[str, Any]):
        def __getattr__(self, name: str) -> Any:
            return self[name]

    class Rows(list[Any]):
        def __getattr__(self, name: str) -> list[Any]:
            return [getattr(row, name) for row in self]

    class Named(Record):
        def __init__(self, name: str, **held: Any) -> None:
            super().__init__(**held)
            self.__dict__["called"] = name

    record, rows = Record(a=Record(b=3)), Rows([Record(c=1), Record(c=2)])
    named, config = Named("one", d=4), Config({"Section": {"e": 5}})

    @tensorlake_function()
    def reading(x: int) -> list[Any]:
        return [x, record.a.b, rows.c, named.called, named.d, config.Section.e]

    assert Graph("reading", reading).run(x=0).result() == [0, 3, [1, 2], "one", 4, 5]


def test_an_error_that_cant_be_sent_back_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback is pickled frame by frame, each in the one before: Dask would drop the message without a word."""

    def deeper(*given: Any) -> Any:
        return deeper(*given)

    monkeypatch.setattr(execute, "execute", deeper)

    with pytest.raises(Exception, match="RecursionError"):
        graph_with(1).run(x=1).result()


def test_errors_of_the_store_and_ours_keep_their_class_on_the_way_back() -> None:
    from tensorlake_nb.engine.worker.execute import _portable
    from tensorlake_nb.errors import CorruptCheckpointError, InternalError

    try:
        raise CorruptCheckpointError("cut short") from ValueError(sys)
    except CorruptCheckpointError as error:
        portable = _portable(error)
    assert (type(portable), str(portable), portable.__cause__) == (CorruptCheckpointError, "cut short", None)
    assert portable.__traceback__ is None
    assert type(_portable(RecursionError("deep"))) is InternalError
