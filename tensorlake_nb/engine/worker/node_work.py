"""One node's share of a batch: its function loaded, its outputs committed, its receipt written.

Between loading and the receipt stands one of four ways to make calls: one after the other (`settling.py`), several at
once (`async_calls.py`), as a fold (`folding.py`) or a generator (`emitting.py`). Each hands back what it `Did`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from tensorlake_nb.core.batches.batch import BARE, Batch, Call, Column, Failure, FailureKind
from tensorlake_nb.core.batches.output_columns import Routes
from tensorlake_nb.core.batches.receipt import Piece, Receipt
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, TaskKey, one_by_one, task_keys
from tensorlake_nb.core.streams.uncacheable_keys import item_place
from tensorlake_nb.engine.calls.caller import Caller, Host, Returned
from tensorlake_nb.engine.calls.cancellation import cancelled
from tensorlake_nb.engine.calls.context import Effects, holds_for, identity, note_of_told
from tensorlake_nb.engine.calls.failure_text import error_text, failure_of
from tensorlake_nb.engine.calls.loaded import Loaded, index_of, load_function
from tensorlake_nb.engine.calls.reporting import Report
from tensorlake_nb.engine.process.watchdog import rest_alarm
from tensorlake_nb.engine.worker.inputs import Arguments, Inputs
from tensorlake_nb.engine.worker.parts import PART_BYTES, PART_OUTPUTS, Parts
from tensorlake_nb.engine.worker.returns import Returns
from tensorlake_nb.errors import DAMAGED, CheckpointNotFoundError, CorruptCheckpointError, StoreError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.outcomes import Entry, TaskOutcome
from tensorlake_nb.store.writing.writer import Writer


@dataclass(frozen=True, slots=True)
class Did:
    """The part of a batch's receipt about its elements at one node.

    Attributes
    ----------
    done
        How many elements have ended, from the front.
    pieces
        Where the outputs lie.
    failures
        By element, among them those after which nothing more was begun.
    effects
        By element, what its calls did beside returning.
    worth_s, keeping_s
        Of a fold, as in its receipt.
    """

    done: int
    pieces: Sequence[Piece] = ()
    failures: Mapping[int, Failure] = field(default_factory=dict)
    effects: Mapping[int, Sequence[bytes]] = field(default_factory=dict)
    worth_s: float = 0.0
    keeping_s: float = 0.0

    @property
    def is_anything(self) -> bool:
        """True if anything became of any element."""
        return bool(self.pieces or self.failures)


class NodeWork:
    """One node's share of a batch: what its elements are called with, and where what they give is kept.

    Attributes
    ----------
    loaded
        The node's function; ``None`` if it or what it is given can't come to life here.
    refused
        By element why; empty if the function is loaded.
    given_digests
        The elements' input digests end to end.
    keys
        One task key per element.
    known
        The outputs that this batch committed earlier, on a worker that was lost.
    passes_by
        True of a router whose inputs travel on as they lie.
    """

    def __init__(
        self,
        batch: Batch,
        call: Call,
        position: int,
        store: Store,
        report: Report,
        host: Host,
        noted_by: Writer | None = None,
    ) -> None:
        self.batch, self.call, self.store, self.report, self.host = batch, call, store, report, host
        self.started_at = time.time()
        self._began = time.monotonic()
        self.size = batch.size
        self._identity = identity(batch.run_id, batch.graph, batch.graph_version)
        self.given_digests, unreadable = self._given_digests()
        self.keys = [TaskKey(key) for key in one_by_one(task_keys(call.fingerprint, self.given_digests))]
        name = batch.segment + (f"-{position}" if position else "")
        self.refused: dict[int, Failure] = {}
        self.loaded = self._load() if unreadable is None else None
        if unreadable is not None:
            self.refused = {offset: Failure(offset, FailureKind.DAMAGE, unreadable, "") for offset in range(self.size)}
        # Further along a chain the only element is committed as soon as it is there; the first spool says it was begun.
        self.writer: Writer = store.writer(call.fingerprint, name, spooled=position == 0, renews=call.fresh)
        self._noted_by = noted_by
        if self.loaded is None:
            return
        self.resolver = self.loaded.resolver
        self.caller = Caller(batch, call, self.loaded, store, report, host, self.writer.flush)
        self.inputs = Inputs(batch.columns, store, self.resolver, self.loaded.binder, call.input_encoder)
        self.returns = Returns(call, self.resolver)
        self.passes_by = call.kind == "router" and self.inputs.by_reference
        self.known = self.writer.known()

    # -- load --

    def _given_digests(self) -> tuple[bytes, str | None]:
        """Return the elements' digests; if they can't be had, as many zeros, and why."""
        if self.batch.given or not self.size:
            return self.batch.given, None
        (column,) = self.batch.columns
        try:
            return self.store.digests(column.spans), None
        except DAMAGED as error:
            return bytes(DIGEST_SIZE * self.size), error_text(error)

    def _load(self) -> Loaded | None:
        try:
            return load_function(self.call, self.store)
        except StoreError:
            raise
        except Exception as error:  # a batch that ends in an error of the notebook's own code would be given out again
            for offset in range(self.size or 1):
                self.refused[offset] = failure_of(offset, error, None)
            return None

    # -- look up --

    def look_up(self, keys: Iterable[TaskKey]) -> Iterator[tuple[int, TaskOutcome]]:
        """Those of some keys that are settled, by position: by this batch before, or in the store."""
        wanted = list(keys)
        for position, key in enumerate(wanted):
            if key in self.known:
                yield position, self.known[key]
        if self.call.cold or not wanted:
            return
        index = index_of(self.batch.run_id, self.call.fingerprint, self.store, fresh=self.call.fresh)
        if index.empty:
            return
        for position, place in enumerate(index.find(b"".join(wanted)).tolist()):
            if place >= 0 and wanted[position] not in self.known:
                try:
                    outcome = index.outcome(place)
                except (CheckpointNotFoundError, CorruptCheckpointError):
                    continue  # gone, or damaged and reported: computed again
                if holds_for(outcome.effects, self._identity):
                    yield position, outcome

    def last_known(self, keys: Sequence[TaskKey]) -> Iterator[tuple[int, TaskOutcome]]:
        """Those of some keys that are settled, the last first, each looked at only when it is asked for."""
        index = None
        if not self.call.cold and keys:
            index = index_of(self.batch.run_id, self.call.fingerprint, self.store, fresh=self.call.fresh)
        places = [] if index is None or index.empty else index.find(b"".join(keys)).tolist()
        for position in reversed(range(len(keys))):
            if keys[position] in self.known:
                yield position, self.known[keys[position]]
            elif places and places[position] >= 0 and index is not None:
                with suppress(CheckpointNotFoundError, CorruptCheckpointError):  # gone, or damaged and reported
                    outcome = index.outcome(places[position])
                    if holds_for(outcome.effects, self._identity):
                        yield position, outcome

    def do_again(self, outcome: TaskOutcome) -> None:
        """Do again what a replayed call did beside returning."""
        if outcome.effects is not None and outcome.key not in self.known:  # else it was this run's own call
            Effects.unpacked(outcome.effects).apply_state(self.store, self.batch.run_id)

    # -- call --

    @property
    def is_over_budget(self) -> bool:
        """True once the batch has had its time, or its worker is taken away: it begins nothing more."""
        return time.monotonic() - self._began >= self.batch.budget_s or self.host.is_leaving()

    @property
    def is_cancelled(self) -> bool:
        """True once the run was cancelled."""
        return cancelled(self.batch.run_id)

    def ends_run(self, failure: Failure) -> bool:
        """Tell whether the run ends with a failure, so that nothing more is to be begun."""
        if failure.kind in (FailureKind.REQUEST, FailureKind.DAMAGE):
            return failure.kind is FailureKind.REQUEST
        return self.batch.stop_on_failure and (self.batch.final or not failure.kind.retryable)

    def note_begun(self, offset: int) -> None:
        """Note an element that is about to be called where the first node of its chain notes its own."""
        if self._noted_by is not None:
            self._noted_by.begin(self.keys[offset])

    def given(
        self, offset: int, place: int | None = None, *, binds: bool = True
    ) -> tuple[Any, Arguments | None, Failure | None]:
        """Return an element's value and its arguments, or the reason why there are none.

        Parameters
        ----------
        place
            Where in the column it is, if elsewhere.
        binds
            Without it there are no arguments: what is merged is no argument of the function.
        """
        value: Any = None
        at = offset if place is None else place
        try:
            if not self.inputs.holds(at):
                rest_alarm()
            value = self.inputs.value(at)
            return value, self.inputs.arguments(value) if binds else ((), {}), None
        except DAMAGED as error:
            return None, None, Failure(offset, FailureKind.DAMAGE, error_text(error), "")
        except StoreError:
            raise
        except Exception as error:  # it doesn't fit, or its class's own code raised when it was read
            return value, None, self.caller.failure(offset, value, error)

    # -- encode --

    def encoded(self, offset: int, returned: Any) -> Entry:
        """Encode what an element's call returned; the parts of a long list are committed as they fill."""
        key = self.keys[offset]
        if self.call.kind != "router":
            targets, value = self.returns.unwrapped(returned)
            if not isinstance(value, list) or len(value) <= PART_OUTPUTS:
                return self.returns.prepare(key, returned)
            parts = Parts(key, self.writer, self.returns)
            for item in value:
                parts.add(self.returns.item(item, targets))
                if parts.is_full:
                    parts.commit()
            return parts.whole()
        chosen = self.returns.chosen(returned)
        if self.passes_by:
            return Entry(key, 0, (), passes=chosen)
        # The call may have changed its input in place: what travels on is read afresh.
        travelling = self.inputs.travelling(self.inputs.value(offset))
        return Entry(key, BARE, (self.returns.encoded(travelling),), Routes.of([chosen]))

    # -- commit --

    def add(self, entry: Entry, returned: Returned) -> None:
        """Give a call's outputs to the writer, which keeps them safe."""
        self.writer.add(replace(entry, effects=returned.effects, duration_s=returned.duration_s))
        is_at_risk = not self.store.is_local and self.writer.at_risk_s >= self.batch.checkpoint_interval_s
        if is_at_risk or self.writer.pending_bytes >= PART_BYTES:
            rest_alarm()
            self.writer.flush()

    # -- receipt --

    def only_output(self, did: Did) -> tuple[Digest, bytes, Column] | None:
        """Return the output for the next node of a chain, and its place: the only one, and not routed."""
        if did.failures or self.size != 1 or len(did.pieces) != 1 or self.call.kind != "function":
            return None
        outputs = did.pieces[0].outputs
        if outputs.n_out != 1 or outputs.routes is not None:
            return None
        place = self.batch.place
        if place and outputs.counts is not None:
            place = item_place(place, 0)
        return Digest(outputs.digests), place, Column(outputs.spans)

    def receipt(self, did: Did) -> Receipt:
        """Say what was done, all of which is committed, and what else there is to know of the calls."""
        effects = [packed for offset in sorted(did.effects) if offset < did.done for packed in did.effects[offset]]
        summed = Effects.summed(effects)
        notes: tuple[str, ...] = ()
        if self.loaded is not None:
            notes = (*self.returns.notes, *self.caller.notes, *([note_of_told(summed.told)] if summed.told else []))
        return Receipt(
            batch=self.batch.name,
            node=self.call.node,
            done=did.done,
            pieces=tuple(did.pieces),
            failures=tuple(did.failures[offset] for offset in sorted(did.failures) if offset < max(did.done, 1)),
            seconds=self.caller.seconds if self.loaded is not None else 0.0,
            timers=summed.timers,
            counters=summed.counters,
            effects=tuple(effects),
            logs=self.caller.log.lines() if self.loaded is not None else (),
            notes=notes,
            worker=self.host.address,
            started_at=self.started_at,
            ended_at=time.time(),
            worth_s=did.worth_s,
            keeping_s=did.keeping_s,
        )

    def close(self) -> None:
        """Let go of the writer; what was added is safe as far as the store allows."""
        if self.loaded is not None:
            self.caller.close()
        self.writer.close()
