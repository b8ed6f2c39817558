"""A spool forgets what is committed, and keeps what isn't."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.errors import InternalError
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.spool_frames import read_spool
from tensorlake_nb.store.writing.abandoned_spools import take_over
from tensorlake_nb.store.writing.spool import Spool
from tests.support.stores import FINGERPRINT, Odd, digests_of, encoded, key


def spool_at(root: Path) -> Spool:
    return Spool(LocalFilesystem(root), FINGERPRINT, "writer")


def test_what_was_added_is_read(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    values = ["text", np.arange(6).reshape(2, 3), Odd(1), None]
    entry = Entry(key(1), 4, tuple(map(encoded, values)), Routes.of([("a",), (), ("b",), ()]), b"effects", 1.5)
    spool.begun(key(1))
    spool.add(entry)
    spool.begun(key(2))

    found = read_spool(Path(spool.path).read_bytes())

    assert (found.fingerprint, found.writer, found.interrupted) == (FINGERPRINT, "writer", (key(2),))
    (read,) = found.entries.values()
    assert (read.key, read.count, read.routes, read.effects, read.duration_s) == (
        entry.key,
        entry.count,
        entry.routes,
        entry.effects,
        entry.duration_s,
    )
    assert b"".join(value.digest for value in read.values) == digests_of(values)


def test_an_entry_whose_routes_are_those_of_other_outputs_is_refused() -> None:
    with pytest.raises(InternalError, match="routes of 2 outputs for 1"):
        Entry(key(1), BARE, (encoded(1),), Routes.of([("a",), ("b",)]))


def test_what_a_router_passed_on_by_reference_is_read(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.add(Entry(key(1), 0, (), passes=("a", "b")))

    (read,) = read_spool(Path(spool.path).read_bytes()).entries.values()
    assert (read.count, read.values, read.routes, read.passes) == (0, (), None, ("a", "b"))


def test_a_superseded_entry_is_not_read_unless_the_one_after_it_is_torn(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.add(Entry(key(1), BARE, (encoded(1),)))
    spool.add(Entry(key(2), BARE, (encoded(2),), supersedes=key(1)))
    raw = Path(spool.path).read_bytes()

    assert set(read_spool(raw).entries) == {key(2)}
    torn = read_spool(raw[:-1])
    assert set(torn.entries) == {key(1)}
    assert torn.torn_bytes > 0
    assert torn.damage is None


def test_of_steps_that_are_made_again_the_one_that_was_under_way_is_found(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.turns([key(1), key(2), key(3)])
    spool.ended(key(1))
    spool.ended(key(2))
    assert read_spool(Path(spool.path).read_bytes()).interrupted == (key(3),)

    spool.turns([key(1), key(2), key(3)])
    spool.ended(key(1))
    assert read_spool(Path(spool.path).read_bytes()).interrupted == (key(2),)


def test_a_spool_starts_over_once_everything_is_committed(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.begun(key(0))
    empty = os.path.getsize(spool.path)
    for number in range(100):
        spool.add(Entry(key(number), BARE, (encoded(number),)))

    spool.restart((key(0),))

    found = read_spool(Path(spool.path).read_bytes())
    assert os.path.getsize(spool.path) == empty
    assert (len(found.entries), found.interrupted) == (0, (key(0),))


def test_of_tasks_in_turn_the_first_that_has_not_ended_was_being_computed(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)

    def interrupted() -> tuple[bytes, ...]:
        return read_spool(Path(spool.path).read_bytes()).interrupted

    spool.turns([key(1), key(2), key(3), key(4)])
    assert interrupted() == (key(1),)

    spool.add(Entry(key(1), BARE, (encoded(1),)))
    spool.ended(key(2))
    assert interrupted() == (key(3),)

    spool.restart((), (key(3), key(4)))
    assert interrupted() == (key(3),)

    spool.turns([key(7)])
    assert interrupted() == (key(7),), "the later turns replace the earlier ones"
    spool.turns([])
    assert interrupted() == ()


def test_a_task_that_refers_to_other_segments_is_read(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    refers = (Span(f"{FINGERPRINT}/a~1", 0, 3), Span(f"{FINGERPRINT}/a~2", 2, 4))
    spool.add(Entry(key(1), 5, (), refers=refers))

    (read,) = read_spool(Path(spool.path).read_bytes()).entries.values()
    assert (read.count, read.values, read.refers) == (5, (), refers)


def test_no_file_is_made_before_there_is_something_to_keep(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.restart(())
    spool.remove()

    assert list(tmp_path.iterdir()) == []


def test_only_a_spool_that_nobody_holds_is_taken_over(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.begun(key(1))

    assert take_over(spool.path) is None
    spool.release()
    first = take_over(spool.path)
    assert first is not None
    with first:
        assert take_over(spool.path) is None
        os.unlink(spool.path)
    assert take_over(spool.path) is None


def test_a_spool_that_was_forgotten_is_not_held(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    spool.begun(key(1))
    path = spool.path
    del spool

    taken = take_over(path)
    assert taken is not None
    with taken:
        assert taken.contents.interrupted == (key(1),)
