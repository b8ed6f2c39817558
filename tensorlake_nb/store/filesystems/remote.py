"""Any other fsspec filesystem: object stores, and ``memory://``.

fsspec has no types: `Any` stops here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import fsspec

from tensorlake_nb.errors import StoreUnavailableError
from tensorlake_nb.store.filesystems.protocol import MISSING, NO_DIRECTORY, NO_FILE, Buffer, Found
from tensorlake_nb.store.filesystems.retrying import FINAL, expected, persistently

T = TypeVar("T")

_DRIVERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_DRIVERS |= dict.fromkeys(("abfs", "abfss", "az", "adl"), "adlfs")
#: s3fs asks for an object's size before each read, to read large ones in parts; ours are small, or cut already.
_TUNING: dict[str, dict[str, Any]] = {"s3": {"max_concurrency": 1}, "s3a": {"max_concurrency": 1}}


class RemoteFilesystem:
    """Any other fsspec filesystem; its puts are atomic, as those of object stores and of ``memory://`` are."""

    is_local = False

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = url.rstrip("/") if not url.endswith("://") else url
        self.is_shared = not url.startswith("memory://")
        self._options = options
        self._process = 0
        self._connect()

    def get(self, path: str) -> bytes:
        return self._asked("read", path, lambda: self._get(path), missing=MISSING)

    def get_writable(self, path: str) -> bytearray:
        return bytearray(self.get(path))

    def get_many(self, paths: Sequence[str], *, most_bytes: int | None = None) -> list[bytes | None]:
        if not paths:
            return []
        wanted = [self._at(path) for path in paths]
        if most_bytes is None:
            found = self._asked("read", "", lambda: self._fs.cat(wanted, on_error="return"))
            got = [found.get(path, found.get(path.lstrip("/"))) for path in wanted]
        else:
            got = self._asked("read", "", lambda: self._fs.cat_ranges(wanted, 0, most_bytes, on_error="return"))
        answers: list[bytes | None] = []
        for path, answer in zip(paths, got, strict=True):
            if most_bytes is not None and isinstance(answer, OSError) and answer.errno == errno.EINVAL:
                answer = b""  # S3 has no first bytes of an empty object
            elif isinstance(answer, Exception) and not isinstance(answer, NO_FILE):
                answer = self._alone(path, most_bytes)  # with all the patience that one request gets
            answers.append(None if answer is None or isinstance(answer, Exception) else bytes(answer))
        return answers

    def _alone(self, path: str, most_bytes: int | None) -> bytes | None:
        try:
            return self._asked("read", path, lambda: self._get(path, most_bytes), missing=MISSING)
        except FileNotFoundError:
            return None

    def put(self, path: str, data: Buffer) -> None:
        self._asked("write", path, lambda: self._fs.pipe_file(self._at(path), bytes(data)))

    put_atomic = put

    def create(self, path: str, data: Buffer) -> bool:
        return self._asked("write", path, lambda: self._create(path, data))

    def list(self, path: str) -> list[str]:
        listed = self._asked("list", path, lambda: self._listed(lambda: self._fs.ls(self._at(path), detail=False)))
        return [name.rstrip("/").rpartition("/")[2] for name in listed]

    def walk(self, path: str) -> Iterator[Found]:
        found = self._asked("list", path, lambda: self._listed(lambda: self._fs.find(self._at(path), detail=True)))
        base = len(self._base.lstrip("/")) + 1
        for name in sorted(found):
            yield Found(name.lstrip("/")[base:], int(found[name].get("size") or 0))

    def remove(self, path: str) -> None:
        self._asked("remove", path, lambda: self._remove(path))

    def remove_all(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        try:
            self._asked("remove", "", lambda: self._fs.rm([self._at(path) for path in paths]), missing=NO_FILE)
        except NO_FILE:  # some drivers stop at the first that is missing
            for path in paths:
                self.remove(path)

    def _get(self, path: str, most_bytes: int | None = None) -> bytes:
        part = {} if most_bytes is None else {"start": 0, "end": most_bytes}
        try:
            return bytes(self._fs.cat_file(self._at(path), **part))
        except NO_FILE as error:
            raise FileNotFoundError(path) from error

    def _create(self, path: str, data: Buffer) -> bool:
        try:
            self._fs.pipe_file(self._at(path), bytes(data), mode="create")
        except FileExistsError:
            # It may be our own: it arrived, its answer didn't, and it was sent again, by us or by the driver.
            return self.is_shared and expected(lambda: self._get(path)) == bytes(data)
        except (NotImplementedError, TypeError, ValueError):  # no conditional writes there: as near as it gets
            if self._fs.exists(self._at(path)):
                return False
            self._fs.pipe_file(self._at(path), bytes(data))
        return True

    def _listed(self, ask: Callable[[], Any]) -> Any:
        for _ in range(20):
            try:
                return ask()
            except NO_DIRECTORY:
                return {}
            except RuntimeError:  # memory:// walks a dict that other threads add to
                continue
        raise StoreUnavailableError(f"can't list {self.url}: it changes too quickly")

    def _remove(self, path: str) -> None:
        with suppress(*NO_FILE):
            self._fs.rm_file(self._at(path))

    def _asked(self, doing: str, path: str, ask: Callable[[], T], *, missing: tuple[type[Exception], ...] = ()) -> T:
        where = f"{self.url}/{path}" if path else self.url
        return persistently(doing, where, ask, missing=missing, passing=self._passes)

    def _passes(self, error: Exception) -> bool:
        """Throttling, lost connections: drivers have errors of their own kinds for them."""
        return self.is_shared and not isinstance(error, (PermissionError, *NO_FILE, *FINAL))

    @property
    def _fs(self) -> Any:
        if self._process != os.getpid():  # its connections don't survive a fork
            self._connect()
        return self._filesystem

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _connect(self) -> None:
        protocol = self.url.partition("://")[0]
        options = {**_TUNING.get(protocol, {}), **self._options}
        try:
            self._filesystem, base = fsspec.url_to_fs(
                self.url, use_listings_cache=False, skip_instance_cache=True, **options
            )
        except ImportError as error:
            driver = _DRIVERS.get(protocol, f"its fsspec driver ({error})")
            raise StoreUnavailableError(f"a store at {protocol}:// needs {driver}: pip install {driver}") from error
        except ValueError as error:
            raise StoreUnavailableError(
                f"{self.url!r} isn't a URL that fsspec knows ({error}). Use a path, file://, memory://, s3://, gcs://, "
                "abfs:// or another protocol of fsspec."
            ) from error
        except Exception as error:
            raise StoreUnavailableError(f"can't reach {self.url}: {error}") from error
        self._base = base.rstrip("/")
        self._process = os.getpid()
