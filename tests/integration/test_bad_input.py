"""Bad input is one clear error before anything runs: no run is left behind, and no function is called."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb import (
    ClusterError,
    Graph,
    GraphError,
    InputError,
    OptionError,
    RouteTo,
    Run,
    SerializationError,
    StoreUnavailableError,
    StoreVersionError,
    TaskFailedError,
    TensorlakeError,
    UnhashableInputError,
    UsageError,
    configure,
    tensorlake_function,
    tensorlake_router,
)
from tests.support.notes import Notes


@tensorlake_function()
def begin(n: int, name: str = "x") -> int:
    return n


@tensorlake_function()
def after(x: int) -> int:
    return x


@tensorlake_function()
def texts(x: list[str]) -> int:
    return len(x)


@tensorlake_function()
def two(a: int, b: int) -> int:
    return a + b


def pipeline() -> Graph:
    return Graph("pipeline", begin).add_edge(begin, after)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "missing 'n'"),
        ({"n": 1, "m": 2}, "unexpected 'm'"),
        ({"n": "three"}, "'n'"),
        ({"n": "3"}, "'n'"),
        ({"n": 1, "name": 5}, "'name'"),
        ({"m": 2}, "missing 'n'; unexpected 'm'"),
    ],
)
def test_inputs_that_do_not_fit_name_what_is_expected(inputs: dict[str, Any], said: str) -> None:
    for use in (pipeline().run, pipeline().start, pipeline().plan, pipeline().to_dask):
        with pytest.raises(InputError) as raised:
            use(**inputs)

        assert said in str(raised.value)
        assert "begin(n: int, name: str = 'x')" in str(raised.value)
    assert Run.list() == []


def unreachable() -> Graph:
    return pipeline().add_node(texts)


def unknown_route() -> Graph:
    @tensorlake_router(next=["nowhere"])
    def route(x: int):  # type: ignore[no-untyped-def]
        return "nowhere"

    return pipeline().add_edge(after, route)


def cannot_bind() -> Graph:
    return Graph("unbound", begin).add_edge(begin, two)


def wants_a_list() -> Graph:
    return Graph("scalars", begin).add_edge(begin, texts)


def cycle() -> Graph:
    return pipeline().add_edge(after, after)


def start_with_parents() -> Graph:
    return pipeline().add_edge(after, begin)


def dead_edge() -> Graph:
    @tensorlake_function(next=[after])
    def chooses(x: int):  # type: ignore[no-untyped-def]
        return RouteTo(x, after)

    return Graph("dead", chooses).add_edge(chooses, texts)


def no_such_parameter() -> Graph:
    return pipeline().add_edge(begin, two, into="c")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (unreachable, "'texts'"),
        (unknown_route, "nowhere"),
        (cannot_bind, "two"),
        (wants_a_list, "texts"),
        (cycle, "after"),
        (start_with_parents, "begin"),
        (dead_edge, "texts"),
        (no_such_parameter, "'c'"),
    ],
)
def test_a_graph_that_cannot_work_says_why(make: Callable[[], Graph], said: str) -> None:
    uses: list[Callable[[Graph], object]] = [
        lambda graph: graph.run(n=1),
        lambda graph: graph.validate(),
        lambda graph: graph.plan(n=1),
    ]
    for use in uses:
        with pytest.raises(GraphError) as raised:
            use(make())
        assert said in str(raised.value)
    assert Run.list() == []


def test_all_problems_stand_in_one_message() -> None:
    with pytest.raises(GraphError) as raised:
        pipeline().add_node(texts).add_edge(after, two).validate()

    assert "texts" in str(raised.value)
    assert "two" in str(raised.value)


@pytest.mark.parametrize("accumulate", [0, "list", []])
def test_an_accumulator_that_cannot_be_called_is_refused(accumulate: Any) -> None:
    def folded(acc: Any, x: int) -> Any:
        return acc

    def build() -> None:
        reducer = tensorlake_function(accumulate=accumulate)(folded)
        Graph("folds", begin).add_edge(begin, reducer).validate()

    with pytest.raises(UsageError, match="accumulate"):
        build()


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 201, None, 5])
def test_a_name_that_cannot_be_one_is_refused(name: Any) -> None:
    with pytest.raises(OptionError):
        Graph(name, begin)


def test_something_that_is_no_function_is_refused() -> None:
    with pytest.raises(UsageError, match="tensorlake_function"):
        Graph("plain", lambda x: x)  # type: ignore[arg-type]


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises((OptionError, TypeError), match="colour"):
        tensorlake_function(colour="red")  # type: ignore[call-overload]
    with pytest.raises(OptionError):
        configure(workers="many")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="store"):
        configure(store=5)  # type: ignore[arg-type]


def test_a_store_of_an_unknown_kind_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")

    for url in ("nosuchscheme://somewhere", "s3:/bucket", str(file), str(file / "below"), "/proc/store"):
        with pytest.raises(StoreUnavailableError) as raised:
            configure(store=url)
        assert url.rpartition("/")[2] in str(raised.value)


def test_a_failed_configure_changes_nothing(store: str) -> None:
    with pytest.raises(TensorlakeError):
        configure(store="nosuchscheme://somewhere")

    assert configure().store == store
    assert pipeline().run(n=1).result() == 1


def test_a_store_of_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    pipeline().run(n=1)
    root = next(path for path in (tmp_path / "store").iterdir() if path.name == "zarr.json")
    record = json.loads(root.read_text())
    text = root.read_text()
    assert "version" in text
    attributes = record["attributes"]["tensorlake_nb"]
    key = next(key for key in attributes if "version" in key or "format" in key)
    attributes[key] = 999
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "zarr.json").write_text(json.dumps(record))

    with pytest.raises(StoreVersionError, match="999"):
        configure(store=str(tmp_path / "newer"))


def test_memory_cannot_be_shared_with_processes() -> None:
    configure(store="memory://shared", cluster="embedded")

    with pytest.raises(StoreUnavailableError, match="memory"):
        pipeline().run(n=1)


def test_a_cluster_that_does_not_answer_is_given_up_soon() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ClusterError, match=address):
            configure(cluster=address)

    assert time.monotonic() - began < 10


def test_what_cannot_travel_names_the_culprit(notes: Notes) -> None:
    lock = threading.Lock()

    @tensorlake_function()
    def uses_lock(x: int) -> int:
        notes.add(x)
        with lock:
            return x

    with pytest.raises((SerializationError, UnhashableInputError, UsageError), match="lock"):
        Graph("locked", uses_lock).run(x=1)
    with pytest.raises((SerializationError, UnhashableInputError), match="lock"):
        Graph("given", tensorlake_function()(anything)).run(x={"deep": [lock]})

    assert notes.all() == []
    assert Run.list() == []


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("asyncio.sleep(0)", r"a coroutine does nothing until it is awaited\. Write `async def`"),
        ("(i for i in range(3))", r"a generator can be gone through only once\. Return list\(\.\.\.\) of it"),
        (
            "{'a': [1, threading.Lock()]}",
            r"value\['a'\]\[1\] is a _thread\.lock, .* Return what it was made from instead",
        ),
    ],
)
def test_what_a_function_returns_and_nobody_can_keep_is_told_with_what_to_do(returned: str, told: str) -> None:
    @tensorlake_function()
    def gives(code: str) -> Any:
        import asyncio
        import threading

        return eval(code, {"threading": threading, "asyncio": asyncio})

    with pytest.raises(
        TaskFailedError, match=f"SerializationError: what 'gives' returned can't be kept: {told}"
    ) as got:
        Graph("unkept", gives).run(code=returned)

    assert str(got.value).count("can't be kept") == 1, "without frames of the author's there is no traceback to show"


def anything(x):  # type: ignore[no-untyped-def]
    return 1


def test_a_missing_secret_is_named() -> None:
    @tensorlake_function(secrets=["NO_SUCH_SECRET"])
    def secret(x: int) -> int:
        return x

    with pytest.raises(OptionError, match="NO_SUCH_SECRET"):
        Graph("secret", secret).run(x=1)


def test_a_run_that_is_not_there_is_told() -> None:
    from tensorlake_nb import RunNotFoundError

    with pytest.raises(RunNotFoundError, match="20200101"):
        Run.open("20200101-000000-abcdef")
    with pytest.raises(UsageError, match="nonsense"):
        pipeline().run(n=1).output("nonsense")
