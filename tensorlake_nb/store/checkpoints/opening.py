"""``open_store(url)``: the store at a URL, checked, and made if it isn't there."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import stat
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from blake3 import blake3

from tensorlake_nb.errors import CorruptCheckpointError, StoreUnavailableError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.filesystems.local import LocalFilesystem
from tensorlake_nb.store.filesystems.overlay import Aside
from tensorlake_nb.store.filesystems.protocol import Filesystem
from tensorlake_nb.store.filesystems.remote import RemoteFilesystem
from tensorlake_nb.store.format.paths import RECORD, SEGMENTS, STREAMS
from tensorlake_nb.store.format.record import ATTRIBUTE, read_record, write_record
from tensorlake_nb.store.format.trust import Keys, own_keys

try:
    import grp
    import pwd
except ImportError:  # Windows, which has no such owners and modes
    pass

TRUST_VARIABLE = "TENSORLAKE_NB_TRUST_STORE"

_checked: set[tuple[int, str, str]] = set()
_open: dict[tuple[tuple[int, str, str], bool, str], Store] = {}
_lock = threading.Lock()
#: The folders that segments and streams lie in.
_SHARD = re.compile("[0-9a-f]{2}")
#: A URL that would make a folder "s3:" here; one letter is a drive.
_ONE_SLASH = re.compile(r"([a-z][a-z0-9+.-]+):/")
#: Filesystems of our own, by the first part of a protocol: modules with an ``open_filesystem``, imported when needed.
_OWN = {"faulty": "tensorlake_nb.testing.store"}


def open_filesystem(url: str, options: Mapping[str, Any] | None = None) -> Filesystem:
    """Return the filesystem of a URL or a plain path (``~`` is understood); read and write nothing yet.

    Raises
    ------
    StoreUnavailableError
        Unknown protocol, a URL with a slash too few, or a driver that isn't installed.
    """
    protocol, separator, rest = url.partition("://")
    if not separator:
        if mistyped := _ONE_SLASH.match(url):
            meant = f"{mistyped[1]}://{url[mistyped.end() :]}"
            raise StoreUnavailableError(f"{url!r} isn't a URL: write {meant}, or ./{url} for a folder of that name")
        return _local(url)
    own = _OWN.get(protocol.partition("+")[0]) if "+" in protocol else None
    if own is not None:
        opened: Filesystem = import_module(own).open_filesystem(url, options)
        return opened
    if protocol in ("file", "local"):
        return _local(rest[1:] if os.name == "nt" and rest[2:3] == ":" else rest)
    return RemoteFilesystem(url, dict(options or {}))


def _local(path: str) -> LocalFilesystem:
    try:
        return LocalFilesystem(Path(path))
    except RuntimeError as error:  # what expanduser raises
        user = Path(path).parts[0]
        raise StoreUnavailableError(
            f"{path!r} names no folder: {user} stands for the home of a user whom this machine doesn't know. Write "
            f"~/... for your own, the whole path, or ./{path} for a folder of that name."
        ) from error


def open_store(
    url: str,
    *,
    trusted: bool | None = None,
    options: Mapping[str, Any] | None = None,
    keys: Keys | None = None,
    make: bool = True,
) -> Store:
    """Open the store at a URL; the same one again for the same arguments in the same process.

    Parameters
    ----------
    url
        A path (``~`` is understood), ``file://``, ``memory://`` (this process only), ``s3://`` or another URL that
        fsspec knows.
    trusted
        True to read all pickled values, which runs code that they name. ``None``: yes for ``memory://`` and for
        a directory of the user's own that no other user may write to; for anything else only if the environment
        says ``TENSORLAKE_NB_TRUST_STORE=1``. Else only those are read that the user has signed.
    options
        Passed on to the fsspec filesystem, for what its own configuration doesn't say.
    keys
        The keys to sign with, and to check signatures by, if not this process's own: see `trust.own_keys`.
    make
        Make it if it isn't there. A worker doesn't: what the kernel has made is missing where another disk is.

    Raises
    ------
    StoreUnavailableError
        Unknown protocol, missing driver, out of reach, not to be written to, or not there and not to be made.
    StoreVersionError
        It was written in a newer format.
    CorruptCheckpointError
        The object in place of its root record may be foreign. A damaged one of ours is written anew, and reported.
    """
    filesystem = open_filesystem(url, options)
    about = (os.getpid(), filesystem.url, json.dumps(dict(options or {}), sort_keys=True, default=repr))
    remade = None
    if filesystem.is_local or about not in _checked:  # a look at a local disk costs nothing, a request does
        remade = _check_root(filesystem, make)
        _checked.add(about)
    trust = _is_own(filesystem) if trusted is None else trusted
    keys = keys or own_keys()
    with _lock:
        store = _open.get((about, trust, keys.name))
        if store is None:
            store = _open[about, trust, keys.name] = Store(filesystem, trusted=trust, options=options, keys=keys)
    if remade is not None:
        store.report(remade)
    return store


def identity_of(url: str) -> str | None:
    """Return the digest of a store's own record, as this process sees it; ``None`` if there is no store.

    Raises
    ------
    StoreUnavailableError
        It can't be reached from here.
    """
    try:
        return blake3(open_filesystem(url).get(RECORD)).hexdigest()
    except FileNotFoundError:
        return None


def _check_root(filesystem: Filesystem, make: bool) -> str | None:
    """Check the store's own record, and make it if it isn't there or damaged; what is to be reported of that."""
    where = f"{filesystem.url}/{RECORD}"
    try:
        raw = filesystem.get(RECORD)
    except FileNotFoundError:
        if not make:
            raise StoreUnavailableError(
                f"there is no store at {filesystem.url} as {platform.node()} sees it. The kernel and all workers must "
                "see the same store: use a folder that all machines share, or an object store."
            ) from None
        _make_root(filesystem)
        return None
    try:
        about, _ = read_record(where, raw)
    except CorruptCheckpointError as error:
        if _is_somebody_elses(raw) and not filesystem.list(SEGMENTS):
            raise StoreUnavailableError(
                f"{where} is the record of a Zarr group that isn't ours. Choose another directory for the store."
            ) from error
        if _is_of_a_store(filesystem, raw):
            filesystem.put_atomic(RECORD, _new_root())
            return f"{error}. The store's own record was written anew: every checkpoint is checked when it is read."
        raise CorruptCheckpointError(
            f"{error}. It should be the store's own record: if no other program needs that file, remove it, and it is "
            "written anew; checkpoints are checked one by one on reading."
        ) from error
    if about.get("kind") != "store":
        raise StoreUnavailableError(f"{where} belongs to a part of a store. Give the URL of the store itself.")
    return None


def _make_root(filesystem: Filesystem) -> None:
    if isinstance(filesystem, LocalFilesystem) and not os.path.isdir(filesystem.root):
        if os.path.exists(filesystem.root):
            raise StoreUnavailableError(
                f"{filesystem.root} is a file. Give a folder for the store; it is made if it isn't there."
            )
        filesystem.put(".gitignore", b"*\n")
    filesystem.create(RECORD, _new_root())


def _new_root() -> bytes:
    made = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return write_record({"kind": "store", "made": made})


def _is_of_a_store(filesystem: Filesystem, raw: bytes) -> bool:
    """Return True if a damaged record was certainly a store's own; no other file may be overwritten.

    A power cut may leave it empty or full of zeros.
    """
    if b'"kind":"store"' in raw:  # also where a flipped bit has made a stranger's name of ours
        return True
    if _is_somebody_elses(raw) or b'"kind":"segment"' in raw:
        return False
    if not raw.strip(b"\0"):
        return True
    return any(_SHARD.fullmatch(name) for folder in (SEGMENTS, STREAMS) for name in filesystem.list(folder))


def _is_somebody_elses(raw: bytes) -> bool:
    try:
        group = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(group, dict) and "zarr_format" in group and ATTRIBUTE not in group.get("attributes", {})


def _is_own(filesystem: Filesystem) -> bool:
    if not filesystem.is_shared or os.environ.get(TRUST_VARIABLE) == "1":
        return True
    if not isinstance(filesystem, LocalFilesystem):
        return False
    if os.name == "nt":
        return True
    about = os.stat(filesystem.root)
    if about.st_uid != os.geteuid() or about.st_mode & stat.S_IWOTH:
        return False
    return not about.st_mode & stat.S_IWGRP or _is_private(about.st_gid)


def _is_private(group: int) -> bool:
    """Return True if a group is the user's alone: it has the user's name and no other member, as Linux makes them."""
    try:
        name, about = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return about.gr_name == name and not set(about.gr_mem) - {name}


def aside(store: Store, folder: Path) -> Store:
    """Return an overlay of the store whose writes go to ``folder`` and are lost with it."""
    return Store(Aside(store.filesystem, folder), trusted=store.trusted, options=store.options, keys=store.keys)
