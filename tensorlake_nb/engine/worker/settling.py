"""Elements that are settled one by one: from checkpoints, by a call, or not at all.

Equal elements are one task: the first of them is called, and what becomes of it becomes of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tensorlake_nb.core.batches.batch import Failure
from tensorlake_nb.core.batches.output_columns import OutputColumns
from tensorlake_nb.core.batches.receipt import Piece
from tensorlake_nb.core.keys import DIGEST_SIZE, TaskKey
from tensorlake_nb.engine.calls.caller import Make, Returned
from tensorlake_nb.engine.desk.lookup import is_usable
from tensorlake_nb.engine.worker.inputs import Arguments
from tensorlake_nb.engine.worker.node_work import Did, NodeWork
from tensorlake_nb.store.format.outcomes import TaskOutcome, outputs_of


class Settling:
    """Settle the elements of a batch, beginning with those that need no call.

    Attributes
    ----------
    found
        Those that are settled by a checkpoint.
    computed
        Those that were called, and their outputs given to the writer.
    failures
        Those that have failed.
    """

    def __init__(self, work: NodeWork) -> None:
        self._work = work
        self.found: dict[int, TaskOutcome] = {}
        self.computed: set[int] = set()
        self.failures: dict[int, Failure] = {}
        self._effects: dict[int, list[bytes]] = {}
        for offset, outcome in work.look_up(work.keys):
            if is_usable(outcome.outputs, outcome.passes, work.call, work.passes_by):
                self.found[offset] = outcome
                self.note(offset, outcome.effects)
                work.do_again(outcome)

    def turns(self) -> list[int]:
        """All elements to compute, in order; equal ones only once."""
        first: dict[TaskKey, int] = {}
        for offset, key in enumerate(self._work.keys):
            if offset not in self.found:
                first.setdefault(key, offset)
        return list(first.values())

    def unsettled(self) -> Iterator[int]:
        """Elements to compute, one after the other, until the batch has to stop; equal ones only once."""
        work, began_any = self._work, False
        for offset in self.turns():
            if (began_any and work.is_over_budget) or work.is_cancelled:
                return
            if any(map(work.ends_run, self.failures.values())):
                return
            began_any = True
            work.note_begun(offset)
            yield offset

    def take(self, offset: int, value: Any, outcome: Returned | Failure | None) -> None:
        """Encode and commit what an element's call returned, or keep why it failed; ``None`` leaves it as it was."""
        if outcome is None:
            return
        if isinstance(outcome, Returned):
            try:
                entry = self._work.encoded(offset, outcome.value)
            except Exception as error:
                outcome = self._work.caller.failure(offset, value, error)
            else:
                self._work.add(entry, outcome)
                self.computed.add(offset)
                self.note(offset, outcome.effects)
                return
        self.fail(offset, outcome)

    def fail(self, offset: int, failure: Failure) -> None:
        """Keep why an element has failed."""
        self.failures[offset] = failure
        self._work.writer.end(self._work.keys[offset])

    def note(self, offset: int, *effects: bytes | None) -> None:
        """Keep what an element's calls did beside returning."""
        self._effects.setdefault(offset, []).extend(packed for packed in effects if packed is not None)

    # -- what was done --

    def did(self) -> Did:
        """Commit everything, and say what was done up to the first element that isn't settled."""
        self._work.writer.flush()
        self._copy_to_twins()
        ended = self.found.keys() | self.computed | self.failures.keys()
        done = next((offset for offset in range(self._work.size) if offset not in ended), self._work.size)
        return Did(done, list(self._pieces(done)), self.failures, self._effects)

    def did_give(self, done: int, pieces: Sequence[Piece]) -> Did:
        """Commit everything, and say what was done where the pieces are known already."""
        self._work.writer.flush()
        return Did(done, pieces, self.failures, self._effects)

    def _outcome(self, offset: int) -> TaskOutcome:
        found = self.found.get(offset)
        return found if found is not None else self._work.writer.locate(self._work.keys[offset])

    def _copy_to_twins(self) -> None:
        first: dict[TaskKey, int] = {}
        for offset, key in enumerate(self._work.keys):
            if offset in self.found:
                continue
            origin = first.setdefault(key, offset)
            if origin == offset:
                continue
            if origin in self.computed:
                self.found[offset] = self._work.writer.locate(key)
            elif origin in self.failures:
                self.failures[offset] = replace(self.failures[origin], offset=offset, raised=b"")

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
        work = self._work
        if not work.passes_by and not self.found:
            block = work.writer.locate_block(work.keys[start:stop])
            if block is not None:
                return Piece(start, stop, block, computed=stop - start)
        passed = None
        if work.passes_by:
            digests = work.given_digests[start * DIGEST_SIZE : stop * DIGEST_SIZE]
            passed = OutputColumns(None, work.inputs.spans(start, stop), digests)
        outputs = outputs_of([self._outcome(offset) for offset in range(start, stop)], passed)
        # What this batch had kept before its worker died was computed by this run too.
        computed = sum(offset in self.computed or work.keys[offset] in work.known for offset in range(start, stop))
        return Piece(start, stop, outputs, computed, stop - start - computed)


def compute_in_turn(work: NodeWork) -> Did:
    """Call a plain function for one element after the other."""
    settling = Settling(work)
    work.writer.begin_in_turn([work.keys[offset] for offset in settling.turns()])
    for offset in settling.unsettled():
        value, arguments, failure = work.given(offset)
        if arguments is None:
            assert failure is not None
            settling.fail(offset, failure)
            continue
        settling.take(offset, value, work.caller.call(offset, value, _made_with(arguments)))
    return settling.did()


def _made_with(arguments: Arguments) -> Make:
    args, kwargs = arguments
    return lambda target, lead: target(*lead, *args, **kwargs)
