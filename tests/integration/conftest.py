"""A store per test, and functions on threads of this process: one small Dask cluster for the whole session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tensorlake_nb import configure
from tests.support.clusters import Cluster
from tests.support.notes import Notes


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> str:
    """The URL of a store of the test's own; graphs run on threads, which are kept from test to test."""
    url = str(tmp_path / "store")
    configure(store=url, cluster="threads", workers=2)
    return url


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """Remembers calls, whatever thread or process they are made in."""
    return Notes(str(tmp_path / "notes"))


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of processes of their own, over TLS: two workers, one of which says that it has a GPU."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.add_workers(1)
        made.add_workers(1, "--resources", "GPU=1")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="package", autouse=True)
def _cluster() -> Iterator[None]:
    yield
    from tensorlake_nb.engine.cluster import session

    session.current().close()
