"""What outside of a value holds a part of it is found; what can't change may be shared."""

from __future__ import annotations

import collections
import enum
import gc
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from tensorlake_nb.engine.worker.outside_references import is_held, is_held_anywhere


class Model(BaseModel):
    tags: list[str] = []
    inner: Model | None = None


@dataclass
class Pair:
    left: Any
    right: Any = None


class Colour(enum.Enum):
    RED = (1, 2)


def shared_within() -> Any:
    part = [1]
    return [part, {"again": part}, (part,)]


VALUES: dict[str, Callable[[], Any]] = {
    "list": lambda: [[1], {"a": [2]}],
    "models": lambda: [Model(tags=["a"], inner=Model()), Model()],
    "dataclasses": lambda: Pair([Pair([1])]),
    "array": lambda: np.zeros(3),
    "a view": lambda: np.zeros(30)[3:].reshape(3, 9),
    "objects": lambda: np.array([[1], {2: 3}, None], dtype=object),
    "a frame": lambda: pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    "collections": lambda: [
        collections.deque([[1]]),
        collections.defaultdict(list, {1: [2]}),
        collections.Counter("a"),
    ],
    "shared within": shared_within,
    "what can't change": lambda: [Colour.RED, Decimal(1), Path("a"), 10**30, "text", (1, 2), np.float64(1)],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_only_its_box_holds_is_nobody_elses(name: str) -> None:
    box = [VALUES[name]()]

    assert not is_held(box)
    assert not is_held_anywhere(box)


@pytest.mark.parametrize("name", VALUES)
def test_somebody_who_holds_the_value_is_seen(name: str) -> None:
    box = [VALUES[name]()]
    held = box[0]

    assert is_held(box)
    assert is_held_anywhere(box)
    del held


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("list", lambda value: value[1]["a"]),
        ("models", lambda value: value[0].tags),
        ("models", lambda value: value[0].inner),
        ("dataclasses", lambda value: value.left[0].left),
        ("a view", lambda value: value.base),
        ("objects", lambda value: value[0]),
        ("collections", lambda value: value[1][1]),
        ("shared within", lambda value: value[0]),
    ],
)
def test_somebody_who_holds_a_part_is_seen(name: str, part: Callable[[Any], Any]) -> None:
    box = [VALUES[name]()]
    held = part(box[0])

    assert not is_held(box)
    assert is_held_anywhere(box)
    del held
    assert not is_held_anywhere(box)


def test_what_cannot_change_may_be_held_by_anybody() -> None:
    held = (1, "text", Colour.RED)
    box: list[Any] = [[held, Decimal(1)]]

    assert not is_held_anywhere(box)
    assert not is_held([held])
    assert not is_held([7])


def test_garbage_that_refers_to_itself_holds_nothing() -> None:
    def leaves_garbage(value: list[int]) -> list[int]:
        loop: list[Any] = [value]
        loop.append(loop)
        return value

    gc.disable()
    try:
        box = [leaves_garbage([1])]
        assert not is_held(box)
        box = [leaves_garbage([1])]
        assert not is_held_anywhere(box)
    finally:
        gc.enable()
