"""The store side of the planner's instructions: look up, form rows, make batches, settle receipts, seal streams.

All of it runs on one thread of its own, away from the driver's loop, so the tables here need no lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tensorlake_nb.core import spans as sp
from tensorlake_nb.core.batch import BARE, Batch, Call, Failure, Fold, Piece, Receipt, Span
from tensorlake_nb.core.events import (
    BatchEnded,
    BatchHeld,
    BatchLost,
    Chunk,
    ElementFailed,
    Event,
    Gathered,
    NodeOutcome,
    PartArrived,
    Sealed,
)
from tensorlake_nb.core.gathering import group, join
from tensorlake_nb.core.instructions import Gather, Probe, Seal, Submit
from tensorlake_nb.core.keys import (
    DIGEST_SIZE,
    Digest,
    RunId,
    TaskKey,
    fold_next,
    fold_start,
    one_by_one,
    stream_digest,
    task_key,
)
from tensorlake_nb.core.node_state import NodeState
from tensorlake_nb.core.plan import Plan
from tensorlake_nb.core.slices import Address, Slice, take
from tensorlake_nb.core.streams import ChunkData, Streams, from_piece, split
from tensorlake_nb.core.whole import targets_of, whole_counts, whole_routes
from tensorlake_nb.engine.backend import Lost
from tensorlake_nb.engine.claiming import Claimant
from tensorlake_nb.engine.failures import short_repr
from tensorlake_nb.engine.node_work import DAMAGED
from tensorlake_nb.engine.probing import Prober, chunk_of, stream_given
from tensorlake_nb.engine.sharing import Sharing
from tensorlake_nb.errors import JoinError, RunError
from tensorlake_nb.store.checkpoints import Store
from tensorlake_nb.store.classes import ClassResolver
from tensorlake_nb.store.entry import TaskOutcome
from tensorlake_nb.store.streams import StreamRecord

#: How often a batch may be lost at nobody's cost: before any of its elements was begun, or blamelessly.
_MOST_WAITS = 3

#: A fold emits one output, at this address.
EMITTED: Address = (0,)


class Desk:
    """Everything about one run that needs the store or the digests.

    Parameters
    ----------
    calls
        Per node of the plan how a worker is to call it, with its fingerprint.
    inputs, inputs_digest
        Where the run's inputs lie.
    life
        Ends the names of batches. A run that is gone on with may not know the last numbers that it gave before its
        kernel died, and must not take what is left of those batches, or is still under way, for its own.
    keeps
        Whether the store may be written to; without, this is only a look at what a run would find.
    sharing
        How the run meets others on the same store; ``None``: it takes no notice of them.
    """

    def __init__(
        self,
        plan: Plan,
        calls: Mapping[str, Call],
        store: Store,
        run_id: RunId,
        inputs: Span,
        inputs_digest: Digest,
        resolver: ClassResolver,
        checkpoint_interval_s: float,
        store_patience_s: float = 0.0,
        *,
        keeps: bool = True,
        sharing: Sharing | None = None,
        life: str = "",
    ) -> None:
        self._life = life
        self._plan, self._calls, self._store, self.run_id = plan, calls, store, run_id
        self._resolver, self._keeps = resolver, keeps
        self._interval_s, self._patience_s = checkpoint_interval_s, store_patience_s
        self._inputs = inputs
        self.streams = Streams(plan, inputs, inputs_digest)
        self._submitted: dict[int, tuple[Submit, Batch]] = {}
        self._claimant = Claimant(plan, calls, self.streams, store, sharing, self._submitted)
        self._prober = Prober(plan, calls, self.streams, store, run_id, self._claimant, keeps=keeps)
        self._rolling = {name: fold_start() for name in plan.nodes}
        self._waited: Counter[tuple[str, Address]] = Counter()

    def check_inputs(self) -> None:
        """Look whether the run's inputs can still be read: nothing computes them again.

        Raises
        ------
        RunError
            They can't.
        """
        try:
            self._store.read((self._inputs,), self._resolver)
        except DAMAGED as error:
            raise RunError(
                f"the inputs of run {self.run_id} can't be read from the store any more: {error}. Give them again, "
                "in a new run: it replays what is finished."
            ) from error

    def probe(self, order: Probe) -> Event:
        """Find out which elements, or whether the whole stream, are settled already."""
        if order.slices:
            return self._prober.elements(order.node, order.slices)
        return self._prober.whole(order.node)

    def gather(self, order: Gather) -> Event:
        """Form the rows of a join, or groups of neighbours."""
        joins = self._plan.nodes[order.node].gather == "join"
        try:
            rows = join(self.streams, order.node) if joins else group(self.streams, order.node, order.slices)
        except JoinError as error:
            return Gathered(order.node, 0, 0, str(error))
        number, n_rows = self.streams.add_rows(order.node, rows)
        return Gathered(order.node, number, n_rows)

    def effects(self, name: str) -> list[bytes]:
        """What the calls of a node that are settled did beside returning."""
        return self._prober.packed(name)

    # -- batches --

    def batch(self, order: Submit) -> Batch:
        """The batch that an instruction asks for."""
        name = order.node
        node = self._plan.nodes[name]
        fold = None
        if node.kind == "fold":
            fold = Fold(order.accumulator, self._rolling[name], node.combines)
        elif node.gather == "group":
            fold = Fold(None, fold_start(), node.combines, self.streams.group_sizes(name, order.slices))
        emitted = self.streams.parts(name, order.slices[0]) if node.lone else []
        calls = tuple(map(self._claimant.call, (name, *order.chain)))
        if any(map(self._claimant.shares, calls)):
            calls = calls[:1]  # each step is claimed by itself
        batch = Batch(
            run_id=self.run_id,
            graph=self._plan.graph,
            name=f"{name}-{order.number}{self._life}",
            store_url=self._store.url,
            calls=calls,
            columns=self.streams.columns(name, order.slices) if order.slices else (),
            given=self.streams.given(name, order.slices),
            attempt=order.attempt,
            fold=fold,
            budget_s=order.budget_s,
            stop_on_failure=self._plan.stops_on_failure,
            final=order.final,
            emitted=b"".join(part.all_digests() for part in emitted),
            emitted_spans=sp.joined(span for part in emitted for span in part.spans),
            emitted_parts=len(emitted),
            checkpoint_interval_s=self._interval_s,
            store_patience_s=self._patience_s,
            trusted=self._store.trusted,
        )
        self._submitted[order.number] = (order, batch)
        is_plain = node.gather is None and len(batch.columns) == 1 and batch.columns[0].groups is None
        return batch.without_given() if is_plain and node.ports else batch

    # -- other runs --

    def claim(self, order: Submit, now: float) -> BatchHeld | None:
        """Claim a batch's tasks before it is handed over; an event instead, if other runs have claimed some."""
        return self._claimant.claim(order, now)

    def beat(self, *, is_idle: bool = False) -> None:
        """Tell other runs that this one is driven, and what it computes; or that it computes nothing."""
        self._claimant.beat(is_idle=is_idle)

    # -- receipts --

    def part(self, number: int, receipt: Receipt) -> Event | None:
        """Settle some items of a generator that is still running."""
        if number not in self._submitted:  # overtaken by its own receipt, or its worker was given up
            return None
        order, _ = self._submitted[number]
        (piece,) = receipt.pieces
        (where,) = order.slices
        known = self.streams.get(order.node, where.address(piece.part)) is not None
        if known or self._is_taken_whole(order.node):  # then it comes when it is complete
            return None
        chunk = self.streams.add(order.node, where.address(piece.part), from_piece(piece, where))
        return PartArrived(number, chunk, piece.part)

    def settle(self, number: int, receipts: Sequence[Receipt], at: float) -> Event:
        """Turn a batch's receipts into the event that says what it did."""
        order, batch = self._submitted.pop(number)
        first = receipts[0]
        if batch.fold is not None and batch.fold.groups is None:
            outcomes = [self._settle_fold(order, batch, first)]
        else:
            outcomes = [self._settle_map(order.node, order.slices, first)]
            for receipt in receipts[1:]:
                (chunk,) = outcomes[-1].chunks
                outcomes.append(self._settle_map(receipt.node, (Slice((0, *chunk.address), 0, 1),), receipt))
        size = sum(piece.size for piece in order.slices)
        return BatchEnded(
            number,
            tuple(outcomes),
            take(order.slices, first.done, size),
            first.done - len(first.failures),
            at,
            first.worker,
            first.started_at,
            first.ended_at,
        )

    def _settle_map(self, name: str, slices: tuple[Slice, ...], receipt: Receipt) -> NodeOutcome:
        chunks: list[Chunk] = []
        pieces = receipt.pieces
        if self._plan.nodes[name].lone and self._is_taken_whole(name):
            pieces = in_one(pieces)
        for piece in pieces:
            where = take(slices, piece.start, piece.stop)
            if self.streams.get(name, where[0].address(piece.part)) is not None:
                continue  # a generator's part that arrived before
            if piece.part:
                chunks.append(self.streams.add(name, where[0].address(piece.part), from_piece(piece, where[0])))
                continue
            for data in split(from_piece(piece, None), where):
                assert data.slice is not None
                chunks.append(self.streams.add(name, data.slice.address(), data))
        self._prober.happened(name, receipt.effects)
        failures = tuple(self._failure(name, slices, failure) for failure in receipt.failures)
        self._give_up(name, failures)
        return _outcome(name, tuple(chunks), failures, receipt)

    def _is_taken_whole(self, name: str) -> bool:
        """Whether a child is called with the lists that a node gives, which may come in parts from a generator."""
        children = self._plan.nodes[name].children
        return any(self._plan.nodes[child].ports[index].whole for child, index in children)

    def _settle_fold(self, order: Submit, batch: Batch, receipt: Receipt) -> NodeOutcome:
        self._prober.happened(order.node, receipt.effects)
        self._roll(order.node, batch.given, receipt.done - len(receipt.failures))
        chunks = tuple(
            Chunk((order.number,), piece.stop - piece.start, 1, 1, piece.spans, None, piece.computed, piece.replayed)
            for piece in receipt.pieces
        )
        failures = tuple(self._failure(order.node, order.slices, failure) for failure in receipt.failures)
        self._give_up_fold(order, failures)
        return _outcome(order.node, chunks, failures, receipt)

    def _roll(self, name: str, given: bytes, done: int) -> None:
        rolling = self._rolling[name]
        for i in range(done):
            rolling = fold_next(rolling, Digest(given[i * DIGEST_SIZE : (i + 1) * DIGEST_SIZE]))
        self._rolling[name] = rolling

    def _failure(self, name: str, slices: tuple[Slice, ...], failure: Failure) -> ElementFailed:
        (where,) = take(slices, failure.offset, failure.offset + 1)
        position = self.position(name, where)
        return ElementFailed(where, failure.kind, failure.error, failure.input_repr, failure.traceback_text, position)

    def _give_up(self, name: str, failures: Iterable[ElementFailed]) -> None:
        """Elements that have failed for good won't give anything to those that equal them: others may try."""
        node = self._plan.nodes[name]
        lost = [each.slice for each in failures if not node.tries_again(each.kind, each.slice.attempt)]
        for piece in lost:
            self._prober.failed(name, piece)
        self._claimant.failed(name, tuple(lost))

    def _give_up_fold(self, order: Submit, failures: Sequence[ElementFailed]) -> None:
        """A fold that has failed for good may be gone on with by others."""
        if any(not self._plan.nodes[order.node].tries_again(each.kind, order.attempt) for each in failures):
            self._claimant.failed(order.node, (failures[0].slice,))

    def position(self, name: str, where: Slice) -> int:
        """Where an element is in its node's input stream, as far as that is known now."""
        node = self._plan.nodes[name]
        if not node.ports or node.gather is not None:
            return where.start
        before = 0
        for index in range(len(node.ports)):
            for source, elements in self.streams.port_elements(name, index):
                if source == where.source:
                    return before + where.start
                before += elements.size
        return before + where.start

    # -- lost batches --

    def recover(self, lost: Lost, at: float, is_stopping: bool) -> Event:
        """Find out what a batch that won't come back had committed, and which element may have killed its worker.

        Nothing is suspected when the run ``is_stopping``: then the batch was withdrawn, or its worker ended, by us. Nor
        when the loss is blameless, unless that comes again and again.
        """
        order, batch = self._submitted.pop(lost.number)
        is_charged = not is_stopping and not (lost.is_blameless and self._waits_again(order))
        call, *chain = batch.calls
        for after in chain:  # what it has finished of these is found when they are asked for
            self._claimant.may_hold(after.node)
        writer = self._store.writer(call.fingerprint, segment_name(batch), resolver=self._resolver)
        known = writer.known()
        interrupted = set(writer.interrupted())
        writer.close()
        if batch.fold is not None and batch.fold.groups is None:
            return self._recover_fold(order, batch, known, bool(interrupted) and is_charged, lost, at)
        keys = [task_key(call.fingerprint, digest) for digest in one_by_one(batch.given)]
        chunks: list[Chunk] = []
        open_: list[int] = []
        for i, key in enumerate(keys):
            if key not in known:
                open_.append(i)
                continue
            (where,) = take(order.slices, i, i + 1)
            elements = self.streams.elements(order.node, where) if self._plan.nodes[order.node].gather is None else None
            data = chunk_of([known[key]], elements, call.routes)
            parts = self.streams.parts(order.node, where)
            if parts:  # a generator that came to its end: what it emitted after the last part that has arrived
                data = _without_first(data, sum(part.n_out for part in parts))
            data.slice, data.computed, data.replayed = where, 1, 0
            chunks.append(self.streams.add(order.node, where.address(len(parts)), data))
        culprits = self._culprits(order, open_, [i for i in open_ if keys[i] in interrupted]) if is_charged else []
        suspects = tuple(
            self._failure(
                order.node,
                order.slices,
                Failure(i, lost.kind, lost.reason, self._input_repr(order.node, order.slices, i)),
            )
            for i in culprits
        )
        if len(suspects) == 1:  # else each of them is tried by itself first
            self._give_up(order.node, suspects)
        left = [take(order.slices, i, i + 1)[0] for i in open_ if i not in set(culprits)]
        return BatchLost(lost.number, lost.reason, at, tuple(chunks), suspects, tuple(left))

    def _culprits(self, order: Submit, open_: list[int], begun: list[int]) -> list[int]:
        """The elements that may have ended their worker: those that it had begun.

        None was begun if the batch was only waiting at a worker that died of another one. But a worker may also die
        before it can say what it begins, so what waited too often is suspected after all.
        """
        if begun:
            return begun
        return [] if self._waits_again(order) else open_

    def _waits_again(self, order: Submit) -> bool:
        """Whether a batch may be lost once more at nobody's cost."""
        first = take(order.slices, 0, 1)[0].order if order.slices else ()
        self._waited[order.node, first] += 1
        return self._waited[order.node, first] <= _MOST_WAITS

    def _input_repr(self, name: str, slices: tuple[Slice, ...], offset: int) -> str:
        """A short form of what an element was given, if it can be read."""
        try:
            elements = self.streams.elements(name, take(slices, offset, offset + 1)[0])
            values = self._store.read(elements.spans, self._resolver)
        except Exception:  # what is said of a lost worker must not depend on what killed it
            return ""
        return short_repr(values[0] if elements.groups is None else values)

    def _recover_fold(
        self,
        order: Submit,
        batch: Batch,
        known: Mapping[TaskKey, TaskOutcome],
        was_folding: bool,
        lost: Lost,
        at: float,
    ) -> Event:
        rolling = self._rolling[order.node]
        done = 0
        spans: tuple[Span, ...] = ()
        for i in range(batch.size):
            rolling = fold_next(rolling, Digest(batch.given[i * DIGEST_SIZE : (i + 1) * DIGEST_SIZE]))
            outcome = known.get(task_key(batch.calls[0].fingerprint, rolling))
            if outcome is not None:
                done, spans = i + 1, outcome.spans
        self._roll(order.node, batch.given, done)
        chunks = (Chunk((order.number,), done, 1, 1, spans, None, done, 0),) if done else ()
        failures: tuple[ElementFailed, ...] = ()
        if was_folding and done < batch.size:
            failure = Failure(done, lost.kind, lost.reason, self._input_repr(order.node, order.slices, done))
            failures = (self._failure(order.node, order.slices, failure),)
            self._give_up_fold(order, failures)
        return BatchEnded(order.number, (NodeOutcome(order.node, chunks, failures),), (), done, at)

    # -- the end of a stream --

    def seal(self, order: Seal, node: NodeState) -> Event:
        """Record a finished stream, so that the next run finds it with one look-up."""
        name = order.node
        chunk = None
        if node.plan.kind == "fold":
            assert node.accumulator is not None
            spans = (node.accumulator,)
            counts = np.array([BARE], dtype=np.int32)
            data = ChunkData(None, counts, spans, self._store.digests(spans))
            chunk = self.streams.add(name, EMITTED, data)
        chunks = list(self.streams.chunks(name))
        counts = whole_counts(chunks)
        record = StreamRecord(
            spans=sp.joined(span for data in chunks for span in data.spans),
            n_tasks=node.folded if node.plan.kind == "fold" else len(counts),
            n_outputs=sum(data.n_out for data in chunks),
            counts=None if (counts == BARE).all() else counts.tobytes(),
            routes=targets_of(whole_routes(chunks), sum(data.n_out for data in chunks)),
            digest=stream_digest(data.all_digests() for data in chunks),
            seconds=node.seconds + (node.mean_s or 0.0) * node.replayed,
            run_id=self.run_id,
            extra=self._prober.effects(name) or None,
        )
        call = self._calls[name]
        if self._keeps:
            given = stream_given(call, self.streams.digest_given(name))
            self._store.put_stream(call.fingerprint, given, record, replaces=call.fresh)
        self._claimant.settled(name)
        return Sealed(name, chunk)


