"""A generator's items: encoded as they come, committed and reported in parts while the call goes on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np

from tensorlake_nb.core import spans as sp
from tensorlake_nb.core.batch import Failure, Piece, Receipt
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, TaskKey, group_digests
from tensorlake_nb.engine.calls import Returned
from tensorlake_nb.engine.concurrent import called_here
from tensorlake_nb.engine.node_work import FLUSH_BYTES, NodeWork, routes_of
from tensorlake_nb.engine.reporting import PartDone
from tensorlake_nb.errors import UsageError
from tensorlake_nb.store.codec import Encoded
from tensorlake_nb.store.entry import TaskOutcome

Item = tuple[Encoded, tuple[str, ...] | None]


def emit(work: NodeWork) -> None:
    """Run a generator function for the one element of its batch."""
    work.settle_known()
    if work.batch.emitted and not any(True for _ in work.unsettled()):
        work.done, work.pieces = 1, [_rest(work)]
        return
    for offset in work.unsettled():
        work.writer.begin(work.keys[offset])
        value, arguments, failure = work.given(offset)
        if arguments is None:
            assert failure is not None
            work.failures[offset] = failure
            continue
        parts = _Parts(work)
        outcome = _called(work, offset, value, arguments, parts)
        if isinstance(outcome, Returned):
            parts.commit(is_last=True)
            prepared = work.returns.from_items(parts.items)
            work.add(offset, work.keys[offset], prepared, outcome)
            work.done = 1
        elif isinstance(outcome, Failure):
            parts.commit()
            work.failures[offset] = outcome
            work.done = 1
        else:
            parts.commit()
            work.done = 0
        work.pieces = parts.pieces


def _called(work: NodeWork, offset: int, value: Any, arguments: Any, parts: _Parts) -> Returned | Failure | None:
    args, kwargs = arguments
    assert work.loaded is not None
    if not work.loaded.function.is_async:

        def make(target: Callable[..., Any], lead: tuple[Any, ...]) -> None:
            items: Iterator[Any] = target(*lead, *args, **kwargs)
            for item in items:
                parts.add(item)
            parts.check_complete()

        return work.caller.call(offset, value, make)

    async def make_async(target: Callable[..., Any], lead: tuple[Any, ...]) -> None:
        items: AsyncIterator[Any] = target(*lead, *args, **kwargs)
        async for item in items:
            parts.add(item)
        parts.check_complete()

    return called_here(work, offset, value, make_async)


def _rest(work: NodeWork) -> Piece:
    """An earlier attempt came to its end before its worker was lost: what it emitted after the last part known of."""
    outcome = work.outcome(0)
    known = len(work.batch.emitted)
    count = len(outcome.digests) // DIGEST_SIZE - known // DIGEST_SIZE
    return Piece(
        0,
        1,
        np.array([count], dtype=np.int32).tobytes(),
        sp.cut(outcome.spans, known // DIGEST_SIZE, len(outcome.digests) // DIGEST_SIZE),
        outcome.digests[known:],
        routes_of(work.call, [outcome], known // DIGEST_SIZE),
        replayed=1,
        part=work.batch.emitted_parts,
    )


class _Parts:
    """The items of one call so far.

    Attributes
    ----------
    items
        All of them, those of an earlier attempt too: the outcome is kept as one list.
    pieces
        What was committed so far in this attempt.
    """

    def __init__(self, work: NodeWork) -> None:
        self._work = work
        emitted = work.batch.emitted
        self._emitted = [emitted[i : i + DIGEST_SIZE] for i in range(0, len(emitted), DIGEST_SIZE)]
        self.items: list[Item] = []
        self.pieces: list[Piece] = []
        self._committed = len(self._emitted)
        self._pending_bytes = 0
        self._committed_at = time.monotonic()

    def add(self, item: Any) -> None:
        """Take an item, unless an earlier attempt has given it on already."""
        encoded, targets = self._work.returns.item(item)
        position = len(self.items)
        self.items.append((Encoded.detached(encoded), targets))
        if position < len(self._emitted):
            if bytes(encoded.digest) != self._emitted[position]:
                raise UsageError(self._changed(f"item {position} differs"))
            return
        self._pending_bytes += encoded.size_bytes
        is_due = time.monotonic() - self._committed_at >= self._work.batch.checkpoint_interval_s
        if is_due or self._pending_bytes >= FLUSH_BYTES:
            self.commit()

    def check_complete(self) -> None:
        """The generator has ended: it must have given all that it gave before."""
        if len(self.items) < len(self._emitted):
            raise UsageError(self._changed(f"it ended after {len(self.items)} of {len(self._emitted)} items"))

    def _changed(self, what: str) -> str:
        return (
            f"generator {self._work.call.node!r} was tried again, and {what} from what it gave before, which has been "
            "worked on already. Make it give the same items each time (seed what is random), or return a list."
        )

    def commit(self, *, is_last: bool = False) -> None:
        """Commit the items since the last part, and tell."""
        new = self.items[self._committed :]
        if new or is_last:
            work = self._work
            self.pieces.append(self._piece(new, is_last))
            self._committed = max(self._committed, len(self.items))
            if not is_last:
                receipt = Receipt(work.batch.name, work.call.node, 0, (self.pieces[-1],), worker=work.host.address)
                work.report(PartDone(receipt))
        self._pending_bytes = 0
        self._committed_at = time.monotonic()

    def _piece(self, items: list[Item], is_last: bool) -> Piece:
        work = self._work
        spans, digests = [], b""
        outcomes: list[TaskOutcome] = []
        if items:
            key = part_key(work.keys[0], self._committed)
            prepared = work.returns.from_items(items)
            work.writer.add(key, prepared.count, prepared.values, routes=prepared.routes)
            work.writer.flush()
            outcomes = [work.writer.locate(key)]
            spans, digests = list(outcomes[0].spans), outcomes[0].digests
        return Piece(
            0,
            1,
            np.array([len(items)], dtype=np.int32).tobytes(),
            sp.joined(spans),
            digests,
            routes_of(work.call, outcomes),
            computed=int(is_last),
            part=work.batch.emitted_parts + len(self.pieces),
            is_last=is_last,
        )


def part_key(key: TaskKey, position: int) -> TaskKey:
    """Names a part of a generator's items, by the task and the position of the part's first item."""
    return TaskKey(group_digests("part/1", [Digest(key), Digest(position.to_bytes(8, "little"))]))
