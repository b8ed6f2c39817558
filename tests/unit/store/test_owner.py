"""Whether the process that drives a run is there, whatever its record says."""

from __future__ import annotations

from typing import Any

import pytest

from tensorlake_nb.store.owner import is_alive, this_process


def test_this_process_is_there_and_one_that_began_at_another_time_is_not() -> None:
    mine = this_process()

    assert is_alive(mine)
    assert is_alive({**mine, "host": "elsewhere"})
    assert not is_alive({**mine, "created": float(mine["created"]) - 100})


@pytest.mark.parametrize(
    "changed",
    [
        {"pid": -1},
        {"pid": "many"},
        {"pid": 2**80},
        {"pid": float("inf")},
        {"pid": None},
        {"created": "yesterday"},
        {"created": float("nan")},
        {"host": ...},
        {"pid": ...},
        {"created": ...},
    ],
    ids=str,
)
def test_what_names_no_process_is_not_there(changed: dict[str, Any]) -> None:
    damaged = {name: value for name, value in {**this_process(), **changed}.items() if value is not ...}

    assert is_alive(damaged) is False
    assert is_alive({}) is False
