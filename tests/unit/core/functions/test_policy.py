from __future__ import annotations

from typing import Any

import pytest

from tensorlake_nb.core.functions.policy import Gpu, Placement, Retries
from tensorlake_nb.errors import OptionError


def test_the_first_attempt_waits_for_nothing() -> None:
    assert Retries(max_retries=3).delay_before(1, draw=0.5) == 0.0


def test_each_delay_is_longer_by_the_multiplier_until_the_longest() -> None:
    retries = Retries(max_retries=9, initial_delay=1.0, max_delay=5.0, delay_multiplier=2.0)

    delays = [retries.delay_before(attempt, draw=0.5) for attempt in range(2, 7)]

    assert delays == [1.0, 2.0, 4.0, 5.0, 5.0]


@pytest.mark.parametrize(("draw", "delay"), [(0.0, 7.5), (0.5, 10.0), (0.999999, 12.5)])
def test_jitter_moves_a_delay_to_both_sides(draw: float, delay: float) -> None:
    retries = Retries(max_retries=1, initial_delay=10.0, jitter=0.25)

    assert retries.delay_before(2, draw) == pytest.approx(delay, rel=1e-5)


def test_jitter_never_exceeds_the_longest_delay() -> None:
    retries = Retries(max_retries=1, initial_delay=60.0, max_delay=60.0, jitter=0.5)

    assert retries.delay_before(2, draw=0.99) == 60.0


def test_a_delay_that_outgrows_a_float_is_the_longest() -> None:
    assert Retries(max_retries=5000, jitter=0.0).delay_before(5000, draw=0.5) == 60.0
    assert Retries(max_retries=5000, initial_delay=0.0).delay_before(5000, draw=0.5) == 0.0


def test_attempts_are_the_retries_and_the_first() -> None:
    assert Retries(max_retries=2).max_attempts == 3


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"initial_delay": -0.1},
        {"max_delay": float("inf")},
        {"delay_multiplier": 0},
        {"jitter": 1.1},
        {"jitter": "10%"},
    ],
)
def test_a_retry_option_out_of_range_is_named_with_its_value(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        Retries(**options)

    ((name, value),) = options.items()
    assert f"{name}={value!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "gpus"),
    [
        (None, ()),
        ("T4", (Gpu("T4", 1),)),
        ("A100-80GB:4", (Gpu("A100-80GB", 4),)),
        (["H100:2", "A100"], (Gpu("H100", 2), Gpu("A100", 1))),
    ],
)
def test_a_gpu_is_read_as_model_and_count(given: object, gpus: tuple[Gpu, ...]) -> None:
    assert Placement.parse("f", {"gpu": given}).gpu == gpus


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cpu", 0),
        ("cpu", "2"),
        ("memory", -1),
        ("memory", float("nan")),
        ("ephemeral_disk", True),
        ("gpu", "T4:0"),
        ("gpu", ":2"),
        ("gpu", 1),
        ("region", 7),
    ],
)
def test_a_placement_that_cannot_be_is_named_with_its_owner(option: str, value: object) -> None:
    with pytest.raises(OptionError) as caught:
        Placement.parse("function 'f'", {option: value})

    assert str(caught.value).startswith(f"function 'f': {option}={value!r} isn't allowed.")


def test_only_what_differs_from_the_defaults_was_asked_for() -> None:
    placement = Placement.parse("f", {"memory": 8, "gpu": ["T4", "L4:2"]})

    assert dict(placement.asked) == {"memory": 8.0, "gpu": "T4:1,L4:2"}
    assert not Placement().asked
