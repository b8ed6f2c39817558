"""One element computed again on a worker, and compared with what the store has of it. Nothing is kept.

The call is made as in a run, by the same code: watched, captured, its secrets shown. Only the store is another one:
it gives what is there, and what is written goes into a folder that ends with the check.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from distributed import Worker, WorkerPlugin

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import BARE, Batch, Receipt, Span
from tensorlake_nb.core.keys import RunId, one_by_one
from tensorlake_nb.engine.calls.failure_text import error_text, short_repr
from tensorlake_nb.engine.calls.loaded import Loaded, load_function, store_at
from tensorlake_nb.engine.calls.reporting import current_worker, reporter
from tensorlake_nb.engine.process import secrets
from tensorlake_nb.engine.verifying.difference import differing
from tensorlake_nb.engine.worker.execute import execute, host_of
from tensorlake_nb.engine.worker.inputs import Inputs
from tensorlake_nb.errors import StoreError, UsageError
from tensorlake_nb.store.checkpoints.opening import aside
from tensorlake_nb.store.checkpoints.store import Store

#: Per output the targets that it travels to.
Targets = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class CheckedOutputs:
    """What one element gave.

    Attributes
    ----------
    count
        How many outputs; `BARE` for one value.
    spans, digests
        Where they lie, and their digests, 32 bytes each.
    targets
        Per output where it goes; ``None``: nothing here chooses.
    """

    count: int = 0
    spans: tuple[Span, ...] = ()
    digests: bytes = b""
    targets: Targets | None = None


@dataclass(frozen=True, slots=True)
class Check(Batch):
    """A batch of one element (of a fold: of the elements between two kept accumulators), and what it gave before.

    Attributes
    ----------
    position
        Where the element is in its node's input stream.
    kept
        What the store has.
    state
        The request state that the run would have when it comes to this node.
    """

    position: int = 0
    kept: CheckedOutputs = field(default_factory=CheckedOutputs)
    state: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check.

    Attributes
    ----------
    outcome
        ``unknown``: it was given up before its end.
    what
        Of ``different`` where, of ``failed`` why.
    """

    outcome: Literal["equal", "different", "failed", "unknown"]
    position: int
    given: str = ""
    what: str = ""


class Kit(WorkerPlugin):
    """Gives every worker, those that come later too, what a run would have put into the store: code and inputs."""

    def __init__(self, run_id: RunId, files: Mapping[str, bytes]) -> None:
        self._run_id, self._files = run_id, files

    def setup(self, worker: Worker) -> None:
        if self._run_id in _kits:  # another worker of the same process has it
            return
        folder = tempfile.TemporaryDirectory(prefix="tensorlake-nb-kit-", dir=worker.local_directory)
        _kits[self._run_id] = folder
        for path, data in self._files.items():
            at = Path(folder.name, path)
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_bytes(data)

    def teardown(self, worker: Worker) -> None:
        folder = _kits.pop(self._run_id, None)
        if folder is not None:
            folder.cleanup()


_kits: dict[RunId, tempfile.TemporaryDirectory[str]] = {}


def check(asked: Check) -> Finding:
    """Compute an element again and compare; what Dask runs."""
    worker = current_worker()
    local = None if worker is None else worker.local_directory
    with tempfile.TemporaryDirectory(prefix="tensorlake-nb-check-", dir=local) as folder:
        store = aside(
            aside(store_at(asked.store_url, asked.trusted, asked.run_id), Path(_kits[asked.run_id].name)), Path(folder)
        )
        for key, data in asked.state.items():
            store.put_state(asked.run_id, key, data)
        (receipt,) = execute(asked, reporter(worker, asked.run_id), host_of(worker), store)
        return _found(asked, receipt, store)


def _found(asked: Check, receipt: Receipt, store: Store) -> Finding:
    if receipt.failures:
        failure = receipt.failures[0]
        return Finding("failed", asked.position, failure.input_repr, failure.error)
    if receipt.done < asked.size:
        return Finding("unknown", asked.position)
    now = _outputs(asked, receipt)
    if (now.count, now.digests, now.targets) == (asked.kept.count, asked.kept.digests, asked.kept.targets):
        return Finding("equal", asked.position)
    (call,) = asked.calls
    with secrets.shown(asked.run_id, call.secrets) as shown:
        given, what = _words(asked, now, store)
        return Finding("different", asked.position, secrets.without(given, shown), secrets.without(what, shown))


def _outputs(asked: Check, receipt: Receipt) -> CheckedOutputs:
    """All pieces of a receipt as the outputs of its only element."""
    pieces = receipt.pieces
    counts = [int(count) for piece in pieces for count in np.frombuffer(piece.counts, dtype=np.int32)]
    is_bare = asked.fold is not None or counts == [BARE]
    targets: Targets | None = None
    if asked.calls[0].routes is not None:
        targets = tuple(
            tuple(sorted(target for target, mask in (piece.routes or {}).items() if mask[i]))
            for piece in pieces
            for i in range(piece.n_out)
        )
    return CheckedOutputs(
        BARE if is_bare else sum(counts),
        sp.joined(span for piece in pieces for span in piece.spans),
        b"".join(piece.digests for piece in pieces),
        targets,
    )


def _words(asked: Check, now: CheckedOutputs, store: Store) -> tuple[str, str]:
    """What the element was given, and what differs in what it gave."""
    loaded = load_function(asked.calls[0], store)
    return _given(asked, loaded, store), _difference(asked.kept, now, loaded, store)


def _given(asked: Check, loaded: Loaded, store: Store) -> str:
    if not asked.size:
        return ""
    inputs = Inputs(asked.columns, store, loaded.resolver, loaded.binder, asked.calls[0].input_encoder)
    try:
        value = inputs.value(inputs.size - 1)
    except (StoreError, UsageError) as error:
        return f"(it can't be read: {error_text(error)})"
    if inputs.is_named and isinstance(value, dict):
        return ", ".join(f"{name}={short_repr(each)}" for name, each in value.items())
    return short_repr(value)


def _difference(before: CheckedOutputs, now: CheckedOutputs, loaded: Loaded, store: Store) -> str:
    if before.count != now.count:
        return f"{_count_words(now.count)}; before {_count_words(before.count)}"
    if before.digests == now.digests:
        old, new = (targets or () for targets in (before.targets, now.targets))
        place = next(i for i, (was, goes) in enumerate(zip(old, new, strict=True)) if was != goes)
        return f"it goes to {_names(new[place])}; before to {_names(old[place])}"
    each = zip(one_by_one(before.digests), one_by_one(now.digests), strict=True)
    place = next(i for i, (was, is_now) in enumerate(each) if was != is_now)
    try:
        ((old_value,), (new_value,)) = (
            store.read(sp.cut(outputs.spans, place, place + 1), loaded.resolver) for outputs in (before, now)
        )
    except (StoreError, UsageError) as error:
        return f"it can't be shown: {error_text(error)}"
    where = "" if now.count == BARE else f"output {place}: "
    return where + differing(old_value, new_value)


def _count_words(count: int) -> str:
    return "one value" if count == BARE else f"a list of {count}"


def _names(targets: tuple[str, ...]) -> str:
    return ", ".join(map(repr, targets)) or "nobody"
