"""The elements of a batch at one node: which are settled, what becomes of the others, and the receipt for all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tensorlake_nb.core.batches.batch import BARE, Batch, Call, Column, Failure, FailureKind
from tensorlake_nb.core.batches.outputs import OutputColumns, Routes
from tensorlake_nb.core.batches.receipt import Piece, Receipt
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, TaskKey, one_by_one, task_keys
from tensorlake_nb.core.streams.uncacheable_keys import item_place
from tensorlake_nb.engine.calls.caller import Caller, Host, Make, Returned
from tensorlake_nb.engine.calls.cancellation import cancelled
from tensorlake_nb.engine.calls.context import Effects, holds_for, identity, note_of_told
from tensorlake_nb.engine.calls.failure_text import error_text, failure_of
from tensorlake_nb.engine.calls.loaded import Loaded, index_of, load_function
from tensorlake_nb.engine.calls.reporting import Report
from tensorlake_nb.engine.desk.lookup import is_usable
from tensorlake_nb.engine.process.watchdog import rest_alarm
from tensorlake_nb.engine.worker.inputs import Arguments, Inputs
from tensorlake_nb.engine.worker.parts import PART_BYTES, PART_OUTPUTS, Parts
from tensorlake_nb.engine.worker.returns import Returns
from tensorlake_nb.errors import DAMAGED, CheckpointNotFoundError, CorruptCheckpointError, StoreError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.outcomes import Entry, TaskOutcome, outputs_of
from tensorlake_nb.store.writing.writer import Writer


class NodeWork:
    """One node's share of a batch, under way.

    Attributes
    ----------
    loaded
        The node's function; ``None`` if it or what it is given can't come to life here: every element has failed.
    given_digests
        The elements' input digests end to end.
    keys
        One task key per element.
    noted_by
        The writer whose spool says what was begun: that of the first node of a chain.
    """

    def __init__(self, batch: Batch, call: Call, position: int, store: Store, report: Report, host: Host) -> None:
        self.batch, self.call, self.store, self.report, self.host = batch, call, store, report, host
        self.started_at = time.time()
        self._began = time.monotonic()
        self.size = batch.size
        self.failures: dict[int, Failure] = {}
        self.computed: set[int] = set()
        self._found: dict[int, TaskOutcome] = {}
        self.effects: dict[int, list[bytes]] = {}
        self.pieces: list[Piece] | None = None
        self.done: int | None = None
        #: Of a fold, as in its receipt.
        self.worth_s = self.keeping_s = 0.0
        self._closed = False
        self._identity = identity(batch.run_id, batch.graph, batch.graph_version)
        self.given_digests, unreadable = self._given_digests()
        self.keys = [TaskKey(key) for key in one_by_one(task_keys(call.fingerprint, self.given_digests))]
        name = batch.segment + (f"-{position}" if position else "")
        self.loaded = self._load() if unreadable is None else None
        if unreadable is not None:
            self.failures = {offset: Failure(offset, FailureKind.DAMAGE, unreadable, "") for offset in range(self.size)}
        # Further along a chain the only element is committed as soon as it is there; the first spool says it was begun.
        self.writer: Writer = store.writer(call.fingerprint, name, spooled=position == 0, renews=call.fresh)
        self.noted_by = self.writer
        if self.loaded is None:
            return
        self.resolver = self.loaded.resolver
        self.caller = Caller(batch, call, self.loaded, store, report, host, self.writer.flush)
        self.inputs = Inputs(batch.columns, store, self.resolver, self.loaded.binder, call.input_encoder)
        self.returns = Returns(call, self.resolver)
        self._passes_by = call.kind == "router" and self.inputs.by_reference
        self.known = self.writer.known()

    def _given_digests(self) -> tuple[bytes, str | None]:
        """The elements' digests; if they can't be had, as many zeros, and why."""
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
                self.failures[offset] = failure_of(offset, error, None)
            return None

    # -- what is settled already --

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

    def settle_known(self) -> None:
        """Settle what needs no call."""
        for offset, outcome in self.look_up(self.keys):
            if not is_usable(outcome, self.call, self._passes_by):
                continue
            self.settle(offset, outcome)

    def settle(self, offset: int, outcome: TaskOutcome) -> None:
        """An element is settled from a checkpoint."""
        self._found[offset] = outcome
        self.note_effects(offset, outcome)

    def note_effects(self, offset: int, outcome: TaskOutcome) -> None:
        """Do again what a replayed call did beside returning."""
        if outcome.effects is not None:
            self.effects.setdefault(offset, []).append(outcome.effects)
            if outcome.key not in self.known:  # else it was this run's own call
                Effects.unpacked(outcome.effects).apply_state(self.store, self.batch.run_id)

    # -- how far it goes --

    def unsettled(self) -> Iterator[int]:
        """Elements to compute, one after the other, until the batch has to stop; equal ones only once."""
        began_any = False
        for offset in self.turns():
            if (began_any and self.is_over_budget()) or self.must_stop():
                return
            began_any = True
            if self.noted_by is not self.writer:
                self.noted_by.begin(self.keys[offset])
            yield offset

    def turns(self) -> list[int]:
        """All elements to compute, in order; equal ones only once."""
        first: dict[TaskKey, int] = {}
        for offset, key in enumerate(self.keys):
            if offset not in self._found:
                first.setdefault(key, offset)
        return list(first.values())

    def is_over_budget(self) -> bool:
        """True once the batch has had its time, or its worker is taken away: it begins nothing more."""
        return time.monotonic() - self._began >= self.batch.budget_s or self.host.is_leaving()

    def must_stop(self) -> bool:
        """Whether nothing more may be begun: the run was cancelled, or ends with a failure met already."""
        return cancelled(self.batch.run_id) or any(map(self._ends_run, self.failures.values()))

    def _ends_run(self, failure: Failure) -> bool:
        if failure.kind in (FailureKind.REQUEST, FailureKind.DAMAGE):
            return failure.kind is FailureKind.REQUEST
        return self.batch.stop_on_failure and (self.batch.final or not failure.kind.retryable)

    # -- one element --

    def given(
        self, offset: int, place: int | None = None, *, binds: bool = True
    ) -> tuple[Any, Arguments | None, Failure | None]:
        """An element's value and its arguments, or why there are none.

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

    def take(self, offset: int, value: Any, outcome: Returned | Failure | None) -> None:
        """Keep what became of an element."""
        if outcome is None:
            return
        if isinstance(outcome, Returned):
            try:
                entry = self._entry(offset, outcome.value)
            except Exception as error:
                outcome = self.caller.failure(offset, value, error)
            else:
                self.add(offset, entry, outcome)
                return
        self.fail(offset, outcome)

    def fail(self, offset: int, failure: Failure) -> None:
        """An element has failed."""
        self.failures[offset] = failure
        self.writer.end(self.keys[offset])

    def _entry(self, offset: int, returned: Any) -> Entry:
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
        if self._passes_by:
            return Entry(key, 0, (), passes=chosen)
        # The call may have changed its input in place: what travels on is read afresh.
        travelling = self.inputs.travelling(self.inputs.value(offset))
        return Entry(key, BARE, (self.returns.encoded(travelling),), Routes.of([chosen]))

    def add(self, offset: int, entry: Entry, returned: Returned, *, settles: bool = True) -> None:
        """Give a call's outputs to the writer, which keeps them safe; ``settles``: they are the element's."""
        self.writer.add(replace(entry, effects=returned.effects, duration_s=returned.duration_s))
        if settles:
            self.computed.add(offset)
        if returned.effects is not None:
            self.effects.setdefault(offset, []).append(returned.effects)
        is_at_risk = not self.store.is_local and self.writer.at_risk_s >= self.batch.checkpoint_interval_s
        if is_at_risk or self.writer.pending_bytes >= PART_BYTES:
            rest_alarm()
            self.writer.flush()

    # -- the end --

    def only_output(self) -> tuple[Digest, bytes, Column] | None:
        """The output that the next node of a chain goes on with, and its place: the only one, and not routed."""
        if self.failures or self.size != 1 or not (self.computed or self._found):
            return None
        self.writer.flush()
        outputs = self.outcome(0).outputs
        if outputs.n_out != 1 or outputs.routes is not None or self.call.kind != "function":
            return None
        place = self.batch.place
        if place and outputs.counts is not None:
            place = item_place(place, 0)
        return Digest(outputs.digests), place, Column(outputs.spans)

    def outcome(self, offset: int) -> TaskOutcome:
        """Where a settled element's outputs lie, once they are committed."""
        found = self._found.get(offset)
        return found if found is not None else self.writer.locate(self.keys[offset])

    @property
    def was_reached(self) -> bool:
        """Whether anything became of any element."""
        return bool(self._found or self.computed or self.failures or self.pieces)

    def receipt(self) -> Receipt:
        """Commit everything, and say where it is."""
        self.writer.flush()
        if self.pieces is None:
            self._copy_to_twins()
            self.done = self._how_many_done()
            self.pieces = list(self._pieces(self.done))
        assert self.done is not None
        effects = [packed for offset in sorted(self.effects) if offset < self.done for packed in self.effects[offset]]
        summed = Effects()
        for packed in effects:
            summed.add(Effects.unpacked(packed))
        return Receipt(
            batch=self.batch.name,
            node=self.call.node,
            done=self.done,
            pieces=tuple(self.pieces),
            failures=tuple(self.failures[offset] for offset in sorted(self.failures) if offset < max(self.done, 1)),
            seconds=self.caller.seconds if self.loaded is not None else 0.0,
            timers=summed.timers,
            counters=summed.counters,
            effects=tuple(effects),
            logs=self.caller.log.lines() if self.loaded is not None else (),
            notes=(*self.returns.notes, *self.caller.notes, *([note_of_told(summed.told)] if summed.told else []))
            if self.loaded
            else (),
            worker=self.host.address,
            started_at=self.started_at,
            ended_at=time.time(),
            worth_s=self.worth_s,
            keeping_s=self.keeping_s,
        )

    def _copy_to_twins(self) -> None:
        """Elements that are equal are one task: what became of the first becomes of all."""
        first: dict[TaskKey, int] = {}
        for offset, key in enumerate(self.keys):
            if offset in self._found:
                continue
            origin = first.setdefault(key, offset)
            if origin == offset:
                continue
            if origin in self.computed:
                self._found[offset] = self.writer.locate(key)
            elif origin in self.failures:
                failure = self.failures[origin]
                self.failures[offset] = Failure(
                    offset, failure.kind, failure.error, failure.input_repr, failure.traceback_text
                )

    def _how_many_done(self) -> int:
        for offset in range(self.size):
            if not (offset in self._found or offset in self.computed or offset in self.failures):
                return offset
        return self.size

    def _pieces(self, done: int) -> Iterator[Piece]:
        start = 0
        while start < done:
            if start in self.failures:
                start += 1
                continue
            stop = start
            while stop < done and stop not in self.failures:
                stop += 1
            yield self._piece(start, stop)
            start = stop

    def _piece(self, start: int, stop: int) -> Piece:
        if not self._passes_by and not self._found:
            block = self.writer.locate_block(self.keys[start:stop])
            if block is not None:
                return Piece(start, stop, block, computed=stop - start)
        passed = None
        if self._passes_by:
            digests = self.given_digests[start * DIGEST_SIZE : stop * DIGEST_SIZE]
            passed = OutputColumns(None, self.inputs.spans(start, stop), digests)
        outputs = outputs_of([self.outcome(offset) for offset in range(start, stop)], passed)
        # What this batch had kept before its worker died was computed by this run too.
        computed = sum(offset in self.computed or self.keys[offset] in self.known for offset in range(start, stop))
        return Piece(start, stop, outputs, computed, stop - start - computed)

    def close(self) -> None:
        """Let go of the writer; what was added is safe as far as the store allows."""
        if not self._closed:
            self._closed = True
            if self.loaded is not None:
                self.caller.close()
            self.writer.close()


def compute_in_turn(work: NodeWork) -> None:
    """Call a plain function for one element after the other."""
    work.settle_known()
    work.writer.begin_in_turn([work.keys[offset] for offset in work.turns()])
    for offset in work.unsettled():
        value, arguments, failure = work.given(offset)
        if arguments is None:
            assert failure is not None
            work.fail(offset, failure)
            continue
        work.take(offset, value, work.caller.call(offset, value, _made_with(arguments)))


def _made_with(arguments: Arguments) -> Make:
    args, kwargs = arguments
    return lambda target, lead: target(*lead, *args, **kwargs)
