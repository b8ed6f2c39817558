"""Settings are chosen for good by a call, and until the end of a block by ``with``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb import OptionError, configure
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.engine.cluster.session import current
from tensorlake_nb.engine.cluster.settings import Settings


@dataclass
class Connected:
    """A connection that says what was closed."""

    cluster: Any
    loss: str | None = None
    closed: int = 0

    def close(self) -> None:
        self.closed += 1


@dataclass
class Connections:
    made: list[Connected] = field(default_factory=list)

    def connect(self, cluster: Any, workers: int | None = None) -> Connected:
        self.made.append(Connected(cluster))
        return self.made[-1]


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connections:
    """Nothing is in force yet, and connecting starts nothing."""
    made = Connections()
    monkeypatch.setattr(session, "_session", None)
    monkeypatch.setattr(session, "_given", {})
    monkeypatch.setattr(session, "connect", made.connect)
    monkeypatch.setenv("TENSORLAKE_NB_STORE", str(tmp_path / "of the environment"))
    return made


def test_a_plain_call_holds_and_returns_the_settings(tmp_path: Path) -> None:
    settings = configure(store=tmp_path / "a", workers=3)

    assert isinstance(settings, Settings)
    assert (settings.store, settings.workers) == (str(tmp_path / "a"), 3)
    assert current().settings is settings
    assert configure(workers=2).store == str(tmp_path / "a")


def test_a_block_restores_what_was_in_force(tmp_path: Path) -> None:
    configure(store=tmp_path / "a", store_patience=7)
    before, store = current(), current().store()

    with configure(store=tmp_path / "b", checkpoint_interval=9) as settings:
        assert current().settings is settings
        assert (settings.store, settings.checkpoint_interval) == (str(tmp_path / "b"), 9)
        assert settings.store_patience == 7

    assert current() is before
    assert current().store() is store
    assert configure().checkpoint_interval == 0.5, "what the block gave is forgotten"


def test_a_block_that_fails_restores_too(tmp_path: Path) -> None:
    configure(store=tmp_path / "a")

    with pytest.raises(ZeroDivisionError), configure(store=tmp_path / "b"):
        _ = 1 / 0

    assert current().settings.store == str(tmp_path / "a")


def test_blocks_may_be_nested_and_may_hold_plain_calls(tmp_path: Path) -> None:
    with configure(store=tmp_path / "a"):
        with configure(store=tmp_path / "b"):
            configure(store=tmp_path / "c", workers=5)
        assert (current().settings.store, current().settings.workers) == (str(tmp_path / "a"), None)


def test_where_nothing_was_in_force_the_environment_is_read_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connections: Connections
) -> None:
    with configure(store=tmp_path / "a"):
        current().connection()
    monkeypatch.setenv("TENSORLAKE_NB_WORKERS", "4")

    assert connections.made[0].closed == 1
    assert current().settings.store.endswith("of the environment")
    assert current().settings.workers == 4


def test_a_block_on_the_same_cluster_shares_its_connection(tmp_path: Path, connections: Connections) -> None:
    configure(cluster="threads")
    with configure(store=tmp_path / "a"):  # the first that computes
        inner = current().connection()
    assert current().connection() is inner

    with configure(store=tmp_path / "b"):
        assert current().connection() is inner
    assert current().connection() is inner
    assert inner.closed == 0  # type: ignore[attr-defined]
    assert len(connections.made) == 1


def test_a_block_on_another_cluster_closes_it_and_connects_again(connections: Connections) -> None:
    configure(cluster="threads")
    current().connection()

    with configure(cluster="embedded", workers=2):
        assert connections.made[0].closed == 1
        current().connection()
    assert connections.made[1].closed == 1
    current().connection()

    assert [made.cluster for made in connections.made] == ["threads", "embedded", "threads"]


def test_a_connection_that_was_lost_in_a_block_is_not_gone_back_to(tmp_path: Path, connections: Connections) -> None:
    configure(cluster="threads")
    current().connection()

    with configure(store=tmp_path / "a"):
        connections.made[0].loss = "it died"
        again = current().connection()

    assert current().connection() is again
    assert [made.closed for made in connections.made] == [1, 0]


def test_a_store_stays_open_unless_its_trust_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bool | None] = []

    def open_store(url: str, *, trusted: bool | None) -> object:
        opened.append(trusted)
        return object()

    monkeypatch.setattr(session, "open_store", open_store)
    configure(store=tmp_path / "a", trust_store=False)

    configure(store=tmp_path / "a", workers=2)
    current().store()
    assert opened == [False]
    configure(trust_store=False)  # with another key than before, perhaps
    current().store()

    assert opened == [False, False]


def test_settings_that_are_refused_change_nothing(tmp_path: Path) -> None:
    configure(store=tmp_path / "a")
    before = current()

    with pytest.raises(OptionError, match="workers"), configure(workers=0):
        pass

    assert current() is before
