"""The secrets of a run: read where it is started, kept out of what is stored, and given to its workers' memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from distributed import Worker, WorkerPlugin

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.process.secrets import holds, install_secrets
from tensorlake_nb.errors import OptionError


def secret_values(graph: str, names: Sequence[str]) -> dict[str, str]:
    """Secrets from this process's environment; `OptionError` names those that aren't there."""
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise OptionError(f"graph {graph!r} needs the secrets {', '.join(missing)}: set them in the environment")
    return {name: os.environ[name] for name in names}


def refuse_secrets(hidden: Mapping[str, str], data: bytes, where: str) -> None:
    """Refuse to store a secret that stands in code or in an input, where everybody who reads the store finds it."""
    for name, value in hidden.items():
        if holds(data, value):
            raise OptionError(
                f"the value of the secret {name} stands in {where}, which is stored. Read it where it is used, inside "
                f"the function: os.environ[{name!r}]"
            )


class SecretsPlugin(WorkerPlugin):
    """Gives a run's secrets to every worker, those that come later too."""

    def __init__(self, run_id: RunId, values: Mapping[str, str]) -> None:
        self._run_id, self._values = run_id, values

    def setup(self, worker: Worker) -> None:
        install_secrets(self._run_id, self._values, hide=worker.nanny is not None)


def publish_secrets(client: Any, run_id: RunId, values: Mapping[str, str]) -> None:
    """Give a run's secrets to the cluster's workers, as a plugin: one that replaces a dead worker has them too."""
    if values:
        client.register_plugin(SecretsPlugin(run_id, dict(values)), name=_plugin_name(run_id))


def withdraw_secrets(client: Any, run_id: RunId) -> None:
    """Take them back."""
    with suppress(Exception):  # none were given
        client.unregister_worker_plugin(_plugin_name(run_id))


def _plugin_name(run_id: RunId) -> str:
    return f"tensorlake-nb-secrets-{run_id}"
