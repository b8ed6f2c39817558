"""Notebooks are tests: under nbval each runs in a kernel and a store of its own, and must say again what it says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Pictures and progress change from run to run; the text form beside each is what has to stay.
NOT_COMPARED = ("text/html", "image/svg+xml", "application/vnd.tensorlake.graph+json", "stderr")
STORES = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STORES] = tempfile.TemporaryDirectory(prefix="tensorlake-notebooks-", ignore_cleanup_errors=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[STORES].cleanup()


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):  # nbval's notebook file
        collector.skip_compare += NOT_COMPARED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Start a notebook's kernel on an empty store: what an earlier run left would be replayed instead of computed."""
    store = Path(item.config.stash[STORES].name) / item.path.stem
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORLAKE_NB_STORE", str(store))
        return (yield)
