"""Where two values differ, said in a few words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from tensorlake_nb.engine.verifying.difference import differing


@dataclass
class Page:
    number: int
    words: list[str]


class Answer(BaseModel):
    text: str
    page: Page


class Broken:
    columns = property(lambda self: 1 / 0)

    def __repr__(self) -> str:
        return "Broken"


LONG = "once upon a time there was a function that gave the same each time, "


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (1, 2, "2; before 1"),
        (1, 1.0, "1.0, a float; before 1, a int"),
        ({"a": [1, 2], "b": 3}, {"a": [1, 4], "b": 5}, "at ['a'][1], 4; before 2"),
        ({"a": 1}, {"b": 1}, "{'b': 1}; before {'a': 1}"),
        ([1], [1, 2], "[1, 2]; before [1]"),
        (Page(1, ["a"]), Page(1, ["b"]), "at .words[0], 'b'; before 'a'"),
        (
            Answer(text="x", page=Page(1, [])),
            Answer(text="x", page=Page(2, [])),
            "at .page.number, 2; before 1",
        ),
        (np.arange(4.0), np.array([0, 1, 2 + 1e-9, 3]), "1 of 4 elements differ, by 1e-09 at most"),
        (np.array([np.nan, 1]), np.array([np.nan, 2]), "1 of 2 elements differ, by 1 at most"),
        (np.array(["a"]), np.array(["b"]), "1 of 1 elements differ"),
        (np.zeros(3), np.zeros(4), "shape (4,) of float64; before (3,) of float64"),
        (
            pd.DataFrame({"x": [1, 2], "y": [3, 4]}),
            pd.DataFrame({"x": [1, 2], "y": [3, 9]}),
            "at ['y'], 1 of 2 elements differ, by 5 at most",
        ),
        (
            LONG + "one",
            LONG + "two",
            "from character 68 on, …'the same each time, two'; before …'the same each time, one'",
        ),
        (LONG, LONG + "more", "from character 68 on, …'the same each time, more'; before …'the same each time, '"),
        (Broken(), Broken(), "Broken, whose contents differ from before"),
    ],
)
def test_the_first_place_that_differs_is_named(before: Any, now: Any, words: str) -> None:
    assert differing(before, now) == words
