"""A generator's items: encoded as they come, committed and reported in parts while the call goes on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from tensorlake_nb.core.batches.batch import Failure
from tensorlake_nb.core.batches.output_columns import NO_OUTPUTS, OutputColumns
from tensorlake_nb.core.batches.receipt import Piece, Receipt
from tensorlake_nb.core.keys import DIGEST_SIZE, one_by_one
from tensorlake_nb.engine.calls.caller import Returned
from tensorlake_nb.engine.calls.reporting import PartDone
from tensorlake_nb.engine.worker.async_calls import called_here
from tensorlake_nb.engine.worker.node_work import Did, NodeWork
from tensorlake_nb.engine.worker.parts import Parts
from tensorlake_nb.engine.worker.settling import Settling
from tensorlake_nb.errors import UsageError

#: How soon the first items are given on (s); each part may take twice as long as the one before.
_FIRST_WAIT_S = 0.03


def emit(work: NodeWork) -> Did:
    """Run a generator function for the one element of its batch."""
    settling = Settling(work)
    if work.batch.emitted and 0 in settling.found:
        return settling.did_give(1, [_rest(work, settling.found[0].outputs)])
    for offset in settling.unsettled():
        work.writer.begin(work.keys[offset])
        value, arguments, failure = work.given(offset)
        if arguments is None:
            assert failure is not None
            settling.fail(offset, failure)
            continue
        items = _Items(work)
        outcome = _called(work, offset, value, arguments, items)
        if isinstance(outcome, Returned):
            items.finish(offset, outcome)
            settling.note(offset, outcome.effects)
        else:
            items.commit()
        if isinstance(outcome, Failure):
            settling.fail(offset, outcome)
        return settling.did_give(int(outcome is not None), items.pieces)
    return settling.did()


def _called(work: NodeWork, offset: int, value: Any, arguments: Any, emitted: _Items) -> Returned | Failure | None:
    args, kwargs = arguments
    assert work.loaded is not None
    if not work.loaded.is_async:

        def make(target: Callable[..., Any], lead: tuple[Any, ...]) -> None:
            items: Iterator[Any] = target(*lead, *args, **kwargs)
            for item in items:
                emitted.add(item)
            emitted.check_complete()

        return work.caller.call(offset, value, make)

    async def make_async(target: Callable[..., Any], lead: tuple[Any, ...]) -> None:
        items: AsyncIterator[Any] = target(*lead, *args, **kwargs)
        async for item in items:
            emitted.add(item)
        emitted.check_complete()

    return called_here(work, offset, value, make_async)


def _rest(work: NodeWork, outputs: OutputColumns) -> Piece:
    """Return the items after the last known part, of an earlier attempt that ended before its worker was lost."""
    known = len(work.batch.emitted) // DIGEST_SIZE
    left = outputs.one_by_one().cut(known, outputs.n_out).as_list()
    return Piece(0, 1, left, replayed=1, part=work.batch.emitted_parts)


class _Items:
    """The items of one call so far, given on in parts that are as old as the run's checkpoint interval at most.

    Attributes
    ----------
    pieces
        The parts committed so far in this attempt.
    """

    def __init__(self, work: NodeWork) -> None:
        self._work = work
        self._emitted = one_by_one(work.batch.emitted)
        self._parts = Parts(work.keys[0], work.writer, work.returns, work.batch.emitted_spans)
        self.pieces: list[Piece] = []
        self._committed_at = time.monotonic()
        self._wait_s = min(_FIRST_WAIT_S, work.batch.checkpoint_interval_s)

    def add(self, item: Any) -> None:
        """Take an item, and give it on, unless an earlier attempt has done so already."""
        position = self._parts.count
        encoded, targets = self._work.returns.item(item)
        if position < len(self._emitted) and bytes(encoded.digest) != self._emitted[position]:
            raise UsageError(self._changed(f"item {position} differs"))
        self._parts.add((encoded, targets))
        if self._parts.is_full or time.monotonic() - self._committed_at >= self._wait_s:
            self.commit()

    def check_complete(self) -> None:
        """Check that the ended generator gave all that it gave before."""
        if self._parts.count < len(self._emitted):
            raise UsageError(self._changed(f"it ended after {self._parts.count} of {len(self._emitted)} items"))

    def _changed(self, what: str) -> str:
        return (
            f"generator {self._work.call.node!r} was tried again, and {what} from what it gave before, which has been "
            "worked on already. Make it give the same items each time (seed what is random), or return a list."
        )

    def commit(self) -> None:
        """Commit the items since the last part, and tell."""
        if not self._parts.is_empty:
            work = self._work
            self.pieces.append(self._piece(self._parts.commit()))
            receipt = Receipt(work.batch.name, work.call.node, 0, (self.pieces[-1],), worker=work.host.address)
            work.report(PartDone(receipt))
        self._wait_s = min(2 * self._wait_s, self._work.batch.checkpoint_interval_s)
        self._committed_at = time.monotonic()

    def finish(self, offset: int, returned: Returned) -> None:
        """Emit what is left as the last part of an ended generator, and all parts together as its outputs."""
        work, last = self._work, NO_OUTPUTS
        if self._parts.has_committed and not self._parts.is_empty:
            last = self._parts.commit()
        is_whole = not self._parts.has_committed
        work.add(self._parts.whole(), returned)
        if is_whole:
            work.writer.flush()
            last = work.writer.locate(work.keys[offset]).outputs
        self.pieces.append(self._piece(last, is_last=True))

    def _piece(self, outputs: OutputColumns, *, is_last: bool = False) -> Piece:
        part = self._work.batch.emitted_parts + len(self.pieces)
        return Piece(0, 1, outputs, computed=int(is_last), part=part, is_last=is_last)
