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

from distributed import Worker, WorkerPlugin

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import BARE, Batch
from tensorlake_nb.core.batches.output_columns import NO_OUTPUTS, OutputColumns, Targets, concat
from tensorlake_nb.core.batches.receipt import Receipt
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


@dataclass(frozen=True, slots=True)
class Check(Batch):
    """A batch of one element (of a fold: of the elements between two kept accumulators), and what it gave before.

    Attributes
    ----------
    position
        Where the element is in its node's input stream.
    kept
        The stored outputs.
    state
        The request state that the run would have when it comes to this node.
    """

    position: int = 0
    kept: OutputColumns = field(default_factory=lambda: NO_OUTPUTS)
    state: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

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
    (call,) = asked.calls
    now = concat([piece.outputs for piece in receipt.pieces]).spelled(call.routes)
    if len(receipt.pieces) > 1:  # of a generator
        now = now.as_list()
    if now.equals(asked.kept):
        return Finding("equal", asked.position)
    with secrets.shown(asked.run_id, call.secrets) as shown:
        given, what = _words(asked, now, store)
        return Finding("different", asked.position, secrets.without(given, shown), secrets.without(what, shown))


def _words(asked: Check, now: OutputColumns, store: Store) -> tuple[str, str]:
    """Describe the element's input, and the difference in its output."""
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


def _difference(before: OutputColumns, now: OutputColumns, loaded: Loaded, store: Store) -> str:
    (old_count,), (count,) = before.each_count.tolist(), now.each_count.tolist()
    if old_count != count:
        return f"{_count_words(count)}; before {_count_words(old_count)}"
    if before.digests == now.digests:
        old, new = (outputs.all_routes.each() for outputs in (before, now))
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
    where = "" if count == BARE else f"output {place}: "
    return where + differing(old_value, new_value)


def _count_words(count: int) -> str:
    return "one value" if count == BARE else f"a list of {count}"


def _names(targets: Targets | None) -> str:
    return ", ".join(map(repr, targets or ())) or "nobody"
