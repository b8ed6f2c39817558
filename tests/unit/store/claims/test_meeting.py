"""Runs that meet on one store, on a clock that the tests turn: who waits for whom, and for how long."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import psutil
import pytest

from tensorlake_nb.core.keys import RunId
from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims import meeting as sharing
from tensorlake_nb.store.claims.lease import Lease, put_lease
from tensorlake_nb.store.claims.ledger import Ledger, Names
from tensorlake_nb.store.claims.meeting import EXPIRY, STANDSTILL, Sharing
from tensorlake_nb.store.owner import Owner, this_process
from tests.support.stores import FINGERPRINT, OTHER, local_store


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Sharer:
    """One run on its way: what it is computing is what it announces."""

    def __init__(self, store: Store, name: str, clock: Clock, owner: Owner | None = None) -> None:
        self.computing: list[int] = []
        self.sharing = Sharing(store, RunId(name), [FINGERPRINT], owner or this_process(), clock=clock)

    def announce(self, fingerprint: str, ledger: Ledger) -> None:
        ledger.announce(names(*self.computing))

    def join(self) -> bool:
        return self.sharing.join(self.announce)

    def beat(self, *, is_idle: bool = False) -> None:
        self.sharing.beat(self.announce, is_idle=is_idle)

    def claim(self, *numbers: int) -> tuple[list[bool], bool]:
        """Which of some tasks another run has claimed, and whether any such run is at work on them."""
        held = self.sharing.claim(FINGERPRINT, names(*numbers))
        return ([False] * len(numbers), False) if held is None else (held.mask.tolist(), held.is_under_way)


def names(*numbers: int) -> Names:
    return np.array(numbers, dtype=np.uint64)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return local_store(tmp_path / "store")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meet(store: Store, clock: Clock) -> Callable[[str, Sharer], Sharer]:
    def met(name: str, host: Sharer) -> Sharer:
        """A run that joins while another one, which answers it, is at work."""
        guest = Sharer(store, name, clock)
        joined = threading.Thread(target=guest.join)
        joined.start()
        while joined.is_alive():
            host.beat()
            joined.join(0.01)
        return guest

    return met


def kept(folder: Path) -> list[str]:
    """What lies below ``claims``."""
    claims = folder / "store" / "claims"
    return sorted(str(path.relative_to(claims)) for path in claims.rglob("*") if path.is_file())


def test_a_run_that_is_alone_claims_nothing_and_leaves_nothing(store: Store, clock: Clock, tmp_path: Path) -> None:
    run = Sharer(store, "alone", clock)

    assert run.join()
    run.beat()

    assert run.claim(1, 2) == ([False, False], False)
    assert kept(tmp_path) == ["runs/alone"]
    run.sharing.leave()
    assert kept(tmp_path) == []


def test_before_it_computes_anything_a_run_is_not_there(store: Store, clock: Clock, tmp_path: Path) -> None:
    run = Sharer(store, "replays", clock)

    run.beat()
    run.sharing.leave()

    assert kept(tmp_path) == []


def test_a_run_that_is_gone_on_with_removes_the_lease_of_its_dead_driver(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    Sharer(store, "killed", clock).join()

    Sharing(store, RunId("killed"), [FINGERPRINT], this_process(), resumed=True, clock=clock).leave()

    assert kept(tmp_path) == [], "though all that was left to do was replayed"


def test_who_comes_later_waits_for_the_answer_and_then_knows_what_is_being_computed(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first = Sharer(store, "first", clock)
    first.join()
    first.computing = [1, 2]

    second = meet("second", first)

    assert second.claim(1, 2, 3) == ([True, True, False], True)
    assert first.claim(3, 4) == ([True, False], True)
    assert not second.join(), "only once"


def test_runs_with_no_function_in_common_do_not_wait_for_each_other(store: Store, clock: Clock) -> None:
    first = Sharer(store, "first", clock)
    first.sharing = Sharing(store, RunId("first"), [OTHER], this_process(), clock=clock)
    first.join()

    second = Sharer(store, "second", clock)

    second.join()

    assert not second.sharing.shares(FINGERPRINT)


def test_a_stop_ends_the_waiting(store: Store, clock: Clock) -> None:
    Sharer(store, "silent", clock).join()
    run = Sharer(store, "stopped", clock)
    joined = threading.Thread(target=run.join)
    joined.start()

    run.sharing.interrupt()

    joined.join(10)
    assert not joined.is_alive()


def test_a_run_that_shows_no_sign_of_life_is_taken_over(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer], tmp_path: Path
) -> None:
    first = Sharer(store, "paused", clock)
    first.join()
    first.computing = [1]
    second = meet("second", first)
    assert second.claim(1) == ([True], True)

    clock.now_s += EXPIRY * second.sharing.beat_s

    assert second.claim(1) == ([True], False), "first the store is asked what came of it"
    assert kept(tmp_path).count("runs/paused") == 0
    second.sharing.forget_the_gone(FINGERPRINT, names(1))
    assert second.claim(1) == ([False], False)


def test_a_run_that_lives_is_waited_for_however_long(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first = Sharer(store, "slow", clock)
    first.join()
    first.computing = [1]
    second = meet("second", first)

    for _ in range(3 * EXPIRY):
        clock.now_s += second.sharing.beat_s
        first.beat()
        second.beat()

    assert second.claim(1) == ([True], True)


def test_a_run_that_was_taken_over_and_goes_on_is_seen_again(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first = Sharer(store, "paused", clock)
    first.join()
    second = meet("second", first)
    clock.now_s += EXPIRY * second.sharing.beat_s
    second.beat()
    assert first.claim(5) == ([False], False)

    first.beat()

    assert second.claim(5) == ([True], True)


def test_a_run_whose_process_has_died_is_gone_at_once(store: Store, clock: Clock, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        created = psutil.Process(process.pid).create_time()
        dead = Sharer(store, "dead", clock, {**this_process(), "pid": process.pid, "created": created})
        dead.join()
        process.kill()

    second = Sharer(store, "second", clock)

    second.join()

    assert kept(tmp_path) == ["runs/second"]


def test_a_lease_that_could_not_be_removed_when_its_run_ended_here_holds_nobody_up(
    store: Store, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Sharer(store, "ended", clock)
    first.join()
    with monkeypatch.context() as away:
        away.setattr(store.filesystem, "remove", Mock(side_effect=StoreUnavailableError("it is away")))
        first.sharing.leave()
    assert kept(tmp_path) == ["runs/ended"]

    Sharer(store, "next", clock).join()

    assert kept(tmp_path) == ["runs/next"]


def test_what_a_run_that_ended_had_claimed_is_looked_up_before_it_is_computed(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first = Sharer(store, "first", clock)
    first.join()
    second = meet("second", first)
    first.claim(1, 3)

    first.sharing.leave()

    assert second.claim(1, 2) == ([True, False], False)
    second.sharing.forget_the_gone(FINGERPRINT, names(1, 2))
    assert second.claim(1, 2) == ([False, False], False)
    assert second.claim(3) == ([True], False), "this one wasn't looked up since"


def test_what_a_run_has_released_is_looked_up_before_it_is_computed(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first = Sharer(store, "first", clock)
    first.join()
    second = meet("second", first)
    first.claim(1)

    first.sharing.release(FINGERPRINT)

    assert second.claim(1) == ([True], False)
    first.claim(2)
    assert second.claim(2) == ([True], True), "what it claims later counts again"


def test_two_that_come_at_the_same_moment_answer_each_other(store: Store, clock: Clock) -> None:
    runs = [Sharer(store, f"run-{number}", clock) for number in range(4)]
    joined = [threading.Thread(target=run.join) for run in runs]

    for thread in joined:
        thread.start()
    while any(thread.is_alive() for thread in joined):
        for run, thread in zip(runs, joined, strict=True):
            if not thread.is_alive():  # it has got all its answers, and goes on
                run.beat()
        joined[0].join(0.01)

    got = [sum(not held for held in run.claim(*range(20))[0]) for run in runs]
    assert sum(got) == 20, got


def test_what_a_run_has_tried_in_vain_others_may_try_at_once(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first = Sharer(store, "first", clock)
    first.join()
    second = meet("second", first)
    first.claim(1, 2, 3)

    first.sharing.give_back(FINGERPRINT, names(2))

    assert second.claim(1, 2, 3) == ([True, False, True], True)
    assert first.claim(1, 2) == ([False, True], True), "now the other one is at it"


def test_of_all_that_a_run_claims_others_may_try_what_it_gives_back(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first = Sharer(store, "first", clock)
    first.join()
    second = meet("second", first)
    Ledger(store, FINGERPRINT, "first").claim_everything()

    Ledger(store, FINGERPRINT, "first").give_back(names(2))
    assert second.claim(1, 2) == ([True, False], True)

    Ledger(store, FINGERPRINT, "first").announce(names(2))
    assert second.claim(2, 3) == ([True, True], True)


def crossed(store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]) -> tuple[Sharer, Sharer]:
    """Two runs that live, each of which is said to hold what only the other one wants."""
    first = Sharer(store, "first", clock)
    first.join()
    second = meet("second", first)
    Ledger(store, FINGERPRINT, "second").announce(names(1))
    Ledger(store, FINGERPRINT, "first").announce(names(2))
    assert first.claim(1) == second.claim(2) == ([True], True)
    return first, second


def test_runs_that_wait_for_each_other_see_it_and_one_goes_on(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer]
) -> None:
    first, second = crossed(store, clock, meet)

    for _ in range(STANDSTILL + 2):
        clock.now_s += first.sharing.beat_s
        first.beat(is_idle=True)
        second.beat(is_idle=True)

    assert first.claim(1) == ([True], False), "first the store is asked what came of it"
    first.sharing.forget_the_gone(FINGERPRINT, names(1))
    assert first.claim(1) == ([False], False)
    assert second.claim(2) == ([True], True), "its turn comes later"


@pytest.mark.parametrize("busy", ["itself", "another"])
def test_while_something_is_computed_it_is_waited_for(
    store: Store, clock: Clock, meet: Callable[[str, Sharer], Sharer], busy: str
) -> None:
    first, second = crossed(store, clock, meet)

    for _ in range(3 * STANDSTILL):
        clock.now_s += first.sharing.beat_s
        first.beat(is_idle=busy != "itself")
        second.beat(is_idle=busy != "another")

    assert first.claim(1) == ([True], True)


def test_a_run_that_beats_and_never_answers_is_not_waited_for_for_ever(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = Lease("mute", 0, frozenset({FINGERPRINT}), frozenset(), {"host": "elsewhere", "pid": 1, "created": 1.0})
    put_lease(store, mute)
    run = Sharer(store, "run", clock)

    def beats(_: float) -> bool:
        clock.now_s += run.sharing.beat_s
        put_lease(store, replace(mute, beat=int(clock.now_s * 10**6)))
        return False

    monkeypatch.setattr(run.sharing._stop, "wait", beats)

    assert run.join()
    assert clock.now_s == EXPIRY * run.sharing.beat_s


def test_a_lease_that_may_not_be_removed_holds_nobody_up(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = {**this_process(), "created": 1.0}
    put_lease(store, Lease("dead", 9999, frozenset({FINGERPRINT}), frozenset(), dead))
    monkeypatch.setattr(store.filesystem, "remove", Mock(side_effect=StoreUnavailableError("not yours")))
    run = Sharer(store, "run", clock)

    assert run.join()

    assert run.claim(1) == ([False], False)
    assert run.sharing.shares(FINGERPRINT) is False


@pytest.mark.parametrize("where", ["claims", "claims/runs", f"claims/{FINGERPRINT[:2]}/{FINGERPRINT}"])
def test_where_claims_can_not_be_written_a_run_goes_on_as_if_it_were_alone(
    store: Store, clock: Clock, tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store" / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no directory")
    if where.endswith(FINGERPRINT):
        Sharer(store, "first", clock).join()
    run = Sharer(store, "second", clock)
    run.sharing.interrupt()
    run.computing = [1]

    assert run.join()

    assert run.claim(1, 2) == ([False, False], False)
    run.beat()
    run.sharing.release(FINGERPRINT)
    run.sharing.leave()
    assert "ignores other runs" in caplog.text


def test_leases_without_end_are_taken_no_notice_of(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sharing, "MOST_LEASES", 3)
    for number in range(4):
        put_lease(store, Lease(f"run-{number}", 1, frozenset({OTHER}), frozenset(), this_process()))
    run = Sharer(store, "run", clock)

    assert run.join()

    assert run.claim(1) == ([False], False)
    assert "4 leases" in caplog.text
