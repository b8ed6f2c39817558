"""A store that can't be written to for a while, under a whole run: what was computed waits for it, in hand."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensorlake_nb import Graph, Run, StoreUnavailableError, configure, tensorlake_function
from tensorlake_nb.store.filesystems import retrying as patience
from tests.support.notes import Notes
from tests.support.troubles import KINDS, Trouble, trouble
from tests.support.waiting import wait_until

BEFORE, ALL = 3, 6
_WAITING = re.compile(r"can't (write|read|list) \S*(segments|spool)\S*: .*Retrying")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(patience, "WAITS_S", (0.01, 0.02, 0.05, 0.1))
    monkeypatch.setattr(patience, "_LONGEST_WAIT_S", 0.1)
    yield
    configure(cluster="threads", workers=2, store_patience=300)


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder that anybody may write to, whatever becomes of the store."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


class Work:
    """A map whose later elements wait for a gate, in two runs: one before the trouble, and one that meets it."""

    def __init__(self, folder: Path, store: str) -> None:
        self.notes, self.gate = Notes(str(folder / "notes")), folder / "gate"
        notes, gate = self.notes, self.gate
        configure(store=store, cluster="threads", workers=2, trust_store=True)

        @tensorlake_function()
        def numbers(n: int) -> list[int]:
            return list(range(n))

        @tensorlake_function()
        def text(x: int) -> str:
            notes.add(f"begun {x}")
            while x >= BEFORE and not gate.exists():
                time.sleep(0.005)
            notes.add(f"ended {x}")
            return str(x) * 50_000

        self.graph = Graph("away", numbers).add_edge(numbers, text)
        assert self.graph.run(n=BEFORE).result() == self.right(BEFORE)

    def right(self, n: int) -> list[str]:
        return [str(x) * 50_000 for x in range(n)]

    def begin(self, what: Trouble) -> Run:
        """Let the second run compute what then can't be written."""
        run = self.graph.start(n=ALL)
        self.notes.wait_for(f"begun {BEFORE}")
        what.begin()
        self.gate.touch()
        return run

    def calls(self) -> dict[int, int]:
        ended = (note.split() for note in self.notes.all())
        return Counter(int(number) for what, number in ended if what == "ended")


class Waits(logging.Handler):
    """Hears when something that holds results waits for the store; a cluster that starts may mute pytest's handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if _WAITING.search(record.getMessage()):
            self.begun.set()


@pytest.fixture
def waits() -> Iterator[Waits]:
    handler = Waits()
    patience.logger.addHandler(handler)
    yield handler
    patience.logger.removeHandler(handler)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_computed_is_kept_until_the_store_is_back(anybodys: Path, kind: str, waits: Waits) -> None:
    with trouble(kind, anybodys) as what:
        work = Work(anybodys, what.url)

        run = work.begin(what)
        assert waits.begun.wait(30)
        wait_until(lambda: run.doing == "waiting for the store")
        what.end()

        assert run.result() == work.right(ALL)
        assert run.doing == ""
        assert work.calls() == dict.fromkeys(range(ALL), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_stays_away_fails_the_run_by_name_and_what_is_missing_is_computed_later(
    anybodys: Path, kind: str
) -> None:
    with trouble(kind, anybodys) as what:
        work = Work(anybodys, what.url)
        configure(store_patience=0.4)

        run = work.begin(what)
        with pytest.raises(StoreUnavailableError) as raised:
            run.wait(60)
        what.end()
        configure(store_patience=300)

        assert what.said in str(raised.value)
        assert "/store" in str(raised.value)
        assert work.graph.run(n=ALL).result() == work.right(ALL)
        calls = work.calls()
        assert {x: calls[x] for x in range(BEFORE)} == dict.fromkeys(range(BEFORE), 1)
        assert max(calls.values()) <= 2


def test_a_store_that_can_only_be_read_shows_what_it_has_and_refuses_to_begin(anybodys: Path) -> None:
    with trouble("read-only disk", anybodys) as what:
        work = Work(anybodys, what.url)
        (done,) = Run.list()
        what.begin()

        configure(store=what.url, cluster="threads", workers=2, trust_store=True)
        assert Run.open(done.id).output("text") == work.right(BEFORE)
        with pytest.raises(StoreUnavailableError, match=what.said):
            work.graph.run(n=BEFORE)
        what.end()
