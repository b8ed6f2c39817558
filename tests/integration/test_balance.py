"""Slow elements keep a worker each, and nothing else."""

from __future__ import annotations

import time

import pytest

from tensorlake_nb import Graph, tensorlake_function
from tests.support.notes import Notes

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("slow", [0, 60])
def test_everything_else_is_finished_while_one_element_takes_long(notes: Notes, slow: int) -> None:
    """It waits for all that can't be in its own batch: whatever is left waiting behind it never comes."""

    @tensorlake_function()
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @tensorlake_function()
    def work(x: int) -> int:
        if x == slow:
            for other in [*range(slow), *range(slow + 20, 120)]:
                notes.wait_for(other)
        time.sleep(0.005)
        notes.add(x)
        return x

    run = Graph("balance", numbers).add_edge(numbers, work).run(n=120)

    assert run.output("work") == list(range(120))
