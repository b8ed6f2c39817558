"""A bench for batches, and a file that remembers calls across copies of functions and processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tensorlake_nb.engine.calls import loaded as functions
from tests.support.batches import Bench, Calls


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    functions.clear()
    yield Bench(str(tmp_path / "store"))
    functions.clear()


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(str(tmp_path / "calls"))
