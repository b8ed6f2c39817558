"""A JupyterLab or a Notebook 7 of its own on loopback: own settings, no news, no autosave, no windowed notebooks."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_PATIENCE_S = 90.0

SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, what opens it, and the folder that it shows."""

    url: str
    token: str
    root: Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "TENSORLAKE"))}
    folders = {
        "HOME": "",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    return {
        **kept,
        **{name: str(home / folder) for name, folder in folders.items()},
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


@contextmanager
def serving(root: Path, app: Literal["lab", "notebook"] = "lab", disabled: tuple[str, ...] = ()) -> Iterator[Server]:
    """Start a server on a folder, and end it with all its kernels.

    Parameters
    ----------
    disabled
        Front-end extensions that are not to be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="jupyter-home-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        overrides = home / "config" / "labconfig"
        overrides.mkdir(parents=True)
        (overrides / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
        if disabled:
            page = {"disabledExtensions": dict.fromkeys(disabled, True)}
            (overrides / "page_config.json").write_text(json.dumps(page))
        port, token = _free_port(), secrets.token_hex(16)
        exposed = "LabApp" if app == "lab" else "JupyterNotebookApp"
        command = [
            *(sys.executable, "-m", "jupyterlab" if app == "lab" else "notebook"),
            *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"),
            *(f"--{exposed}.expose_app_in_browser=True", "--LabApp.news_url="),
            "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        ]
        log = home / "server.log"
        with log.open("w") as out:
            server = subprocess.Popen(
                command, env=_environment(home), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _await(f"{url}/api/status?token={token}", server, log)
            yield Server(url, token, root)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server didn't start:\n{log.read_text()[-4000:]}") from None
            time.sleep(0.1)  # there is nothing to wait on before it listens
