"""``graph.verify``: what doesn't give the same again is named, what does isn't, and the store stays as it is."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from tensorlake_nb import (
    Graph,
    InputError,
    OptionError,
    RequestContext,
    RouteTo,
    Run,
    TensorlakeCompute,
    configure,
    tensorlake_function,
    tensorlake_router,
)
from tensorlake_nb.engine.verifying.verification import Verification
from tests.support.notes import Notes


@tensorlake_function()
def spread(items: list) -> list:  # type: ignore[type-arg]
    return items


def everything_in(store: str) -> dict[str, tuple[bytes, int]]:
    """Every object of a store: its bytes, and when it was written."""
    files = [path for path in Path(store).rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def counts(found: Verification) -> dict[str, tuple[int, int, int, int]]:
    """Per function: checked, equal, different, failed."""
    return {name: (node.checked, node.equal, node.different, node.failed) for name, node in found.nodes.items()}


# --- what is found ----------------------------------------------------------------------------------------------------


_counted = itertools.count()
_lengths = itertools.cycle([1, 2, 3, 4, 5, 6, 7])


def by_chance(x: int) -> float:
    return random.random()


def by_the_clock(x: int) -> int:
    return time.time_ns()


def by_uuid(x: int) -> str:
    return f"item {x}, {uuid.uuid4()}"


def by_counting(x: int) -> int:
    return next(_counted)


def by_a_model(x: int) -> dict[str, Any]:
    words = random.choices(["good", "bad", "ugly"], k=40)
    return {"input": x, "answer": {"text": " ".join(["it is", *words]), "tokens": 40}}


def by_rounding(x: int) -> np.ndarray[Any, Any]:
    return np.full(100, float(x)) + np.where(np.arange(100) == 7, random.random() * 1e-12, 0.0)


def by_length(x: int) -> list[int]:
    return [x] * next(_lengths)


def by_items(x: int) -> Iterator[float]:
    yield float(x)
    yield random.random()


async def by_waiting(x: int) -> float:
    return random.random()


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (by_chance, "before 0."),
        (by_the_clock, "before 1"),
        (by_uuid, "before 'item 1, "),
        (by_counting, "before "),
        (by_a_model, "at ['answer']['text'], "),
        (by_rounding, "1 of 100 elements differ, by "),
        (by_length, "; before a list of "),
        (by_items, "output 1: "),
        (by_waiting, "before 0."),
    ],
)
def test_a_function_that_gives_something_else_each_time_is_named(
    store: str, function: Callable[..., Any], place: str
) -> None:
    odd = tensorlake_function(name="odd")(function)

    @tensorlake_function()
    def steady(given: dict) -> int:  # type: ignore[type-arg]
        return 1

    graph = Graph("odd", spread).add_edge(spread, odd).add_edge(odd, steady)
    graph.run(items=[1, 2, 3])
    before = everything_in(store)

    found = graph.verify(items=[1, 2, 3], sample=1)

    assert found.different == ("odd",)
    assert counts(found)["odd"] == (3, 0, 3, 0)
    example = found.nodes["odd"].example
    assert example is not None
    assert (example.index, example.given) == (0, "1")
    assert place in example.what
    assert "cacheable=False" in str(found)
    assert everything_in(store) == before


def test_the_order_of_a_set_is_found_by_a_process_that_hashes_otherwise(tmp_path: Path) -> None:
    script = tmp_path / "sets.py"
    script.write_text(
        "import sys\n"
        "from tensorlake_nb import Graph, configure, tensorlake_function\n"
        "@tensorlake_function()\n"
        "def letters(text: str) -> tuple:\n"
        "    return tuple(set(text))\n"
        "@tensorlake_function()\n"
        "def in_order(found: tuple) -> list:\n"
        "    return sorted(set(found))\n"
        "configure(store=sys.argv[2], cluster='threads')\n"
        "graph = Graph('sets', letters).add_edge(letters, in_order)\n"
        "found = getattr(graph, sys.argv[1])(text='abcdefghijklmnopqrstuvwxyz')\n"
        "print(getattr(found, 'different', ''))\n"
    )

    def say(what: str, seed: str) -> str:
        command = [sys.executable, str(script), what, str(tmp_path / "sets")]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    say("run", "1")

    assert say("verify", "1").strip() == "()"
    assert say("verify", "2").strip() == "('letters',)"


def test_a_router_a_reducer_and_a_class_that_leave_it_to_chance_are_named() -> None:
    @tensorlake_function()
    def left(x: int) -> int:
        return x

    @tensorlake_function()
    def right(x: int) -> int:
        return x

    @tensorlake_router()
    def either(x: int) -> list[left | right]:  # type: ignore[valid-type]
        return [left] if random.random() < 0.5 else [right]

    @tensorlake_function(accumulate=list)
    def gathered(acc: list[float], x: int) -> list[float]:
        return [*acc, random.random()]

    class Model(TensorlakeCompute):
        name = "model"

        def run(self, x: int) -> tuple[int, float]:
            return x, random.random()

    graph = Graph("choices", spread).add_edge(spread, either).route(either, [left, right])
    graph.add_edge(left, gathered).add_edge(right, gathered).add_edge(spread, Model)
    graph.run(items=list(range(20)))

    found = graph.verify(items=list(range(20)), sample=1)

    assert found.different == ("either", "gathered", "model")
    assert "it goes to 'left'; before to 'right'" in str(found) or "to 'right'; before to 'left'" in str(found)


# --- what isn't -------------------------------------------------------------------------------------------------------


@dataclass
class Page:
    number: int
    words: tuple[str, ...]


class Total(BaseModel):
    value: int = 0


def test_functions_that_follow_from_their_inputs_are_not_named_and_each_is_called_once_more(
    store: str, notes: Notes
) -> None:
    @tensorlake_function()
    def begin(n: int) -> list[int]:
        notes.add("begin")
        return list(range(n))

    @tensorlake_function()
    def small(x: int) -> RouteTo[int, Any]:
        notes.add(f"small {x}")
        return RouteTo(-x, [paged])

    @tensorlake_function()
    def large(x: int) -> int:
        notes.add(f"large {x}")
        return x

    @tensorlake_router()
    def by_size(x: int) -> list[small | large]:  # type: ignore[valid-type]
        notes.add(f"by_size {x}")
        return [small] if x < 6 else [large]

    @tensorlake_function()
    def paged(x: int) -> Page:
        notes.add(f"paged {x}")
        return Page(x, ("a", str(x)))

    @tensorlake_function()
    def array(x: int) -> np.ndarray[Any, Any]:
        notes.add(f"array {x}")
        return np.random.default_rng(x).random(4)

    @tensorlake_function()
    def table(x: int) -> pd.DataFrame:
        notes.add(f"table {x}")
        return pd.DataFrame({"x": [x, None], "s": ["a", "b"]})

    @tensorlake_function()
    async def waited(x: int) -> dict[str, int]:
        notes.add(f"waited {x}")
        return {"left": x}

    @tensorlake_function()
    def parts(x: int) -> Iterator[int]:
        notes.add(f"parts {x}")
        yield from range(x % 3)

    @tensorlake_function()
    async def async_parts(x: int) -> AsyncIterator[int]:
        notes.add(f"async_parts {x}")
        for i in range(x % 3):
            yield i

    @tensorlake_function()
    def nothing(x: int) -> None:
        notes.add(f"nothing {x}")

    class Model(TensorlakeCompute):
        name = "model"

        def run(self, x: int) -> int:
            notes.add(f"model {x}")
            return 2 * x

    @tensorlake_function()
    def together(doubled: int, frame: pd.DataFrame) -> int:
        notes.add(f"together {doubled}")
        return doubled + len(frame)

    @tensorlake_function(accumulate=Total)
    def summed(acc: Total, x: int) -> Total:
        notes.add(f"summed {acc.value} {x}")
        acc.value += x
        return acc

    @tensorlake_function(accumulate=int, combine=lambda left, right: left + right)
    def tree(acc: int, x: int) -> int:
        notes.add(f"tree {acc} {x}")
        return acc + x

    @tensorlake_function(accumulate=list)
    def folded_nothing(acc: list[Any], x: Any) -> list[Any]:
        return [*acc, x]

    graph = Graph("steady", begin)
    graph.add_edge(begin, by_size).route(by_size, [small, large]).add_edge(small, paged).add_edge(large, paged)
    for function in (array, table, waited, parts, async_parts, nothing, Model, summed, tree):
        graph.add_edge(begin, function)
    graph.add_edge(Model, together, into="doubled").add_edge(table, together, into="frame")
    graph.add_edge(nothing, folded_nothing)
    graph.run(n=12)
    made, before = sorted(notes.take()), everything_in(store)

    found = graph.verify(n=12, sample=1)

    assert (found.different, found.failed, found.left) == ((), (), 0)
    assert sorted(notes.take()) == made
    assert all(node.checked == node.equal > 0 for node in found.nodes.values())
    assert counts(found)["summed"] == (12, 12, 0, 0)
    assert found.nodes["folded_nothing"].replayed == 0
    assert "came out as it is kept" in str(found)
    assert everything_in(store) == before


def test_large_accumulators_are_folded_again_from_the_last_that_is_kept(notes: Notes) -> None:
    @tensorlake_function(accumulate=lambda: np.zeros(100_000))
    def summed(acc: Any, x: int) -> Any:
        notes.add(x)
        return acc + x

    graph = Graph("large", spread).add_edge(spread, summed)
    graph.run(items=list(range(50)))
    made = notes.take()

    found = graph.verify(items=list(range(50)), sample=0.5)

    assert found.nodes["summed"].equal == found.nodes["summed"].checked >= 1
    assert found.nodes["summed"].checked < len(made)  # most accumulators were left out
    assert set(notes.take()) <= set(made)


# --- how much, and which ----------------------------------------------------------------------------------------------


def test_a_share_of_each_function_is_chosen_by_the_seed_and_never_nothing(notes: Notes) -> None:
    @tensorlake_function()
    def each(x: int) -> int:
        notes.add(x)
        return -x

    @tensorlake_function(accumulate=int)
    def total(acc: int, x: int) -> int:
        return acc + x

    graph = Graph("share", spread).add_edge(spread, each).add_edge(each, total)
    items = list(range(200))
    graph.run(items=items)
    notes.take()

    def chosen(**options: Any) -> list[str]:
        found = graph.verify(items=items, **options)
        assert counts(found)["spread"] == (1, 1, 0, 0)
        assert counts(found)["total"][0] == counts(found)["each"][0]
        return sorted(notes.take())

    assert len(chosen()) == 2
    assert len(chosen(sample=0.101)) == 21
    assert len(chosen(sample=1e-9)) == 1
    assert chosen(sample=0.1) == chosen(sample=0.1)
    assert chosen(sample=0.1) != chosen(sample=0.1, seed=1)


def test_what_a_run_would_compute_is_left_alone(notes: Notes) -> None:
    @tensorlake_function(cacheable=False)
    def anew(x: int) -> float:
        notes.add("anew")
        return random.random()

    @tensorlake_function()
    def after(x: float) -> float:
        notes.add("after")
        return x

    graph = Graph("anew", spread).add_edge(spread, anew).add_edge(anew, after)

    nothing = graph.verify(items=[1], sample=1)
    graph.run(items=[1])
    notes.take()
    found = graph.verify(items=[1], sample=1)

    assert "nothing to compare with" in str(nothing)
    assert counts(found) == {"spread": (1, 1, 0, 0), "anew": (0, 0, 0, 0), "after": (0, 0, 0, 0)}
    assert notes.all() == []


def test_of_a_run_that_failed_halfway_what_is_kept_is_checked(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()

    @tensorlake_function()
    def picky(x: int) -> float:
        if broken.exists() and x == 3:
            raise ValueError("not yet")
        return random.random() if x == 7 else float(x)

    graph = Graph("halfway", spread, on_error="continue").add_edge(spread, picky)
    graph.run(items=list(range(10)))

    found = graph.verify(items=list(range(10)), sample=1)

    assert counts(found)["picky"] == (9, 8, 1, 0)
    example = found.nodes["picky"].example
    assert example is not None
    assert (example.index, example.given) == (7, "7")


def test_without_inputs_those_of_the_newest_run_are_taken() -> None:
    graph = Graph("newest", spread)
    with pytest.raises(InputError):
        graph.verify()
    graph.run(items=[1, 2, 3])

    assert counts(graph.verify()) == {"spread": (1, 1, 0, 0)}


def test_inputs_that_are_called_like_options_go_into_the_mapping() -> None:
    @tensorlake_function()
    def drawn(sample: int, seed: int) -> int:
        return sample + seed

    graph = Graph("names", drawn)
    graph.run(sample=5, seed=6)

    assert counts(graph.verify({"sample": 5, "seed": 6}, sample=1)) == {"drawn": (1, 1, 0, 0)}


@pytest.mark.parametrize("options", [{"sample": 0}, {"sample": 1.5}, {"sample": -1}, {"time_limit": 0}])
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Graph("options", spread).verify(items=[], **options)


# --- the calls are those of a run -------------------------------------------------------------------------------------


def test_a_function_that_fails_or_takes_too_long_now_is_named(tmp_path: Path) -> None:
    now = tmp_path / "now"

    @tensorlake_function()
    def picky(x: int) -> int:
        if now.exists() and x == 2:
            raise ValueError(f"{x} is out")
        return x

    @tensorlake_function(timeout=0.2)
    def quick(x: int) -> int:
        while now.exists() and x == 1:
            time.sleep(0.01)
        return x

    graph = Graph("fails", spread).add_edge(spread, picky).add_edge(spread, quick)
    graph.run(items=[0, 1, 2])
    now.touch()

    found = graph.verify(items=[0, 1, 2], sample=1)

    assert counts(found) == {"spread": (1, 1, 0, 0), "picky": (3, 2, 0, 1), "quick": (3, 2, 0, 1)}
    assert found.failed == ("picky", "quick")
    failures = [found.nodes[name].failure for name in found.failed]
    assert [failure and (failure.index, failure.given) for failure in failures] == [(2, "2"), (1, "1")]
    assert "ValueError: 2 is out" in str(found)
    assert "timeout of 0.2 s" in str(found)


def test_request_state_is_as_a_run_would_have_it_and_stays_so(store: str) -> None:
    @tensorlake_function(inject_ctx=True)
    def begin(ctx: RequestContext, word: str) -> str:
        ctx.request_state.set("word", word)
        return word

    @tensorlake_function(inject_ctx=True)
    def after(ctx: RequestContext, word: str) -> Any:
        seen = ctx.request_state.get("word"), ctx.request_state.get("mark")
        ctx.request_state.set("mark", "made")
        ctx.counter("calls")
        return seen

    graph = Graph("state", begin).add_edge(begin, after)
    graph.run(word="a")
    before = everything_in(store)

    found = graph.verify(word="a", sample=1)

    assert counts(found) == {"begin": (1, 1, 0, 0), "after": (1, 1, 0, 0)}
    assert everything_in(store) == before


def test_secrets_are_there_during_the_call_and_not_in_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORLAKE_NB_TEST_KEY", "canary-7d1f")

    @tensorlake_function(secrets=["TENSORLAKE_NB_TEST_KEY"])
    def tells(x: int) -> str:
        return f"{os.environ['TENSORLAKE_NB_TEST_KEY']} {random.random()}"

    graph = Graph("secrets", spread).add_edge(spread, tells)
    graph.run(items=[1])

    said = str(graph.verify(items=[1], sample=1))

    assert "***" in said
    assert "canary" not in said


def test_damaged_values_are_no_difference(store: str) -> None:
    @tensorlake_function()
    def each(x: int) -> int:
        return -x

    graph = Graph("damage", spread).add_edge(spread, each)
    graph.run(items=[1, 2])
    for path in Path(store, "segments").rglob("zarr.json"):
        path.write_bytes(b"{}")
    before = everything_in(store)

    found = graph.verify(items=[1, 2], sample=1)

    assert (found.different, found.failed) == ((), ())
    assert everything_in(store) == before


def test_when_time_is_up_the_rest_is_left(tmp_path: Path) -> None:
    now = tmp_path / "now"

    @tensorlake_function()
    def slow(x: int) -> int:
        while now.exists() and x > 0:
            time.sleep(0.01)
        return x

    graph = Graph("slow", spread).add_edge(spread, slow)
    graph.run(items=list(range(20)))
    now.touch()

    found = graph.verify(items=list(range(20)), sample=1, time_limit=1.0)

    assert counts(found)["spread"] == (1, 1, 0, 0)
    assert counts(found)["slow"] == (1, 1, 0, 0)
    assert found.left == 19
    assert "Time was up" in str(found)


@pytest.fixture
def hears_interrupts() -> Iterator[None]:
    """As in a kernel; a process that was started in the background may ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_interrupts")
