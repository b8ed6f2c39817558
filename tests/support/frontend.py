"""Node.js and the packages that the front end is checked with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

LABEXTENSION = Path(__file__).parents[2] / "labextension"


def node_modules() -> Path:
    """The front end's packages, installed if they aren't; without Node.js a skip, in CI a failure."""
    folder = LABEXTENSION / "node_modules"
    npm = shutil.which("npm")
    if npm is None:
        if os.environ.get("CI"):
            pytest.fail("there is no npm: install Node.js 20.19 or later")
        pytest.skip("there is no npm")
    if not all((folder / name).exists() for name in ("vitest", "axe-core", "@biomejs/biome")):
        subprocess.run([npm, "ci", "--ignore-scripts"], cwd=LABEXTENSION, check=True, capture_output=True)
    return folder
