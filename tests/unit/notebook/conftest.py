"""A shell of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorlake_nb
from tensorlake_nb.engine.cluster import session
from tests.support.shells import Shell, new_shell


@pytest.fixture
def plain_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell that has imported nothing."""
    monkeypatch.chdir(tmp_path)
    with new_shell(tmp_path) as shell:
        yield shell


@pytest.fixture
def shell(plain_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell after ``%load_ext tensorlake_nb``, whose runs stay in this process."""
    monkeypatch.setattr(session, "_given", {})  # what tests of other folders have configured
    tensorlake_nb.configure(store=str(tmp_path / "store"), cluster="threads")
    plain_shell.good("%load_ext tensorlake_nb")
    return plain_shell
