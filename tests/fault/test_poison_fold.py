"""The step of a fold that ends its worker is named, though nothing was kept for a while before it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from tensorlake_nb import Graph, Retries, configure, tensorlake_function

POISON = 700


@tensorlake_function()
def numbers(n: int) -> list[int]:
    return list(range(n))


def test_a_poison_step_is_named_and_tried_as_often_as_it_may(tmp_path: Path) -> None:
    calls = tmp_path / "calls"

    @tensorlake_function(accumulate=list, retries=Retries(max_retries=1, initial_delay=0.1))
    def collect(rows: list[str], x: int) -> list[str]:
        if x >= POISON - 1:
            with calls.open("a") as file:
                file.write(f"{x}\n")
        if x == POISON:
            os._exit(3)
        rows.append(f"row {x} " * 20)
        return rows

    configure(store=tmp_path / "store", cluster="embedded", workers=1)
    run = Graph("poison", numbers, on_error="continue").add_edge(numbers, collect).run(n=1_000)

    (failure,) = run.failures
    assert failure.index == POISON
    assert failure.error == "its worker process ended (exit code 3)"
    assert Counter(calls.read_text().split())[str(POISON)] == 2, "an attempt is one call"
