"""The steps of one fold: each called with what the step before returned, the accumulator kept as it grows.

What a step returned is passed on as it is, neither copied nor encoded: that would cost more with every step. It is
kept when folding so far is worth it. Whoever else holds a part of it could change it behind our back, and a run that
goes on from what is kept wouldn't see that; so the accumulator is looked through after the first step, while it is
tiny, and whenever it is kept. If something else holds a mutable part of it, the steps that nobody looked at are
folded again from what was kept last, and from then on each step is given a copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorlake_nb.core.batches.batch import BARE, Failure, FailureKind, Span
from tensorlake_nb.core.functions.conversion import record_builder
from tensorlake_nb.core.keys import TaskKey
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls.caller import Make, Returned
from tensorlake_nb.engine.calls.context import Effects
from tensorlake_nb.engine.calls.failure_text import error_text
from tensorlake_nb.engine.worker.async_calls import called_here
from tensorlake_nb.engine.worker.node_work import NodeWork
from tensorlake_nb.engine.worker.outside_references import is_held, is_held_anywhere
from tensorlake_nb.errors import DAMAGED, UsageError
from tensorlake_nb.store.codecs.codec import Encoded, decode, through_json
from tensorlake_nb.store.format.outcomes import Entry, TaskOutcome

#: An accumulator up to this size is kept after every step, and stays in the store, so that the same fold over fewer
#: elements finds it.
TINY_BYTES = 512
#: A larger one is kept when folding to where it stands has taken this many times as long as keeping it takes,
WORTH = 10.0
#: and a second for each so many bytes of it.
BYTES_PER_S = 2**20
#: An intermediate accumulator stays in the store if its own calls took this share of that.
_STAYS = 0.5
#: For how long a group of a tree is folded (s) before it is kept on the way; only its end is ever asked for.
_GROUP_WORTH_S = 0.001
#: How many steps are announced together.
_ANNOUNCED = 1_000


@dataclass(frozen=True, slots=True)
class Stop:
    """The place where a fold can't continue: before which step, and why.

    Attributes
    ----------
    is_unkept
        The step itself went well, and what it returned can't be stored.
    """

    position: int
    failure: Failure
    is_unkept: bool = False


class _Back(Exception):
    """The fold has to go back to what was kept last: to stop there, or to go on carefully."""

    def __init__(self, stop: Stop | None = None) -> None:
        super().__init__(stop)
        self.stop = stop


class Steps:
    """One fold under way.

    Parameters
    ----------
    names
        The key of the accumulator after each element.
    elements
        Where the elements are in the batch's column.
    start
        The accumulator before the first of them, if there is one.
    offset
        The batch's element that this fold is; ``None`` if each of its elements is one of the batch's.
    worth_s
        For how long to fold before the accumulator is kept (s), as the batch before has found out.

    Attributes
    ----------
    done, replayed
        How many elements are folded, and how many of them needed no call. All that are done are kept.
    found
        Where the accumulator lies, if it was not made here.
    failure
        Why the step after the last that is done failed.
    effects
        By the batch's element, what steps did beside returning.
    worth_s
        The same for the batch after this one; 0 if it is to be kept after each step.
    keeping_s
        The time spent on reading and keeping accumulators (s).
    """

    def __init__(
        self,
        work: NodeWork,
        names: list[TaskKey],
        elements: range,
        start: Span | None,
        offset: int | None = None,
        worth_s: float = 0.0,
    ) -> None:
        self.work, self.names, self._elements, self._start, self._offset = work, names, elements, start, offset
        self.done = self.replayed = 0
        self.found: TaskOutcome | None = None
        self.failure: Failure | None = None
        self.effects: dict[int, list[bytes]] = {}
        self.worth_s = worth_s if offset is None else _GROUP_WORTH_S
        self.keeping_s = 0.0
        self._is_json = work.call.output_encoder == "json"
        self._is_careful = False
        #: Up to where it is known that nothing else holds what was passed on.
        self._looked_at = 0
        self._announced = 0
        self._kept: Encoded | None = None
        self._kept_key: TaskKey | None = None
        self._kept_at = 0.0
        assert work.batch.fold is not None
        assert work.loaded is not None
        self._combines, self._loaded = work.batch.fold.combines, work.loaded
        #: The facts about the run that the calls so far were told: the accumulator may hold them.
        self._told = Effects.unpacked(work.batch.fold.told).told if work.batch.fold.told and offset is None else {}
        #: The durations and effects of the steps since then.
        self._unkept_s = 0.0
        self._unkept_effects: list[bytes] = []

    def run(self, *, looks_ahead: bool = False) -> None:
        """Fold until the end, a failure, or until the batch has to stop.

        Parameters
        ----------
        looks_ahead
            Where something is replayed, stop there: more elements follow, and more of the fold may be known.
        """
        self._replay()
        target = len(self.names)
        if self.done == target or (looks_ahead and self.done):
            return
        stop = self._advance(target, is_bounded=True)
        while stop is not None and self.done < stop.position:
            # What the failed step was given may have been changed: go from the last copy to where it stood before. Of
            # accumulators that can't be kept, find the first.
            aim = (self.done + stop.position + 1) // 2 if stop.is_unkept else stop.position
            self._forget_logs(aim)
            again = self._advance(aim)
            if again is None and self.done < aim:
                return  # the run was cancelled meanwhile
            stop = again or stop
        self.failure = None if stop is None else stop.failure
        if self.done < target:
            self.work.writer.begin_in_turn(())

    def _replay(self) -> None:
        """Go to the last accumulator that is kept already and can be read."""
        for position, outcome in self.work.last_known(self.names):
            try:
                self.work.store.read(outcome.outputs.spans, self.work.resolver)
            except DAMAGED:
                continue
            self.done = self.replayed = position + 1
            self.found = outcome
            if outcome.effects is not None:
                self._told.update(Effects.unpacked(outcome.effects).told)
            break
        if self.work.call.inject_ctx:  # else no step did anything beside returning
            for position, outcome in sorted(self.work.look_up(self.names[: self.done]), key=lambda found: found[0]):
                self._note(self._where(position), outcome.effects)
                self.work.do_again(outcome)

    # -- from one kept accumulator to the next --

    def _advance(self, target: int, *, is_bounded: bool = False) -> Stop | None:
        """Fold from what is kept up to some element, and keep that; a failure comes with where it happened."""
        try:
            return self._fold_on(target, is_bounded)
        except _Back as back:
            if back.stop is not None:
                return back.stop
        self._forget_logs(target)
        return self._advance(target, is_bounded=is_bounded)  # carefully: it goes back for that once

    def _fold_on(self, target: int, is_bounded: bool) -> Stop | None:
        work, position = self.work, self.done
        box: list[Any] = []  # nothing else holds the accumulator between two steps
        try:
            self._read_into(box)
        except DAMAGED as error:
            return Stop(position, Failure(self._where(position), FailureKind.DAMAGE, error_text(error), ""))
        self._looked_at = self._announced = position
        self._unkept_s, self._unkept_effects = 0.0, []
        while position < target and self._goes_on(position, is_bounded):
            self._announce(position, target)
            outcome = self._step(position, box)
            if isinstance(outcome, Failure):
                return Stop(position, outcome)
            if outcome is None:
                return None
            box.append(outcome.value)
            self._unkept_s += outcome.duration_s
            self._unkept_effects += () if outcome.effects is None else (outcome.effects,)
            del outcome
            position += 1
            if self._is_due():
                self._keep(position, box)
                continue
            work.writer.end(self.names[position - 1])
            if self._is_careful or position == self.done + 1 or is_held(box):
                self._look(position, box)
        if position > self.done:
            self._keep(position, box)
        return None

    def _goes_on(self, position: int, is_bounded: bool) -> bool:
        may_stop = is_bounded and self._offset is None and position > self.replayed
        return not ((may_stop and self.work.is_over_budget) or self.work.is_cancelled)

    def _announce(self, position: int, target: int) -> None:
        """Note some steps that follow, so that the one that ends its worker is known."""
        if position == self._announced:
            self._announced = min(position + _ANNOUNCED, target)
            self.work.writer.begin_in_turn(self.names[position : self._announced])

    def _read_into(self, box: list[Any]) -> None:
        """Put a copy of the last accumulator that is kept into the box, which stays empty before the first step."""
        began = time.monotonic()
        spans: tuple[Span, ...] = () if self._start is None else (self._start,)
        if self.found is not None:
            spans = self.found.outputs.spans
        if self._kept is not None:
            box.append(self._copied(self._kept))
        elif spans:
            (value,) = self.work.store.read(spans, self.work.resolver)
            box.append(self._rebuilt(value))
            del value
            self._weigh(self.work.store.stored_bytes(spans[0]), time.monotonic() - began, self.worth_s)
        self._kept_at = time.monotonic()
        self.keeping_s += self._kept_at - began

    def _weigh(self, size_bytes: int, cost_s: float, least_s: float = 0.0) -> None:
        """For how long to fold before the accumulator is kept."""
        is_tiny = size_bytes <= TINY_BYTES and self._offset is None
        self.worth_s = 0.0 if is_tiny else max(WORTH * cost_s, size_bytes / BYTES_PER_S, least_s)

    def _is_due(self) -> bool:
        return self.worth_s == 0.0 or time.monotonic() - self._kept_at >= self.worth_s

    def _keep(self, position: int, box: list[Any]) -> None:
        """Give the accumulator after ``position`` elements to the writer.

        Raises
        ------
        _Back
            It can't be stored, or isn't to be trusted.
        """
        work, began = self.work, time.monotonic()
        self._look(position, box)
        key = self.names[position - 1]
        encode = work.returns.encoded if self._offset is None else work.returns.unpictured
        encoded = self._encoded(position, box, encode)
        together = Returned(None, _together(self._unkept_effects, self._told), self._unkept_s)
        # Accumulators with effects all stay: those before the last hold what their own steps did. So do those that
        # somebody may want again: a fold that is asked for before all its elements are there begins with fewer.
        supersedes = self._kept_key if together.effects is None else None
        work.add(Entry(key, BARE, (encoded,), supersedes=supersedes), together)
        self._note(self._where(position - 1), together.effects)
        self._kept, self.done, self.found = encoded, position, None
        self._kept_at = time.monotonic()
        self.keeping_s += self._kept_at - began
        self._weigh(encoded.size_bytes, self._kept_at - began)
        stays = encoded.size_bytes <= TINY_BYTES or self._unkept_s >= _STAYS * self.worth_s
        is_passing = together.effects is None and not (stays and self._offset is None)
        self._kept_key = key if is_passing else None
        self._unkept_s, self._unkept_effects = 0.0, []

    def _encoded(self, position: int, box: list[Any], encode: Callable[[Any], Encoded]) -> Encoded:
        try:
            return encode(box[0]).detached()
        except Exception as error:
            failure = self.work.caller.failure(self._where(position - 1), box[0], error)
            raise _Back(Stop(position - 1, failure, is_unkept=True)) from None

    # -- what the next step is given --

    def _look(self, position: int, box: list[Any]) -> None:
        """See to it that the next step is given what it would be given had it been read from the store.

        Raises
        ------
        _Back
            Steps before this one may have been given something else.
        """
        if not self._is_careful:
            if self._is_as_stored(box):
                self._looked_at = position
                return
            self._is_careful = True
            if position - 1 > self._looked_at:
                raise _Back
        box[0] = self._copied(self._encoded(position, box, self.work.returns.unpictured))

    def _is_as_stored(self, box: list[Any]) -> bool:
        """Return True if only the next step can change the accumulator, and storing it changes nothing."""
        if self._is_json:
            try:
                return digest(self._rebuilt(through_json(box[0]))) == digest(box[0])
            except Exception:  # keeping it says what is wrong
                return False
        if not is_held_anywhere(box):
            return True
        self.work.returns.notes[
            f"what {self.work.call.node!r} returns is also held elsewhere, so each step is given a copy, which takes "
            "longer with each: don't keep the accumulator or parts of it in globals, caches or threads"
        ] = None
        return False

    def _copied(self, encoded: Encoded) -> Any:
        return self._rebuilt(decode(encoded.codec, encoded.data, resolver=self.work.resolver))

    def _rebuilt(self, accumulator: Any) -> Any:
        """Return a record from its JSON form."""
        if not self._is_json:
            return accumulator
        build = record_builder(self._loaded.function.options.accumulate)
        return accumulator if build is None or not isinstance(accumulator, dict) else build(accumulator)

    # -- one step --

    def _step(self, position: int, box: list[Any]) -> Returned | Failure | None:
        work, where = self.work, self._where(position)
        place = self._elements[position]
        element, arguments, failure = work.given(where, place, binds=not self._combines)
        if arguments is None:
            assert failure is not None
            return failure
        if self._combines and not box:
            # A merge starts from its first part: T() is in each of them already.
            return Returned(self._rebuilt(element), None, 0.0)
        make = self._call(box, element, arguments)
        if self._loaded.is_async and not self._combines:
            return called_here(work, where, element, make)
        return work.caller.call(where, element, make)

    def _call(self, box: list[Any], element: Any, arguments: Any) -> Make:
        work = self.work
        options, (args, kwargs) = self._loaded.function.options, arguments
        start, merge = options.accumulate, options.combine
        assert start is not None

        def begun() -> Any:
            if not box:
                box.append(start())
                if is_held_anywhere(box):
                    box[0] = self._copied(work.returns.unpictured(box[0]))
            return box.pop()

        def checked(result: Any) -> Any:
            if result is None:
                raise UsageError(
                    f"reducer {work.call.node!r} returned None. A reducer returns the new accumulator, also when it "
                    "has changed the old one in place: end it with a return."
                )
            return result

        async def make_async(target: Callable[..., Any], lead: tuple[Any, ...]) -> Any:
            return checked(await target(*lead, begun(), *args, **kwargs))

        def make(target: Callable[..., Any], lead: tuple[Any, ...]) -> Any:
            if self._combines:
                assert merge is not None
                return checked(merge(box.pop(), self._rebuilt(element)))
            return checked(target(*lead, begun(), *args, **kwargs))

        return make_async if self._loaded.is_async and not self._combines else make

    def _note(self, where: int, effects: bytes | None) -> None:
        if effects is not None:
            self.effects.setdefault(where, []).append(effects)

    def _where(self, position: int) -> int:
        return position if self._offset is None else self._offset

    def _forget_logs(self, stop: int) -> None:
        """Drop the logs of steps after the kept one, up to ``stop``: they are made again and log again."""
        if self._offset is None:
            self.work.caller.log.forget(range(self.done, stop))


def _together(effects: list[bytes], told: dict[str, str | None]) -> bytes | None:
    """Merge the effects of several steps; ``told`` takes in their facts about the run."""
    summed = Effects.summed(effects)
    told.update(summed.told)
    summed.told.update(told)
    return summed.packed()