def test_an_interrupt_ends_it_and_the_cluster_goes_on(store: str, tmp_path: Path) -> None:
    now = tmp_path / "now"

    @tensorlake_function()
    def slow(x: int) -> int:
        if now.exists():
            os.kill(os.getpid(), signal.SIGINT)
            while now.exists():
                time.sleep(0.01)
        return x

    graph = Graph("interrupted", spread).add_edge(spread, slow)
    graph.run(items=[1])
    now.touch()
    before = everything_in(store)

    with pytest.raises(KeyboardInterrupt, match="the verification was stopped before its end"):
        graph.verify(items=[1], sample=1)

    assert everything_in(store) == before
    now.unlink()
    assert counts(graph.verify(items=[1], sample=1))["slow"] == (1, 1, 0, 0)


def test_a_worker_that_dies_of_an_element_costs_nothing_but_that_element(tmp_path: Path) -> None:
    configure(store=str(tmp_path / "processes"), cluster="embedded", workers=2)
    now = tmp_path / "now"

    @tensorlake_function()
    def poison(x: int) -> int:
        if now.exists() and x == 3:
            os._exit(7)
        return x

    graph = Graph("poison", spread).add_edge(spread, poison)
    graph.run(items=list(range(8)))
    now.touch()

    found = graph.verify(items=list(range(8)), sample=1)

    assert counts(found) == {"spread": (1, 1, 0, 0), "poison": (8, 7, 0, 1)}, str(found)
    failure = found.nodes["poison"].failure
    assert failure is not None
    assert failure.index == 3
    assert "exit code 7" in failure.what
    assert len(Run.list()) == 1
