"""Opening: what a store is made with, and whom it trusts."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import zarr

from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.checkpoints.opening import TRUST_VARIABLE, identity_of, open_store


def test_a_new_directory_is_made_with_a_gitignore(tmp_path: Path) -> None:
    open_store(str(tmp_path / "deep" / "store"))

    assert (tmp_path / "deep" / "store" / ".gitignore").read_text() == "*\n"
    assert zarr.open_group(tmp_path / "deep" / "store", mode="r").attrs["tensorlake_nb"]["version"] == 1  # type: ignore[index,call-overload]


def test_a_directory_that_was_there_gets_no_gitignore(tmp_path: Path) -> None:
    open_store(str(tmp_path))

    assert sorted(os.listdir(tmp_path)) == ["zarr.json"]


def test_a_file_is_no_folder_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(StoreUnavailableError, match=r"notes\.txt is a file\. Give a folder"):
        open_store(str(tmp_path / "notes.txt"))

    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_home_of_a_user_that_does_not_exist_is_said() -> None:
    for url in ("~nobody-of-that-name/x", "file://~nobody-of-that-name/x"):
        with pytest.raises(StoreUnavailableError, match=r"~nobody-of-that-name stands for the home .* Write ~/"):
            open_store(url)


def test_the_same_store_is_opened_once(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)) is open_store(f"file://{tmp_path}")
    assert open_store(str(tmp_path), trusted=False) is not open_store(str(tmp_path), trusted=True)


def test_a_store_that_was_removed_is_made_again(tmp_path: Path) -> None:
    open_store(str(tmp_path / "store"))
    for path in (tmp_path / "store").iterdir():
        path.unlink()
    (tmp_path / "store").rmdir()

    open_store(str(tmp_path / "store"))

    assert (tmp_path / "store" / "zarr.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="no owners and modes there")
def test_a_worker_makes_no_store_where_it_sees_none(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"there is no store at file://.*/store as .* sees it"):
        open_store(str(tmp_path / "store"), make=False)

    assert os.listdir(tmp_path) == []


def test_stores_at_one_place_are_told_apart_by_their_records(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    assert identity_of(url) is None

    open_store(url)
    first = identity_of(url)
    assert first == identity_of(url)

    (tmp_path / "store" / "zarr.json").write_text("{}")
    assert identity_of(url) != first


def test_a_local_store_is_trusted_unless_anybody_may_write_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    assert open_store(str(tmp_path / "own")).trusted
    assert not open_store(str(tmp_path / "open")).trusted
    assert open_store(str(tmp_path / "open"), trusted=True).trusted
    monkeypatch.setenv(TRUST_VARIABLE, "1")
    assert open_store(str(tmp_path / "open")).trusted
    monkeypatch.delenv(TRUST_VARIABLE)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not open_store(str(tmp_path / "own")).trusted


def test_memory_is_this_process_alone() -> None:
    store = open_store("memory://opening")

    assert (store.trusted, store.is_local, store.is_shared) == (True, False, False)


def test_a_store_out_of_reach_is_said_with_its_url() -> None:
    with pytest.raises(StoreUnavailableError, match="nosuch"):
        open_store("nosuch://somewhere")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_reads_the_store(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put_state("20260101-000000-abcdef", "key", b"value")
    store._lock.acquire()  # as if another thread held it
    arrives, answers = os.pipe()

    child = os.fork()
    if child == 0:
        store.report("forked")
        os.write(answers, pickle.dumps(store.get_state("20260101-000000-abcdef", "key")))
        os._exit(0)
    store._lock.release()
    os.waitpid(child, 0)

    assert pickle.loads(os.read(arrives, 1000)) == b"value"
    os.close(arrives)
    os.close(answers)
