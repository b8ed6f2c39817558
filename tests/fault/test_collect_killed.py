"""A collection that is killed at any removal: what stays is whole, replays and is right; the rest goes next."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb import Run, collect, configure
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.store.claims.lease import Lease, put_lease
from tensorlake_nb.store.claims.ledger import Ledger
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.owner import this_process
from tests.support.collected import expected, found, graph, is_replayed, outputs_are_right
from tests.support.stores import FINGERPRINT, add, committed, local_store, segment_directory

KEEP: dict[str, Any] = {"keep_runs": 1, "grace": 0}
#: Which removals end a collection in a test; by hand, all of them (1).
EVERY = 9


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, of which each replays some of the one before, and all that a store may hold beside runs."""
    root = tmp_path_factory.mktemp("kept") / "store"
    configure(store=root, cluster="threads", workers=2)
    for n in (5, 9, 7):
        graph().run(n=n)
    graph("another").run(n=4)
    store = local_store(root)
    (span, *_) = committed(store, ["damaged", "values"], name="20250102-030405-abcdef-odd-1")
    store.quarantine(span.segment, "a test says so")
    left = segment_directory(root, f"{FINGERPRINT}/20250102-030405-abcdef-odd-2~00000000000001{'0' * 8}")
    left.mkdir(parents=True)
    (left / "c.0").write_bytes(b"no record lists it")
    (root / "runs" / "20250102-030405-abcdef" / "code").mkdir(parents=True)
    (root / "runs" / "20250102-030405-abcdef" / "code" / "blob").write_bytes(b"the run never began")
    dead = {**this_process(), "created": 0.0}
    put_lease(store, Lease("20250102-030405-abcdef", 1, frozenset({FINGERPRINT}), frozenset(), dead))
    Ledger(store, FINGERPRINT, "20250102-030405-abcdef").claim_everything()
    (root / "streams" / ".left.0123456789ab").write_bytes(b"half")
    writer = store.writer(FINGERPRINT, "20250102-030405-abcdef-odd-3")
    add(writer, 1, "finished, and its writer died")
    writer.abandon()
    return root


@pytest.fixture
def store(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "store")
    configure(store=tmp_path / "store", cluster="threads", workers=2)
    return tmp_path / "store"


class Killed(BaseException):
    """No handler takes it for an error of the store's."""


class Removals:
    """Counts a filesystem's removals, and ends the collection before the n-th, or after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None = None) -> None:
        self.paths: list[str] = []
        real: Callable[[LocalFilesystem, str], None] = LocalFilesystem.remove

        def remove(filesystem: LocalFilesystem, path: str) -> None:
            self.paths.append(path)
            if len(self.paths) == at:
                raise Killed
            real(filesystem, path)

        monkeypatch.setattr(LocalFilesystem, "remove", remove)


def law_holds(store: Path, newest: str, of_another: str) -> None:
    """What stays is whole, and nothing that somebody may still find leads to what has gone."""
    assert {newest, of_another} <= {run.id for run in Run.list()}
    for run in Run.list():
        outputs_are_right(run, run.inputs["n"])
    assert is_replayed(7)
    assert is_replayed(4)
    for n in (5, 9):
        graph().plan(n=n)
    assert session.current().store().damage == [], "nobody came upon something that has gone"
    for record in store.glob("segments/*/*/*/zarr.json"):
        is_marked = record.parent.with_name(record.parent.name + ".bad").exists()
        assert is_marked == (FINGERPRINT in str(record) and "-odd-1~" in str(record)), "what is damaged keeps its mark"
        segment = local_store(store).segment("/".join(record.parts[-3:-1]))
        assert is_marked or all((record.parent / path).exists() for path in segment.objects), "a record is true"


def ids() -> tuple[str, str]:
    (newest, *_), (of_another,) = Run.list("collected"), Run.list("another")
    return newest.id, of_another.id


def test_a_collection_keeps_what_the_runs_that_stay_need_and_nothing_else(store: Path) -> None:
    newest, of_another = ids()
    planned = collect(dry_run=True, **KEEP)
    before = sorted(store.rglob("*"))

    freed = collect(**KEEP)

    assert [run.id for run in Run.list()] == [of_another, newest]
    law_holds(store, newest, of_another)
    assert planned.runs == freed.runs
    assert len(freed.runs) == 2
    assert collect(dry_run=True, **KEEP).freed_bytes == 0, "nothing is left to free"
    left = {str(path.relative_to(store)) for path in store.rglob("*")}
    assert not list((store / "claims").rglob("0*"))
    assert not [path for path in left if FINGERPRINT in path or "abcdef" in path or ".left" in path]
    assert len(left) < len(before)
    assert graph().run(n=9).output(found) == [expected(9)]


def test_a_dry_run_removes_and_writes_nothing(store: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in store.rglob("*") if path.is_file()}

    before = contents()

    shown = collect(dry_run=True, **KEEP)

    assert contents() == before
    assert shown.freed_bytes > 0
    assert "would free" in str(shown)


def test_killed_before_any_removal_it_leaves_a_correct_store(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh(name: str) -> tuple[str, str]:
        shutil.copytree(kept, tmp_path / name)
        configure(store=tmp_path / name, cluster="threads", workers=2)
        return ids()

    fresh("counted")
    with monkeypatch.context() as patched:
        counted = Removals(patched)
        collect(**KEEP)
    assert len(counted.paths) > 40

    for at in range(1, len(counted.paths) + 1, EVERY):
        newest, of_another = fresh(f"killed at {at}")
        with monkeypatch.context() as patched:
            Removals(patched, at)
            with pytest.raises(Killed):
                collect(**KEEP)

        law_holds(tmp_path / f"killed at {at}", newest, of_another)
        if at % 4 == 0:
            assert graph().run(n=9).output(found) == [expected(9)], "what has gone in part is computed again"
        else:
            collect(**KEEP)
            law_holds(tmp_path / f"killed at {at}", newest, of_another)
        collect(**KEEP)
        assert collect(dry_run=True, **KEEP).freed_bytes == 0, f"killed at {at}: {counted.paths[at - 1]}"
        shutil.rmtree(tmp_path / f"killed at {at}")
