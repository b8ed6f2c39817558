"""How many elements a batch takes: by what one takes, what is left, and how large the cluster is."""

from __future__ import annotations

import pytest

from tensorlake_nb.core.planning.batch_sizes import (
    BUDGET_S,
    FIRST_MOST,
    LEAST_S,
    MOST_PER_S,
    TARGET_S,
    batch_size,
    budget_s,
)


def test_slow_elements_go_one_by_one() -> None:
    assert batch_size(64, slots=2, pace_s=2.0) == 1


def test_while_nothing_is_known_a_batch_is_small() -> None:
    assert batch_size(1_000_000, slots=2, pace_s=None) == FIRST_MOST


@pytest.mark.parametrize("pace_s", [25e-6, 1e-3, 5e-3])
def test_a_batch_of_many_takes_neither_too_short_nor_too_long(pace_s: float) -> None:
    size = batch_size(1_000_000, slots=2, pace_s=pace_s)

    assert LEAST_S <= size * pace_s <= TARGET_S * 1.01


def test_near_the_end_batches_shrink_so_that_all_workers_end_together() -> None:
    sizes = [batch_size(left, slots=4, pace_s=5e-3) for left in (10_000, 400, 160, 20)]

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= LEAST_S / 5e-3


@pytest.mark.parametrize("slots", [2, 100, 200, 1_000, 10_000])
def test_a_cluster_of_any_size_ends_no_more_batches_a_second_than_its_scheduler_bears(slots: int) -> None:
    for pace_s in (1e-4, 1e-2):
        batch_s = min(batch_size(10**12, slots, pace_s) * pace_s, budget_s(slots, pace_s))
        assert slots / batch_s <= MOST_PER_S * 1.01


def test_a_small_cluster_is_not_slowed_down_by_that() -> None:
    assert budget_s(2, 1e-3) == BUDGET_S
