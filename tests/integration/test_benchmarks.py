"""Every benchmark at toy size: it still runs, checks its own results and writes its figures. None is judged here.

They run beside each other, since their figures don't matter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.alone

REPOSITORY = Path(__file__).parents[2]
RAW_DASK = REPOSITORY / "tests" / "benchmarks" / "peers" / "raw_dask.py"


class Runs:
    """The benchmarks, all begun at once, and the folder that they write to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        commands: dict[str, list[str | Path]] = {
            "table": ["-m", "tests.benchmarks", "--toy", "--json", folder / "table.json"],
            "planner": [
                *("-m", "tests.benchmarks.planner", "--workers", "50", "--elements", "5000"),
                *("--json", folder / "planner.json"),
            ],
            "store": ["-m", "tests.benchmarks.store", folder / "store"],
            "raw dask": [RAW_DASK, "--elements", "50"],
            "panel": ["-m", "tests.benchmarks.panel", "--elements", "300", "--rounds", "1"],
        }
        (folder / "store").mkdir()
        self._begun = {
            name: subprocess.Popen(
                [sys.executable, *map(str, options)],
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name, options in commands.items()
        }

    def printed(self, name: str) -> str:
        """What one of them printed, once it has ended well."""
        out, err = self._begun[name].communicate(timeout=300)
        assert self._begun[name].returncode == 0, err
        return out

    def end(self) -> None:
        for begun in self._begun.values():
            if begun.poll() is None:
                begun.kill()
            begun.communicate()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    begun = Runs(tmp_path_factory.mktemp("benchmarks"))
    yield begun
    begun.end()


def test_the_table_is_made_and_written(runs: Runs) -> None:
    runs.printed("table")
    written: dict[str, Any] = json.loads((runs.folder / "table.json").read_text())

    assert {row["case"] for row in written["rows"]} == {
        *("tiny", "replay", "slow", "arrays", "folds", "starting", "million")
    }
    assert all(row["median"] > 0 for row in written["rows"] if row["unit"] != "MiB")
    assert written["about"]["distributed"]


def test_the_planner_goes_through_a_cluster_on_paper(runs: Runs) -> None:
    runs.printed("planner")
    written = json.loads((runs.folder / "planner.json").read_text())

    assert [figures["elements"] for figures in written] == [5_000] * 3
    assert all(figures["batches"] > 1 and figures["kernel_share"] > 0 for figures in written)


def test_the_store_is_measured(runs: Runs) -> None:
    assert "small checkpoint" in runs.printed("store")


def test_raw_dask_does_the_same_work_alone(runs: Runs) -> None:
    assert json.loads(runs.printed("raw dask").splitlines()[-1])["map_items_per_s"] > 0


def test_the_panel_is_measured(runs: Runs) -> None:
    assert "500 boxes: first paint" in runs.printed("panel")
