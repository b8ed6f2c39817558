"""The environment and the folder that functions find themselves in on the embedded cluster: those of the kernel.

A worker process begins with what the kernel has at that moment. What a cell changes later is brought to those that
run already before a run has its first batch computed, so all of them have the same, as on threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.engine.process.secrets import is_hidden
from tensorlake_nb.store.format.trust import KEY_VARIABLE

#: Of a worker: the folder of its kernel, and the run for which it was last sought.
_home: str | None = None
_home_for: RunId | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A process's environment variables and folder.

    Attributes
    ----------
    folder
        The working directory; ``None`` if it was removed.
    """

    environment: Mapping[str, str]
    folder: str | None

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this process."""
        folder = None
        with suppress(OSError):
            folder = os.getcwd()
        return cls(dict(os.environ), folder)


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """The differences from before: new values by name, ``None`` for a removed one."""

    environment: Mapping[str, str | None]
    folder: str | None

    def __bool__(self) -> bool:
        return bool(self.environment) or self.folder is not None


def change_of(before: Surroundings, now: Surroundings, without: Collection[str] = ()) -> EnvironmentChange:
    """Return the changes that lead from one environment to the other, leaving some variables alone."""
    old, new = before.environment, now.environment
    names = [name for name in (*old, *(set(new) - set(old))) if name not in without and old.get(name) != new.get(name)]
    return EnvironmentChange(
        {name: new.get(name) for name in names}, None if now.folder == before.folder else now.folder
    )


def settle() -> None:
    """Have this process, a worker, begin each run in the folder where it is now, or where `adopt` leads it."""
    global _home
    _home = Surroundings.here().folder


def go_home(run_id: RunId) -> None:
    """Leave the folder that a call of another run has gone to, if this process has settled somewhere."""
    global _home_for
    if _home is not None and run_id != _home_for:
        with suppress(OSError):
            os.chdir(_home)
        _home_for = run_id


def adopt(change: EnvironmentChange) -> None:
    """Have this process, a worker, take over what has changed in the kernel."""
    global _home
    for name, value in change.environment.items():
        if is_hidden(name):
            continue
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if change.folder is not None:
        _home = change.folder
        with suppress(OSError):  # a worker that begins there would fail as well
            os.chdir(change.folder)


class Followed:
    """Brings the workers of one cluster what has changed in this process since they began."""

    def __init__(self, began_with: Surroundings) -> None:
        self._known = began_with
        self._lock = threading.Lock()

    def bring(self, tell: Callable[[EnvironmentChange], None], secrets: Collection[str]) -> None:
        """Tell the workers of what has changed, if anything has.

        Parameters
        ----------
        secrets
            Variables that are to stay hidden there.
        """
        with self._lock:  # a run that begins meanwhile waits until it is done
            now = Surroundings.here()
            change = change_of(self._known, now, {KEY_VARIABLE, *secrets})
            self._known = now
            if change:
                tell(change)
