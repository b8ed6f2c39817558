"""What the store asks of a filesystem."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.checkpoints.opening import open_filesystem
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.remote import RemoteFilesystem


def test_a_url_is_absolute_whatever_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")

    assert open_filesystem("a store/x").url == f"file://{tmp_path.as_posix()}/a store/x"
    assert open_filesystem(f"file://{tmp_path}/y").url == f"file://{tmp_path.as_posix()}/y"
    assert open_filesystem("~/z").url == "file:///home/somebody/z"
    assert open_filesystem(open_filesystem("a store/x").url).url == f"file://{tmp_path.as_posix()}/a store/x"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("nosuch://x", "isn't a URL that fsspec knows"),
        ("gcs://bucket/x", "pip install gcsfs"),
        ("abfs://c/x", "pip install adlfs"),
    ],
)
def test_an_unknown_protocol_or_driver_says_what_to_do(url: str, advice: str) -> None:
    if "pip" in advice and _installed(advice.rpartition(" ")[2]):
        pytest.skip("the driver is installed here")

    with pytest.raises(StoreUnavailableError, match=advice):
        open_filesystem(url)


def _installed(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may write anywhere, so become nobody for a moment; anybody else stays who they are."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with as_somebody_else(), pytest.raises(StoreUnavailableError, match="Make it writable"):
        LocalFilesystem(tmp_path).put("object", b"")


def test_only_the_first_of_many_creates_an_object(tmp_path: Path) -> None:
    filesystem = LocalFilesystem(tmp_path)
    created: list[bytes] = []

    def create(data: bytes) -> None:
        if filesystem.create("deep/object", data):
            created.append(data)

    threads = [threading.Thread(target=create, args=(bytes([n]) * 1000,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(created) == 1
    assert filesystem.get("deep/object") == created[0]
    assert filesystem.list("deep") == ["object"]
    assert os.listdir(tmp_path / "deep") == ["object"]  # nothing half-written is left


def test_an_object_is_replaced_whole_while_somebody_reads_it(tmp_path: Path) -> None:
    filesystem = LocalFilesystem(tmp_path)
    filesystem.put_atomic("object", b"0" * 100_000)
    torn: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            data = filesystem.get("object")
            if len(data) != 100_000 or len(set(data)) != 1:
                torn.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    for digit in b"123456789" * 10:
        filesystem.put_atomic("object", bytes([digit]) * 100_000)
    done.set()
    reader.join()

    assert torn == []


@pytest.mark.parametrize("kind", [LocalFilesystem, RemoteFilesystem])
def test_missing_things_are_missing(kind: type, tmp_path: Path) -> None:
    filesystem = LocalFilesystem(tmp_path) if kind is LocalFilesystem else open_filesystem("memory://missing")
    filesystem.put("there", b"1")

    assert filesystem.get_many(["there", "not", "there/below"]) == [b"1", None, None]
    assert filesystem.list("not") == []
    with pytest.raises(FileNotFoundError):
        filesystem.get("not")
    filesystem.remove("not")
    filesystem.remove("there")
    assert filesystem.get_many(["there"]) == [None]


@pytest.mark.parametrize("kind", [LocalFilesystem, RemoteFilesystem])
def test_of_many_no_more_is_read_than_is_wanted(kind: type, tmp_path: Path) -> None:
    filesystem = LocalFilesystem(tmp_path) if kind is LocalFilesystem else open_filesystem("memory://heads")
    for name, data in (("large", b"12345"), ("small", b"1"), ("empty", b"")):
        filesystem.put(name, data)

    assert filesystem.get_many(["large", "small", "empty", "not"], most_bytes=3) == [b"123", b"1", b"", None]


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
def test_what_is_no_file_is_missing_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    filesystem = LocalFilesystem(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "nowhere").symlink_to(tmp_path / "not")

    assert filesystem.get_many(["pipe", "endless", "nowhere", "."]) == [None] * 4
    with pytest.raises(FileNotFoundError):
        filesystem.get_writable("pipe")


def test_directories_of_any_depth_are_walked(tmp_path: Path) -> None:
    filesystem = LocalFilesystem(tmp_path)
    deep = "top"
    for _ in range(1200):
        os.mkdir(tmp_path / deep)
        deep += "/d"
    filesystem.put(f"{deep}/object", b"1")
    filesystem.put("top/d/another", b"1")

    found = [each.path for each in filesystem.walk("top")]

    filesystem.remove_all(found)
    assert found == ["top/d/another", f"{deep}/object"]
    assert os.listdir(tmp_path) == ["top"]


def test_a_file_where_a_directory_should_be_is_a_store_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreUnavailableError, match="can't write"):
        LocalFilesystem(tmp_path).put("file/object", b"")


def test_removing_the_last_object_takes_empty_directories_along_and_a_walk_follows_no_link(tmp_path: Path) -> None:
    filesystem = LocalFilesystem(tmp_path / "store")
    filesystem.put("segments/ab/one/.left.0123456789ab", b"left")
    filesystem.put("segments/ab/two/c.0", b"two")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_bytes(b"not the store's")
    (tmp_path / "store" / "segments" / "ab" / "link").symlink_to(tmp_path / "elsewhere")

    found = [each.path for each in filesystem.walk("segments")]
    filesystem.remove_all(found)

    assert found == ["segments/ab/link", "segments/ab/one/.left.0123456789ab", "segments/ab/two/c.0"]
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["segments"]
    assert (tmp_path / "elsewhere" / "mine").read_bytes() == b"not the store's"


def test_a_directory_that_is_taken_away_before_it_is_written_to_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem = LocalFilesystem(tmp_path)
    real = os.makedirs
    taken: list[str] = []

    def made_and_taken(path: str, exist_ok: bool = False) -> None:
        real(path, exist_ok=exist_ok)
        if path.endswith("ab") and len(taken) < 2:
            taken.append(path)
            os.rmdir(path)

    monkeypatch.setattr(os, "makedirs", made_and_taken)

    filesystem.put("segments/ab/object", b"there")

    assert filesystem.get("segments/ab/object") == b"there"
    assert len(taken) == 2
