"""The same on processes, to which functions, classes and modules travel: the embedded cluster, and one over TLS."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tensorlake_nb import Graph, RequestContext, TaskFailedError, TensorlakeCompute, configure, tensorlake_function
from tests.support.notes import Notes


@pytest.fixture(scope="module", params=["embedded", "tls"])
def workers(request: pytest.FixtureRequest) -> Any:
    """Two processes that all tests here share."""
    return "embedded" if request.param == "embedded" else request.getfixturevalue("shared").client()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, workers: Any) -> str:
    """A store of the test's own."""
    url = str(tmp_path / "store")
    configure(store=url, cluster=workers, workers=2)
    return url


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


class Total(BaseModel):
    value: int = 0


@dataclass
class Page:
    number: int
    text: str


def test_classes_come_back_as_the_classes_they_are() -> None:
    @tensorlake_function()
    def page(x: int) -> Page:
        return Page(x, f"page {x}")

    @tensorlake_function(accumulate=Total)
    def summed(acc: Total, page: Page) -> Total:
        acc.value += page.number
        return acc

    run = Graph("classes", spread).add_edge(spread, page).add_edge(page, summed).run(items=[1, 2, 3])

    assert run.output(page) == [Page(i, f"page {i}") for i in (1, 2, 3)]
    assert type(run.output(page)[0]) is Page
    assert run.result() == Total(value=6)


def test_equal_elements_are_computed_once_by_all_workers_together(notes: Notes) -> None:
    @tensorlake_function()
    def each(x: int) -> int:
        notes.add(x)
        time.sleep(0.02)
        return -x

    run = Graph("equal", spread).add_edge(spread, each).run(items=[1, 2, 3] * 10)

    assert run.output(each) == [-1, -2, -3] * 10
    assert sorted(notes.all()) == ["1", "2", "3"]


def test_a_class_is_initialised_once_per_worker(notes: Notes) -> None:
    class Model(TensorlakeCompute):
        name = "model"

        def __init__(self) -> None:
            notes.add(os.getpid())

        def run(self, x: int) -> int:
            time.sleep(0.02)
            return x + 1

    run = Graph("model", spread).add_edge(spread, Model).run(items=list(range(40)))

    assert run.output("model") == run.output(Model) == list(range(1, 41))
    assert len(notes.all()) == len(set(notes.all())) <= 2


def test_both_workers_take_part_and_a_reducer_streams(notes: Notes) -> None:
    @tensorlake_function()
    def slow(x: int) -> int:
        notes.add(f"made by {os.getpid()}")
        time.sleep(0.05)
        return x

    @tensorlake_function(accumulate=list)
    def folded(acc: list[int], x: int) -> list[int]:
        notes.add(f"folded {x}")
        return [*acc, x]

    run = Graph("streams", spread).add_edge(spread, slow).add_edge(slow, folded).run(items=list(range(100)))

    noted = notes.all()
    last_made = max(i for i, line in enumerate(noted) if line.startswith("made"))
    assert run.result() == list(range(100))
    assert len({line for line in noted if line.startswith("made")}) == 2
    assert noted.index("folded 0") < last_made


def test_a_generator_streams_across_processes(notes: Notes) -> None:
    @tensorlake_function()
    def source() -> Iterator[int]:
        yield 1
        time.sleep(0.55)
        yield 2
        notes.wait_for("called with 1")
        notes.add("ended")

    @tensorlake_function()
    def each(x: int) -> int:
        notes.add(f"called with {x}")
        return x

    run = Graph("generator", source).add_edge(source, each).run()

    assert run.output(each) == [1, 2]
    assert notes.all().index("called with 1") < notes.all().index("ended")


def test_request_state_is_shared_across_processes() -> None:
    @tensorlake_function(inject_ctx=True)
    def begin(ctx: RequestContext, n: int) -> list[int]:
        ctx.request_state.set("factor", n)
        return list(range(n))

    @tensorlake_function(inject_ctx=True)
    def scaled(ctx: RequestContext, x: int) -> int:
        time.sleep(0.01)
        return x * int(ctx.request_state.get("factor"))

    assert Graph("state", begin).add_edge(begin, scaled).run(n=10).result() == [10 * x for x in range(10)]


def test_an_error_of_another_process_shows_the_line() -> None:
    @tensorlake_function()
    def parse(text: str) -> int:
        return int(text)  # the line

    with pytest.raises(TaskFailedError) as raised:
        Graph("parsing", spread).add_edge(spread, parse).run(items=["1", "two"])

    assert (raised.value.node, raised.value.index) == ("parse", 1)
    assert "return int(text)  # the line" in str(raised.value)


def test_a_tree_of_merges() -> None:
    @tensorlake_function(accumulate=list, combine=lambda left, right: left + right)
    def tree(acc: list[int], x: int) -> list[int]:
        return [*acc, x]

    assert Graph("tree", spread).add_edge(spread, tree).run(items=list(range(500))).result() == list(range(500))
