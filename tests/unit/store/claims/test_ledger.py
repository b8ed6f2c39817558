"""Ledgers: of runs that claim the same tasks, in any order and at the same moment, exactly one gets each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.core.keys import DIGEST_SIZE
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.claims.lease import Lease, leases, put_lease, remove_lease
from tensorlake_nb.store.claims.ledger import Ledger, Names, names_of, unused
from tests.support.stores import FINGERPRINT, OTHER, local_store


def names(*numbers: int) -> Names:
    return np.array(numbers, dtype=np.uint64)


def claimed(ledger: Ledger, *numbers: int) -> set[int]:
    """Claim, and say what was got."""
    wanted = names(*numbers)
    got = np.ones(len(wanted), dtype=np.bool_)
    for mask in ledger.claim(wanted).values():
        got &= ~mask
    return set(wanted[got].tolist())


numbers_of_stores = count()
claims = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True)))


@given(claims, st.lists(st.booleans(), min_size=40, max_size=40))
def test_each_task_is_one_runs_however_claims_race(wanted: list[tuple[int, list[int]]], racing: list[bool]) -> None:
    store = open_store(f"memory://claims-{next(numbers_of_stores)}")
    ledgers = [Ledger(store, FINGERPRINT, f"run-{number}") for number in range(4)]
    owned: dict[int, set[int]] = {number: set() for number in range(4)}
    left = list(wanted)
    create = store.filesystem.create

    def racing_create(path: str, data: Any) -> bool:
        """Now and then another run's claim comes between reading a ledger and adding to it."""
        if racing and racing.pop() and left:
            claim_next()
        return create(path, data)

    def claim_next() -> None:
        number, numbers = left.pop()
        if number in busy:  # one run claims one thing after the other
            return
        busy.add(number)
        owned[number] |= claimed(ledgers[number], *numbers)
        busy.discard(number)

    busy: set[int] = set()
    store.filesystem.create = racing_create  # type: ignore[method-assign]
    while left:
        claim_next()

    for number in range(4):
        for other in range(number):
            assert not owned[number] & owned[other]
    asked = {each for number, numbers in wanted for each in numbers}
    assert set().union(*owned.values()) <= asked


def test_what_nobody_has_is_got_and_what_another_run_has_is_held(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    first, second = Ledger(store, FINGERPRINT, "first"), Ledger(store, FINGERPRINT, "second")

    assert claimed(first, 1, 2, 3) == {1, 2, 3}
    assert claimed(second, 3, 4) == {4}
    assert claimed(first, 2, 3, 4) == {2, 3}, "its own it may claim again"


def test_claiming_ones_own_again_adds_nothing_to_the_ledger(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    ledger = Ledger(store, FINGERPRINT, "first")
    claimed(ledger, 1, 2)
    before = [path for path in (tmp_path / "store" / "claims").rglob("*") if path.is_file()]

    claimed(ledger, 2, 1)

    assert len(before) == 1
    assert [path for path in (tmp_path / "store" / "claims").rglob("*") if path.is_file()] == before


def test_a_run_that_claims_everything_holds_whatever_others_want_until_it_lets_go(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    first, second = Ledger(store, FINGERPRINT, "first"), Ledger(store, FINGERPRINT, "second")
    first.claim_everything()

    assert claimed(second, 7) == set()
    first.release()
    second.refresh()
    assert second.released == {"first"}
    second.forget(frozenset({"first"}), names(7))
    assert claimed(second, 7) == {7}
    assert claimed(second, 8) == set(), "this one wasn't looked up since"


def test_what_is_announced_is_ones_own_whoever_else_has_claimed_it(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    first, second = Ledger(store, FINGERPRINT, "first"), Ledger(store, FINGERPRINT, "second")
    claimed(first, 1)

    second.announce(names(1, 2))

    assert claimed(first, 1, 2) == set(), "both are at 1, and neither begins it again"


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-3], lambda data: b"junk"], ids=["empty", "cut", "junk"]
)
def test_a_damaged_part_is_left_out(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    store = local_store(tmp_path / "store")
    claimed(Ledger(store, FINGERPRINT, "first"), 1)
    claimed(Ledger(store, FINGERPRINT, "first"), 2)
    (path,) = (tmp_path / "store" / "claims").rglob("00000001")
    path.write_bytes(damage(path.read_bytes()))

    assert claimed(Ledger(store, FINGERPRINT, "second"), 1, 2, 3) == {1, 3}


def lease(run_id: str, beat: int = 0) -> Lease:
    return Lease(run_id, beat, frozenset({FINGERPRINT}), frozenset({"other"}), {"host": "h", "pid": 1, "created": 0.5})


def test_leases_come_back_as_they_were_put_and_are_replaced(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    put_lease(store, lease("a"))
    put_lease(store, lease("a", beat=1))
    put_lease(store, lease("mine"))

    assert [*leases(store, but="mine")] == [lease("a", beat=1)]
    remove_lease(store, "a")
    assert [*leases(store, but="mine")] == []


def test_a_damaged_lease_guards_nothing(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    put_lease(store, lease("a"))
    put_lease(store, lease("b"))
    (tmp_path / "store" / "claims" / "runs" / "a").write_bytes(b"junk")

    assert [*leases(store, but="mine")] == [lease("b")]


def test_names_are_the_first_eight_bytes_of_keys() -> None:
    keys = bytes(range(2 * DIGEST_SIZE))

    assert names_of(keys).tolist() == [
        int.from_bytes(keys[:8], "little"),
        int.from_bytes(keys[DIGEST_SIZE : DIGEST_SIZE + 8], "little"),
    ]


def test_what_no_driven_run_uses_can_go(tmp_path: Path) -> None:
    store = local_store(tmp_path / "store")
    claimed(Ledger(store, FINGERPRINT, "a"), 1)
    claimed(Ledger(store, OTHER, "b"), 1)
    put_lease(store, lease("a"))
    put_lease(store, replace(lease("b"), fingerprints=frozenset({OTHER})))
    (tmp_path / "store" / "claims" / "runs" / "c").write_bytes(b"junk")

    gone = {found.path for found in unused(store, lambda lease: lease.run_id == "a")}

    assert gone == {"claims/runs/b", "claims/runs/c", f"claims/{OTHER[:2]}/{OTHER}/00000001"}
