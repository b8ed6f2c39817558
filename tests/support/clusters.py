"""Real clusters: ``dask scheduler`` and ``dask worker`` as processes of their own, over TLS."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distributed import Security

from tensorlake_nb.engine.cluster.quiet import MuteClient

REPOSITORY = Path(__file__).parents[2]
_START_S = 60.0


class Cluster:
    """A scheduler on loopback, and the workers that were started for it.

    Parameters
    ----------
    folder
        For certificates, logs and the workers' own files.
    environment
        Variables of the scheduler's and workers' processes beside those of this one.
    """

    def __init__(self, folder: Path, *, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
            **(environment or {}),
        }
        self._tls = certificates(folder)
        self.security = Security(
            require_encryption=True,
            tls_ca_file=self._tls["ca"],
            tls_client_cert=self._tls["cert"],
            tls_client_key=self._tls["key"],
            tls_scheduler_cert=self._tls["cert"],
            tls_scheduler_key=self._tls["key"],
            tls_worker_cert=self._tls["cert"],
            tls_worker_key=self._tls["key"],
        )
        self._clients: list[Any] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Start its scheduler, again at the same address if there was one before."""
        at = self.folder / f"scheduler-{len(self._processes)}.json"
        port = self.address.rpartition(":")[2] or "0"
        self.scheduler = self._start(
            "scheduler",
            ["--protocol", "tls", "--host", "tls://127.0.0.1", "--port", port, "--no-dashboard"],
            ["--scheduler-file", str(at)],
        )
        self.address = _address(at, self.scheduler, self.folder)

    def add_worker(
        self, *options: str, name: str | None = None, cwd: Path | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker with one thread and a nanny, and give its nanny's process."""
        name = name or f"worker-{len(self._processes)}"
        common = ["--nthreads", "1", "--name", name, "--no-dashboard", "--local-directory", str(self.folder / name)]
        to = [self.address, "--protocol", "tls", "--host", "tls://127.0.0.1"]
        return self._start("worker", [*to, *common], options, cwd=cwd, environment=environment)

    def add_workers(self, count: int, *options: str) -> None:
        """Start workers, and wait until the scheduler knows them."""
        client = self.client()
        before = len(client.scheduler_info(n_workers=-1)["workers"])
        for _ in range(count):
            self.add_worker(*options)
        client.wait_for_workers(before + count, timeout=_START_S)

    def client(self) -> Any:
        """A client of it, closed with it."""
        connect: Any = MuteClient
        made = connect(self.address, security=self.security, set_as_default=False, timeout=_START_S)
        self._clients.append(made)
        return made

    def tls_environment(self) -> dict[str, str]:
        """Variables with which any process's Dask reaches it."""
        prefix = "DASK_DISTRIBUTED__COMM__"
        found = {f"{prefix}TLS__CA_FILE": self._tls["ca"], f"{prefix}REQUIRE_ENCRYPTION": "True"}
        for role in ("CLIENT", "SCHEDULER", "WORKER"):
            found[f"{prefix}TLS__{role}__CERT"] = self._tls["cert"]
            found[f"{prefix}TLS__{role}__KEY"] = self._tls["key"]
        return found

    def tls_config(self) -> dict[str, str | bool]:
        """Settings with which this process's Dask reaches it."""
        keys = self._tls
        return {
            "distributed.comm.require-encryption": True,
            "distributed.comm.tls.ca-file": keys["ca"],
            "distributed.comm.tls.client.cert": keys["cert"],
            "distributed.comm.tls.client.key": keys["key"],
        }

    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        """The processes of its workers' nannies, those that have ended included."""
        return [process for process in self._processes if process is not self.scheduler]

    def logs(self) -> str:
        """Return the output of its processes."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """End all its processes, and wait until they are gone."""
        for client in self._clients:
            with contextlib.suppress(Exception):  # its scheduler may have been killed while it tried to find it again
                client.close(timeout=2)
        for process in reversed(self._processes):
            kill_group(process)

    @contextlib.contextmanager
    def joined(self, **how: Any) -> Iterator[None]:
        """One worker more, for a while."""
        client = self.client()
        before = len(client.scheduler_info(n_workers=-1)["workers"])
        process = self.add_worker(**how)
        try:
            client.wait_for_workers(before + 1, timeout=_START_S)
            yield
        finally:
            kill_group(process)
            until = time.monotonic() + _START_S
            while len(client.scheduler_info(n_workers=-1)["workers"]) > before and time.monotonic() < until:
                time.sleep(0.01)

    def _start(
        self,
        what: str,
        arguments: Sequence[str],
        options: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        tls = ["--tls-ca-file", self._tls["ca"], "--tls-cert", self._tls["cert"], "--tls-key", self._tls["key"]]
        with open(self.folder / f"{what}-{len(self._processes)}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", what, *arguments, *tls, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self._environment, **(environment or {})},
                cwd=cwd or self.folder,
                start_new_session=True,
            )
        self._processes.append(process)
        return process


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def _address(at: Path, process: subprocess.Popen[bytes], folder: Path) -> str:
    import json

    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        if at.exists():
            try:
                return str(json.loads(at.read_text())["address"])
            except ValueError:
                pass
        time.sleep(0.05)
    raise RuntimeError("the scheduler didn't start:\n" + "\n".join(p.read_text() for p in folder.glob("*.log")))


def certificates(folder: Path) -> dict[str, str]:
    """Files of a new authority that trusts itself: ``ca``, ``cert`` and ``key``."""
    made: Any = Security.temporary()
    files = {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    paths = {}
    for name, text in files.items():
        path = folder / f"{name}.pem"
        path.write_text(text)
        path.chmod(0o600)
        paths[name] = str(path)
    return paths
