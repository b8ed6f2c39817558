"""SIGKILL of the kernel, of a worker or of everything, before, in and after writes and steps of the driver.

Two hundred and more points: ``python -m tests.kills --points 200 --seed 1``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.killing import Point, kill_at, kill_often

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_whatever_is_killed_and_when_nothing_that_was_kept_is_called_again(tmp_path: Path) -> None:
    report = kill_often(tmp_path, kills=5, seed=5)

    assert report.is_good, str(report)
    assert report.kills.total() == 5
    assert report.twice_by_design <= 2 * 5, "at most what each worker was at, and a fold's step"


def test_a_worker_killed_while_it_writes_results_or_holds_their_receipt_costs_no_call(tmp_path: Path) -> None:
    report = kill_at(
        tmp_path,
        Point("Store.commit", 6, "before", "worker"),
        Point("Store.commit", 6, "after", "worker"),
        Point("NodeWork.receipt", 5, "after", "worker"),
    )

    assert report.is_good, str(report)
    assert report.kills.total() == 3
    assert report.twice_by_design == 0
