"""How long a store that fails is asked again, on a clock that only this test moves."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.filesystems import retrying as patience_module
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.retrying import Patience, expected, listed, patient, persistently
from tensorlake_nb.store.format.spool_frames import read_spool
from tensorlake_nb.store.writing.spool import Spool
from tests.support.stores import FINGERPRINT, add, key, local_store

FULL = errno.ENOSPC
BUSY = errno.EBUSY


class Clock:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: list[tuple[float, Callable[[], None]]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for due, what in [*self.at]:
            if due <= self.now:
                self.at.remove((due, what))
                what()

    def patience(self, most_s: float, **more: Callable[..., object]) -> Patience:
        return Patience(most_s, clock=lambda: self.now, sleep=self.sleep, **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failing(clock: Clock, number: int, *, until: float = float("inf")) -> tuple[Callable[[], str], list[float]]:
    """Something that fails up to some time, and when it was asked."""
    asked: list[float] = []

    def ask() -> str:
        asked.append(clock.now)
        if clock.now < until:
            raise OSError(number, os.strerror(number))
        return "an answer"

    return ask, asked


def test_an_error_that_may_pass_is_asked_again_later_and_later_for_some_seconds(clock: Clock) -> None:
    ask, asked = failing(clock, BUSY)

    with patient(clock.patience(0.0)), pytest.raises(StoreUnavailableError, match="busy"):
        persistently("read", "s3://bucket/object", ask)

    waits = [later - earlier for earlier, later in pairwise(asked)]
    assert len(waits) == len(patience_module.WAITS_S)
    for wait, longest in zip(waits, patience_module.WAITS_S, strict=True):
        assert longest / 2 <= wait <= longest + 1e-9


@pytest.mark.parametrize("number", [FULL, errno.EROFS, errno.EACCES])
def test_a_store_that_needs_somebody_is_not_waited_for_where_nothing_is_at_risk(clock: Clock, number: int) -> None:
    ask, asked = failing(clock, number)

    with patient(clock.patience(0.0)), pytest.raises(StoreUnavailableError, match="another store"):
        persistently("write", "/store/object", ask)

    assert asked == [0.0]


@pytest.mark.parametrize("number", [FULL, BUSY, errno.EROFS, errno.EACCES])
def test_where_a_result_is_at_risk_it_is_waited_for_as_long_as_asked_and_then_said(clock: Clock, number: int) -> None:
    ask, asked = failing(clock, number)

    with patient(clock.patience(300.0)), pytest.raises(StoreUnavailableError) as raised:
        persistently("write", "/store/object", ask)

    assert 285 <= asked[-1] <= 300 + 1e-6  # the clock adds up floats
    assert max(later - earlier for earlier, later in pairwise(asked)) <= 10
    assert 30 <= len(asked) <= 70
    assert "can't write /store/object" in str(raised.value)
    assert "retried for" in str(raised.value)


def test_a_store_that_comes_back_answers_and_is_waited_for_anew(clock: Clock) -> None:
    with patient(clock.patience(100.0)):
        for _ in range(3):
            ask, _ = failing(clock, FULL, until=clock.now + 80)
            assert persistently("write", "/store/object", ask) == "an answer"

    assert clock.now >= 240


def test_what_was_waited_for_in_vain_is_not_waited_for_again(clock: Clock) -> None:
    with patient(clock.patience(100.0)):
        for _ in range(2):
            ask, asked = failing(clock, FULL)
            with pytest.raises(StoreUnavailableError):
                persistently("write", "/store/object", ask)

    assert len(asked) == 1


def test_a_wait_ends_at_once_when_it_is_over(clock: Clock) -> None:
    over: list[bool] = []
    clock.at.append((25.0, lambda: over.append(True)))
    ask, _ = failing(clock, FULL)

    with (
        patient(clock.patience(300.0, is_over=lambda: bool(over))),
        pytest.raises(StoreUnavailableError),
    ):
        persistently("write", "/store/object", ask)

    assert 25 <= clock.now < 25.2


def test_before_each_wait_its_owner_is_told(clock: Clock) -> None:
    told: list[float] = []
    ask, asked = failing(clock, FULL, until=20)

    with patient(clock.patience(300.0, on_wait=lambda _: told.append(clock.now))):
        persistently("write", "/store/object", ask)

    assert told == asked[:-1]


@pytest.mark.parametrize("error", [ValueError("no"), FileExistsError("there"), OSError(errno.ENAMETOOLONG, "long")])
def test_what_cannot_pass_is_said_at_once(clock: Clock, error: Exception) -> None:
    def ask() -> None:
        raise error

    with patient(clock.patience(300.0)), pytest.raises(StoreUnavailableError):
        persistently("write", "/store/object", ask)

    assert clock.now == 0


# -- objects that have to be there


def sights(answers: Sequence[bytes | None]) -> Callable[[], bytes]:
    left: Iterator[bytes | None] = iter(answers)

    def get() -> bytes:
        answer = next(left)
        if answer is None:
            raise FileNotFoundError("object")
        return answer

    return get


def test_an_object_that_has_to_be_there_is_looked_for_again() -> None:
    assert expected(sights([None, None, b"there"])) == b"there"
    with pytest.raises(FileNotFoundError):
        expected(sights([None] * 10))


def test_of_many_objects_only_the_missing_are_looked_for_again() -> None:
    asked: list[list[str]] = []

    def get_many(paths: Sequence[str]) -> list[bytes | None]:
        asked.append([*paths])
        return [None if path == "never" or (path == "late" and len(asked) < 2) else b"there" for path in paths]

    assert listed(get_many, ["there", "late", "never"]) == [b"there", b"there", None]
    assert asked == [["there", "late", "never"], ["late", "never"], ["never"]]


# -- where an error came after all was done, or before all was


class Tried(LocalFilesystem):
    """Fails once in some way at some method's single tries."""

    def __init__(self, root: Path, method: str, how: str) -> None:
        super().__init__(root)
        real, self.left = getattr(LocalFilesystem, method), 1

        def tried(*arguments: object) -> object:
            if self.left and how == "half":
                self.left -= 1
                handle, data = arguments
                os.write(handle, data[: len(data) // 2])  # type: ignore[arg-type, index]
                raise OSError(FULL, os.strerror(FULL))
            answer = real(self, *arguments)
            if self.left and how == "after":
                self.left -= 1
                raise OSError(BUSY, os.strerror(BUSY))
            return answer

        setattr(self, method, tried)


def test_what_was_created_although_it_failed_is_ours(tmp_path: Path, clock: Clock) -> None:
    filesystem = Tried(tmp_path, "_create", "after")

    with patient(clock.patience(0.0)):
        assert filesystem.create("object", b"mine")
        assert not filesystem.create("object", b"theirs")

    assert filesystem.get("object") == b"mine"


@pytest.mark.parametrize("how", ["half", "after"])
def test_a_spool_is_whole_after_an_append_that_failed(tmp_path: Path, clock: Clock, how: str) -> None:
    filesystem = Tried(tmp_path, "_append", how)
    spool = Spool(filesystem, FINGERPRINT, "writer")

    with patient(clock.patience(60.0)):
        spool.begun(key(1))
        filesystem.left = 1
        spool.begun(key(2))
    contents = read_spool(Path(spool.path).read_bytes())
    spool.remove()

    assert (contents.damage, contents.torn_bytes) == (None, 0)
    assert contents.interrupted == (key(1), key(2))


def test_a_spool_that_could_not_be_begun_is_begun_anew(tmp_path: Path) -> None:
    """On a full disk a header that was cut short would make everything after it unreadable."""
    filesystem = Tried(tmp_path, "_append", "half")
    spool = Spool(filesystem, FINGERPRINT, "writer")
    with pytest.raises(StoreUnavailableError, match="no space"):
        spool.begun(key(1))
    assert not Path(spool.path).exists()

    spool.begun(key(2))
    contents = read_spool(Path(spool.path).read_bytes())
    spool.remove()

    assert (contents.damage, contents.interrupted) == (None, (key(2),))


def test_a_spool_that_cannot_be_removed_is_left_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local_store(tmp_path)
    writer = store.writer(FINGERPRINT, "writer")
    add(writer, 1, "value")
    with monkeypatch.context() as patched:
        patched.setattr(store.filesystem, "_remove", lambda path: os.unlink(tmp_path))  # which is a directory
        writer.close()

    assert len(list((tmp_path / "spool" / FINGERPRINT).iterdir())) == 1
    assert local_store(tmp_path).recover().spools == 1
    assert len(local_store(tmp_path).index(FINGERPRINT)) == 1


def test_events_whose_writing_failed_after_it_was_done_stand_in_the_log_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local_store(tmp_path)
    log = RunLog(store, "20260102-030405-abcdef")
    real = store.filesystem.create

    def create(path: str, data: bytes) -> bool:
        real(path, data)
        raise StoreUnavailableError("it was done, but that wasn't heard")

    with monkeypatch.context() as patched:
        patched.setattr(store.filesystem, "create", create)
        with pytest.raises(StoreUnavailableError):
            log.append([{"n": 1}])
    log.append([{"n": 1}])
    log.append([{"n": 2}])

    assert list(log.events()) == [{"n": 1}, {"n": 2}]
