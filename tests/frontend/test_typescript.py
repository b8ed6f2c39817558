"""The front end's own checks: strict types, format and lint, and its unit tests."""

from __future__ import annotations

import json
import shutil
import subprocess

from tests.support.frontend import LABEXTENSION, node_modules


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    modules = node_modules()
    node = shutil.which("node")
    assert node is not None
    program, *arguments = command
    return subprocess.run(
        [node, str(modules / program), *arguments], cwd=LABEXTENSION, capture_output=True, text=True, timeout=300
    )


def test_the_types_are_strict_and_right() -> None:
    checked = _run("typescript/bin/tsc", "--noEmit")

    assert checked.returncode == 0, checked.stdout


def test_the_sources_are_formatted_and_lint_finds_nothing() -> None:
    checked = _run("@biomejs/biome/bin/biome", "check", "--error-on-warnings")

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_unit_tests_of_the_front_end_pass() -> None:
    tested = _run("vitest/vitest.mjs", "run", "--reporter=json")

    assert tested.stdout, tested.stderr
    told = json.loads(tested.stdout)
    files = told["testResults"]
    failed = [test for file in files for test in file["assertionResults"] if test["status"] != "passed"]
    assert failed == [], tested.stderr
    assert tested.returncode == 0, [file["message"] for file in files if file["message"]]
    assert told["numTotalTests"] > 0
