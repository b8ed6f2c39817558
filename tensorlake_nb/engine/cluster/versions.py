"""Compare the versions of packages here and on the workers."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import tensorlake_nb

#: In another version of these, what one side sends can't be understood by the other.
MUST_AGREE = ("dask", "distributed", "cloudpickle")


def versions_there(client: Any, workers: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
    """Ask workers for the versions of what has to agree; a package is ``"missing"`` where it isn't installed."""
    told: dict[str, dict[str, str] | Exception] = client.run(_versions_on_worker, workers=workers, on_error="return")
    found: dict[str, dict[str, str]] = {}
    for worker, versions in told.items():
        if isinstance(versions, OSError):
            continue  # it is just leaving
        if isinstance(versions, Exception):  # the very function that was to tell can't be imported there
            missing = re.search(r"No module named \W*([\w.]+)", str(versions))
            if missing is None:
                raise versions
            versions = {**versions_here(), missing[1]: "missing"}
        found[worker] = versions
    return found


def _versions_on_worker() -> dict[str, str]:
    return versions_here()


def versions_here() -> dict[str, str]:
    """Return the versions of what has to agree, in this process."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in MUST_AGREE:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return {**found, "tensorlake_nb": tensorlake_nb.__version__}


def disagreements(mine: Mapping[str, str], theirs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Name each package of which there is another version on a worker."""
    problems: list[str] = []
    for name in dict.fromkeys(each for versions in (mine, *theirs.values()) for each in versions):
        here = mine.get(name, "installed")
        others = sorted({versions.get(name, here) for versions in theirs.values()} - {here})
        if others:
            problems.append(f"{name} is {here} here and {', '.join(others)} there")
    return problems
