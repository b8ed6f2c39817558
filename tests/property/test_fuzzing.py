"""A short round of ``python -m tests.fuzz``: nothing but our own errors comes out of any reader of stored bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tensorlake_nb import configure
from tensorlake_nb.engine.cluster import session
from tests.fuzz.targets import Fuzz

TARGETS = ("effects", "header", "record", "run", "sealed", "segment", "spool", "stream", "value")
INPUTS = 60


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    yield Fuzz(tmp_path_factory.mktemp("fuzz"))
    session.current().close()
    configure(store=str(tmp_path_factory.mktemp("after")))


@pytest.mark.parametrize("target", TARGETS)
def test_nearly_valid_input_raises_our_errors_alone(fuzz: Fuzz, target: str) -> None:
    assert set(fuzz.targets) == set(TARGETS)

    for seed in range(INPUTS):
        fuzz.targets[target](random.Random(seed))
