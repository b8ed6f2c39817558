"""Caches that a worker process keeps from batch to batch: open stores, unpickled functions, facts about runs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from blake3 import blake3

from tensorlake_nb.core.batches.batch import Call
from tensorlake_nb.core.functions.binding import Binder
from tensorlake_nb.core.keys import Fingerprint, RunId
from tensorlake_nb.engine.process.secrets import signing_keys_of
from tensorlake_nb.engine.travel.packing import unpack
from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.checkpoints.opening import open_store
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.classes import ClassTable
from tensorlake_nb.store.reading.index import Index

_MAX_FUNCTIONS = 128
_MAX_STORES = 4

_lock = threading.RLock()
_stores: OrderedDict[tuple[str, bool, str], Store] = OrderedDict()
_functions: OrderedDict[bytes, Loaded] = OrderedDict()
_by_fingerprint: dict[Fingerprint, Loaded] = {}
#: Runs and fingerprints whose index was listed since the run began.
_listed: dict[RunId, set[Fingerprint]] = {}


class Loaded:
    """A function as it stands in this process: unpickled once, so what it caches in its globals survives.

    Attributes
    ----------
    resolver
        Finds the classes that stored values are instances of: those in the function's own globals.
    """

    def __init__(self, call: Call, code: bytes) -> None:
        unpacked = unpack(code)
        self.function = unpacked.function
        self.resolver = ClassTable(unpacked.classes)
        self.binder = Binder(self.function)
        # Asked for each call, and costly to find out:
        self.is_async = self.function.is_async
        self._plain = None if self.function.is_class else self.function.call
        #: True if the fingerprint covers all of the code.
        self.is_exact = unpacked.is_exact
        self.code_digest = call.code_digest
        self.install = unpacked.install
        self._lock = threading.Lock()
        self._instance: Any = None

    def target(self) -> Callable[..., Any]:
        """Return the callable: the plain function, or ``run`` of this process's one instance of the class."""
        if self._plain is not None:
            return self._plain
        with self._lock:
            if self._instance is None:
                self._instance = self.function.call()
            return self._instance.run  # type: ignore[no-any-return]


def store_at(url: str, trusted: bool, run_id: RunId) -> Store:
    """Return the store under a URL, opened once per process and signing keys: a run brings its own."""
    keys = signing_keys_of(run_id)
    asked = (url, trusted, keys.name)
    with _lock:
        store = _stores.get(asked)
        if store is None:
            store = _stores[asked] = open_store(url, trusted=trusted, keys=keys, make=False)
            while len(_stores) > _MAX_STORES:
                _stores.popitem(last=False)
        _stores.move_to_end(asked)
        return store


def load_function(call: Call, store: Store) -> Loaded:
    """Return the function of a node, unpickled at most once per process and fingerprint.

    Raises
    ------
    CorruptCheckpointError
        The stored code isn't what the driver sent.
    SerializationError
        It can't be unpickled here.
    """
    with _lock:
        loaded = _functions.get(call.code_digest) or _by_fingerprint.get(call.fingerprint)
        if loaded is None:
            code = store.get_bytes(call.code_path)
            if blake3(code).digest() != call.code_digest:
                raise CorruptCheckpointError(f"the code of {call.node!r} at {call.code_path} isn't what was sent")
            loaded = _functions[call.code_digest] = Loaded(call, code)
            if loaded.is_exact:
                _by_fingerprint[call.fingerprint] = loaded
            _drop_oldest()
        if loaded.code_digest in _functions:
            _functions.move_to_end(loaded.code_digest)
        loaded.install()
        return loaded


def _drop_oldest() -> None:
    while len(_functions) > _MAX_FUNCTIONS:
        _, dropped = _functions.popitem(last=False)
        for fingerprint in [name for name, loaded in _by_fingerprint.items() if loaded is dropped]:
            del _by_fingerprint[fingerprint]


def index_of(run_id: RunId, fingerprint: Fingerprint, store: Store, *, fresh: bool = False) -> Index:
    """Return the index of a fingerprint's outputs, listed anew once per run: other runs may have added to it.

    With ``fresh`` only what this run itself committed counts.
    """
    with _lock:
        listed = _listed.setdefault(run_id, set())
        is_listed = fingerprint in listed
        listed.add(fingerprint)
    return store.index(fingerprint, refresh=not is_listed, run=run_id if fresh else None)


def forget_listed(run_id: RunId, fingerprint: Fingerprint | None = None) -> None:
    """List the index of functions anew, or of one of them, when this run asks again."""
    with _lock:
        if fingerprint is None:
            _listed.pop(run_id, None)
        else:
            _listed.get(run_id, set()).discard(fingerprint)


def clear() -> None:
    """Forget everything, as a new process would."""
    with _lock:
        for kept in (_stores, _functions, _by_fingerprint, _listed):
            kept.clear()
