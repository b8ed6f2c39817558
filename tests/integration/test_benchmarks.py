"""Every benchmark at toy size: it still runs, checks its own results and writes its figures. None is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


def run(module: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *options], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_is_made_and_written(tmp_path: Path) -> None:
    run("tests.benchmarks", "--toy", "--json", str(tmp_path / "figures.json"))
    written: dict[str, Any] = json.loads((tmp_path / "figures.json").read_text())

    assert {row["case"] for row in written["rows"]} == {"tiny", "replay", "slow", "arrays", "starting", "million"}
    assert all(row["median"] > 0 for row in written["rows"] if row["unit"] != "MiB")
    assert written["about"]["distributed"]


def test_the_planner_goes_through_a_cluster_on_paper(tmp_path: Path) -> None:
    run("tests.benchmarks.planner", "--workers", "50", "--elements", "20000", "--json", str(tmp_path / "planner.json"))
    written = json.loads((tmp_path / "planner.json").read_text())

    assert [figures["elements"] for figures in written] == [20_000] * 3
    assert all(figures["batches"] > 1 and figures["kernel_share"] > 0 for figures in written)


def test_the_store_is_measured(tmp_path: Path) -> None:
    assert "small checkpoint" in run("tests.benchmarks.store", str(tmp_path))


def test_raw_dask_does_the_same_work_alone() -> None:
    script = REPOSITORY / "tests" / "benchmarks" / "peers" / "raw_dask.py"
    done = subprocess.run(
        [sys.executable, script, "--elements", "50"], capture_output=True, text=True, timeout=120, check=True
    )

    assert json.loads(done.stdout.splitlines()[-1])["map_items_per_s"] > 0


def test_the_panel_is_measured() -> None:
    assert "500 boxes: first paint" in run("tests.benchmarks.panel", "--elements", "300", "--rounds", "1")
