"""What is installed with the package: the widget, and a JupyterLab extension that JupyterLab finds."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import tensorlake_nb

ROOT = Path(__file__).parents[2]
EXTENSION = "tensorlake-nb-labextension"


def test_jupyterlab_lists_the_extension_as_enabled() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"], capture_output=True, text=True, check=True
    )
    (line,) = [line for line in (listed.stdout + listed.stderr).splitlines() if EXTENSION in line]

    assert f"v{tensorlake_nb.__version__}" in line
    assert "enabled" in line
    assert "OK" in line


def test_the_extension_has_its_settings_and_names_its_package() -> None:
    folder = Path(sys.prefix) / "share/jupyter/labextensions" / EXTENSION

    assert (folder / "schemas" / EXTENSION / "plugin.json").exists()
    assert json.loads((folder / "install.json").read_text())["packageName"] == "tensorlake_nb"


def test_both_sides_have_one_version() -> None:
    package = json.loads((ROOT / "labextension/package.json").read_text())

    assert package["version"] == tensorlake_nb.__version__ == distribution("tensorlake_nb").version


def test_the_lockfile_names_no_hosts() -> None:
    assert '"resolved"' not in (ROOT / "labextension/package-lock.json").read_text()


def _hook() -> ModuleType:
    spec = spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("version", "is_new_enough"),
    [("v20.19.0", True), ("v22.12.1", True), ("v24.1.0", True), ("v20.18.9", False), ("v21.9.0", False), ("", False)],
)
def test_the_build_takes_a_node_that_its_bundler_takes(version: str, is_new_enough: bool) -> None:
    assert _hook()._is_new_enough(version) is is_new_enough
