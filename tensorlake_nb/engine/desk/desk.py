"""The store side of the planner's instructions: look up, form rows, make batches, settle receipts, seal streams.

All of it runs on one thread of its own, away from the driver's loop, so the tables here need no lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce

from tensorlake_nb.core.batches.batch import Batch, Call, Fold, Span
from tensorlake_nb.core.batches.messages import Lost
from tensorlake_nb.core.batches.output_columns import OutputColumns, concat
from tensorlake_nb.core.batches.positions import Address, Slice, take
from tensorlake_nb.core.batches.receipt import Piece, Receipt
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.keys import Digest, RunId, fold_next, fold_start, one_by_one, stream_digest
from tensorlake_nb.core.planning.events import (
    BatchEnded,
    BatchHeld,
    Chunk,
    ElementFailed,
    Event,
    Gathered,
    NodeOutcome,
    PartArrived,
    Sealed,
)
from tensorlake_nb.core.planning.instructions import Gather, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.streams.rows import digest_given, group, join
from tensorlake_nb.core.streams.tables import ChunkData, settled
from tensorlake_nb.core.streams.uncacheable_keys import PlacedStreams
from tensorlake_nb.engine.calls.context import Effects
from tensorlake_nb.engine.desk.claimant import Claimant
from tensorlake_nb.engine.desk.failed_elements import Failing, Place
from tensorlake_nb.engine.desk.lookup import Prober, stream_given
from tensorlake_nb.engine.desk.lost_batches import Losses
from tensorlake_nb.errors import DAMAGED, JoinError, RunError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.claims.meeting import Sharing
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.format.stream_record import StreamRecord

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
        True if the store may be written to; else this only looks at the outputs that a run would find.
    raised
        Filled with what calls have raised, as pickles.
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
        raised: dict[Place, bytes] | None = None,
    ) -> None:
        self._life = life
        self._plan, self._calls, self._store, self.run_id = plan, calls, store, run_id
        self._resolver, self._keeps = resolver, keeps
        self._interval_s, self._patience_s = checkpoint_interval_s, store_patience_s
        self._inputs = inputs
        by_place = {name for name, call in calls.items() if call.by_place and name in plan.nodes}
        folds = {name for name, node in plan.nodes.items() if node.kind == "fold"}  # each step follows another one
        self.streams = PlacedStreams(plan, inputs, inputs_digest, by_place - folds)
        self._submitted: dict[int, tuple[Submit, Batch]] = {}
        self._claimant = Claimant(plan, calls, self.streams, store, sharing, self._submitted)
        self._prober = Prober(plan, calls, self.streams, store, run_id, self._claimant, keeps=keeps)
        self._failing = Failing(plan, self.streams, self._prober, self._claimant, raised)
        self._losses = Losses(plan, self.streams, store, resolver, self._claimant, self._prober, self._failing)
        self._rolling = {name: fold_start() for name in plan.nodes}

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
                f"the inputs of run {self.run_id} can't be read from the store any more: {error}. Start a new run "
                "with the same inputs; finished work is replayed."
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
        """Return the effects beside the outputs of a node's settled calls."""
        return self._prober.packed(name)

    # -- batches --

    def batch(self, order: Submit) -> Batch:
        """Return the batch that an instruction asks for."""
        name = order.node
        node = self._plan.nodes[name]
        calls = tuple(map(self._claimant.call, (name, *order.chain)))
        is_shared = any(map(self._claimant.shares, calls))
        fold = None
        if node.kind == "fold":
            told = Effects()
            for packed in self._prober.packed(name) if calls[0].inject_ctx else ():
                told.told.update(Effects.unpacked(packed).told)
            fold = Fold(
                order.accumulator,
                self._rolling[name],
                node.combines,
                is_shared=is_shared,
                told=told.packed() or b"",
                worth_s=order.worth_s,
                has_more=order.has_more,
            )
        elif node.gather == "group":
            fold = Fold(None, fold_start(), node.combines, self.streams.group_sizes(name, order.slices))
        parts = self.streams.parts(name, order.slices[0]) if node.lone else []
        emitted = concat([part.outputs for part in parts])
        place = self.streams.places(name, order.slices) if any(call.by_place for call in calls[1:]) else b""
        batch = Batch(
            run_id=self.run_id,
            graph=self._plan.graph,
            graph_version=self._plan.version,
            name=f"{name}-{order.number}{self._life}",
            store_url=self._store.url,
            calls=calls[:1] if is_shared else calls,  # each step is claimed by itself
            columns=self.streams.columns(name, order.slices) if order.slices else (),
            given=self.streams.given(name, order.slices),
            place=place,
            attempt=order.attempt,
            fold=fold,
            budget_s=order.budget_s,
            stop_on_failure=self._plan.stops_on_failure,
            final=order.final,
            emitted=emitted.digests,
            emitted_spans=emitted.spans,
            emitted_parts=len(parts),
            checkpoint_interval_s=self._interval_s,
            store_patience_s=self._patience_s,
            trusted=self._store.trusted,
        )
        self._submitted[order.number] = (order, batch)
        is_plain = node.gather is None and len(batch.columns) == 1 and batch.columns[0].groups is None
        return batch.without_given() if is_plain and node.ports and not calls[0].by_place else batch

    # -- others that compute the same --

    def claim(self, order: Submit, now: float) -> BatchHeld | None:
        """Claim a batch's tasks before it is handed over; an event instead, if some of them are claimed already."""
        return self._claimant.claim(order, self._rolling[order.node], now)

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
        (data,) = settled(piece, (where,))
        chunk = self.streams.add(order.node, where.address(piece.part), data)
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
            first.worth_s,
            first.keeping_s,
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
            for data in settled(piece, where):
                assert data.slice is not None
                chunks.append(self.streams.add(name, data.slice.address(piece.part), data))
        self._prober.happened(name, receipt.effects)
        failures = tuple(self._failing.placed(name, slices, failure) for failure in receipt.failures)
        self._failing.give_up(name, failures)
        return _outcome(name, tuple(chunks), failures, receipt)

    def _is_taken_whole(self, name: str) -> bool:
        """Return True if a child takes a node's lists whole, which may come in parts from a generator."""
        children = self._plan.nodes[name].children
        return any(self._plan.nodes[child].ports[index].whole for child, index in children)

    def _settle_fold(self, order: Submit, batch: Batch, receipt: Receipt) -> NodeOutcome:
        self._prober.happened(order.node, receipt.effects)
        self._roll(order.node, batch.given, receipt.done - len(receipt.failures))
        chunks = tuple(
            Chunk((order.number,), each.stop - each.start, 1, 1, each.outputs.spans, None, each.computed, each.replayed)
            for each in receipt.pieces
        )
        failures = tuple(self._failing.placed(order.node, order.slices, failure) for failure in receipt.failures)
        self._failing.give_up_fold(order, failures)
        return _outcome(order.node, chunks, failures, receipt)

    def _roll(self, name: str, given: bytes, done: int) -> None:
        """Note that a fold has taken some more elements."""
        self._rolling[name] = reduce(fold_next, one_by_one(given)[:done], self._rolling[name])

    def recover(self, lost: Lost, at: float, is_stopping: bool) -> Event:
        """Find out what a batch that won't come back had committed, and who is suspected of the loss."""
        order, batch = self._submitted.pop(lost.number)
        event = self._losses.recover(order, batch, lost, at, is_stopping=is_stopping)
        if isinstance(event, BatchEnded):  # a fold, which goes on from there
            self._roll(order.node, batch.given, event.done)
        return event

    # -- the end of a stream --

    def seal(self, order: Seal, node: NodeState) -> Event:
        """Record a finished stream, so that the next run finds it with one look-up."""
        name = order.node
        chunk = None
        if node.plan.kind == "fold":
            assert node.accumulator is not None
            spans = (node.accumulator,)
            emitted = OutputColumns(None, spans, self._store.digests(spans))
            chunk = self.streams.add(name, EMITTED, ChunkData(None, emitted))
        call = self._calls[name]
        outputs = self.streams.whole(name).spelled(call.routes)
        record = StreamRecord(
            outputs,
            n_tasks=node.folded if node.plan.kind == "fold" else outputs.size,
            digest=stream_digest([outputs.digests]),
            seconds=node.seconds + (node.mean_s or 0.0) * node.replayed,
            run_id=self.run_id,
            extra=self._prober.effects(name) or None,
        )
        if self._keeps:
            given = stream_given(call, digest_given(self.streams, name))
            self._store.put_stream(call.fingerprint, given, record, replaces=call.fresh)
        self._claimant.settled(name)
        return Sealed(name, chunk)


def in_one(parts: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return the parts of one generator's items as a single piece; nothing if any is missing."""
    if len(parts) < 2:
        return tuple(part for part in parts if part.is_last)
    *_, last = parts
    if not last.is_last:
        return ()
    return (replace(last, outputs=concat([part.outputs for part in parts]).as_list(), part=0),)


def _outcome(
    name: str, chunks: tuple[Chunk, ...], failures: tuple[ElementFailed, ...], receipt: Receipt
) -> NodeOutcome:
    return NodeOutcome(
        name, chunks, failures, receipt.seconds, receipt.timers, receipt.counters, receipt.logs, receipt.notes
    )