def in_one(parts: Sequence[Piece]) -> tuple[Piece, ...]:
    """The parts of one generator's items as a single piece; nothing if they are not all there."""
    if len(parts) < 2:
        return tuple(part for part in parts if part.is_last)
    *_, last = parts
    if not last.is_last:
        return ()
    counts = np.sum([np.frombuffer(part.counts, dtype=np.int32) for part in parts], axis=0, dtype=np.int32)
    routes = None
    if last.routes is not None:
        routes = {target: b"".join((part.routes or {})[target] for part in parts) for target in last.routes}
    spans = sp.joined(span for part in parts for span in part.spans)
    digests = b"".join(part.digests for part in parts)
    return (replace(last, counts=counts.tobytes(), spans=spans, digests=digests, routes=routes, part=0),)


def _without_first(data: ChunkData, size: int) -> ChunkData:
    """A single list's outputs but for the first ones."""
    stop = data.n_out
    return ChunkData(
        data.slice,
        np.array([stop - size], dtype=np.int32),
        sp.cut(data.spans, size, stop),
        data.all_digests()[size * DIGEST_SIZE :],
        None if data.routes is None else {target: mask[size:] for target, mask in data.routes.items()},
    )


def segment_name(batch: Batch) -> str:
    """The name under which a batch's segments are kept; the same when Dask runs the batch again."""
    return f"{batch.run_id}-{batch.name}"


def _outcome(
    name: str, chunks: tuple[Chunk, ...], failures: tuple[ElementFailed, ...], receipt: Receipt
) -> NodeOutcome:
    return NodeOutcome(
        name, chunks, failures, receipt.seconds, receipt.timers, receipt.counters, receipt.logs, receipt.notes
    )
