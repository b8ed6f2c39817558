"""Choose the replayed elements to compute again, and prepare their checks for workers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from random import Random
from typing import Any

from tensorlake_nb.core.batches.batch import Fold
from tensorlake_nb.core.batches.output_columns import OutputColumns
from tensorlake_nb.core.batches.positions import Slice, take
from tensorlake_nb.core.keys import fold_next, fold_start, one_by_one, task_key
from tensorlake_nb.core.planning.blueprint import Blueprint
from tensorlake_nb.core.planning.events import Gathered
from tensorlake_nb.core.planning.instructions import Gather
from tensorlake_nb.core.planning.node_state import Cursor, NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.streams.tables import ChunkData
from tensorlake_nb.engine.calls.context import Effects
from tensorlake_nb.engine.desk.desk import EMITTED, Desk
from tensorlake_nb.engine.verifying.checks import Check
from tensorlake_nb.store.checkpoints.store import Store

_EVERYTHING = 2**62


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample of one node of the plan: ``checks`` for some of the ``replayed`` elements."""

    replayed: int
    checks: tuple[Check, ...]


class Sampler:
    """Chooses from a run that was followed as far as the store takes it.

    Parameters
    ----------
    share
        How much of each node is chosen, more than 0 and at most 1; never less than one element.
    seed
        The same one chooses the same elements of the same streams.
    """

    def __init__(
        self, blueprint: Blueprint, state: RunState, desk: Desk, store: Store, *, share: float, seed: int
    ) -> None:
        self._blueprint, self._state, self._desk, self._store = blueprint, state, desk, store
        self._share, self._seed = share, seed

    def of(self, name: str) -> Sample:
        """Choose from one node of the plan."""
        node = self._state.nodes[name]
        random = Random(f"{self._seed}/{name}")
        replayed, checks = self._folded(node, random) if node.plan.kind == "fold" else self._called(node, random)
        return Sample(replayed, tuple(checks))

    def _how_many(self, of: int) -> int:
        return min(of, max(1, math.ceil(self._share * of)))

    # -- calls --

    def _called(self, node: NodeState, random: Random) -> tuple[int, Iterator[Check]]:
        blocks = [
            (self._given(node) if data.slice is None else (data.slice,), data)
            for data in self._desk.streams.chunks(node.plan.name)
        ]
        starts = list(accumulate((data.outputs.size for _, data in blocks), initial=0))
        chosen = sorted(random.sample(range(starts[-1]), self._how_many(starts[-1])))
        return starts[-1], self._check_calls(node, blocks, starts, chosen)

    def _check_calls(
        self, node: NodeState, blocks: list[tuple[tuple[Slice, ...], ChunkData]], starts: list[int], chosen: list[int]
    ) -> Iterator[Check]:
        for (slices, data), (start, stop) in zip(blocks, pairwise(starts), strict=True):
            for element in [each - start for each in chosen if start <= each < stop]:
                where = take(slices, element, element + 1)
                fold = None
                if node.plan.gather == "group":
                    groups = self._desk.streams.group_sizes(node.plan.name, where)
                    fold = Fold(None, fold_start(), node.plan.combines, groups)
                kept = data.outputs.cut(element, element + 1).spelled(self._blueprint.calls[node.plan.name].routes)
                yield self._check(node, where, kept, fold)

    def _given(self, node: NodeState) -> tuple[Slice, ...]:
        """All that came to a node, in order."""
        slices, _ = self._state.upstream(node, Cursor(), _EVERYTHING)
        if node.plan.gather is None:
            return slices
        formed = self._desk.gather(Gather(node.plan.name, slices, True))
        assert isinstance(formed, Gathered)
        return (Slice((0, formed.number), 0, formed.n_rows),)

    # -- folds --

    def _folded(self, node: NodeState, random: Random) -> tuple[int, Iterator[Check]]:
        """Choose stretches between kept accumulators: each is folded again from the one before it."""
        name, call = node.plan.name, self._blueprint.calls[node.plan.name]
        slices = self._given(node)
        rolling = list(accumulate(one_by_one(self._desk.streams.given(name, slices)), fold_next, initial=fold_start()))
        kept = self._accumulators(node, [task_key(call.fingerprint, each) for each in rolling])
        stretches = list(pairwise([0, *(at for at in sorted(kept) if at)]))
        if not stretches and 0 in kept:  # of nothing, a fold gives what it starts from
            stretches = [(0, 0)]
        replayed = stretches[-1][1] if stretches else 0
        random.shuffle(stretches)
        left, chosen = self._how_many(max(replayed, 1)), []
        while stretches and left > 0:
            chosen.append(stretches.pop())
            left -= chosen[-1][1] - chosen[-1][0]
        return replayed, (
            self._check(
                node,
                take(slices, start, stop),
                kept[stop],
                Fold(kept[start].spans[0] if start else None, rolling[start], node.plan.combines),
            )
            for start, stop in sorted(chosen)
        )

    def _accumulators(self, node: NodeState, keys: list[Any]) -> dict[int, OutputColumns]:
        """Return a fold's kept accumulators, by the number of elements folded."""
        call = self._blueprint.calls[node.plan.name]
        index = self._store.index(call.fingerprint)
        found: dict[int, OutputColumns] = {}
        for folded, place in enumerate(index.find(b"".join(keys)).tolist()):
            if place >= 0:
                found[folded] = index.outcome(place).outputs
        last = self._desk.streams.get(node.plan.name, EMITTED) or self._desk.streams.get(node.plan.name, ())
        if last is not None:
            found[len(keys) - 1] = last.outputs
        return found

    # -- what a worker is given --

    def _check(self, node: NodeState, where: tuple[Slice, ...], kept: OutputColumns, fold: Fold | None) -> Check:
        name = node.plan.name
        call = replace(self._blueprint.calls[name], cold=True, fresh=False)
        position = (
            self._desk.streams.position(name, take(where, sum(s.size for s in where) - 1, _EVERYTHING)[0])
            if where
            else 0
        )
        return Check(
            run_id=self._blueprint.run_id,
            graph=self._blueprint.graph,
            name=f"{name}-{position}",
            store_url=self._store.url,
            calls=(call,),
            columns=self._desk.streams.columns(name, where) if where else (),
            given=self._desk.streams.given(name, where),
            fold=fold,
            budget_s=math.inf,
            stop_on_failure=False,
            trusted=self._store.trusted,
            position=position,
            kept=kept,
            state=self._state_before(name) if call.inject_ctx else {},
        )

    def _state_before(self, name: str) -> Mapping[str, bytes]:
        """Return the request state written by the nodes above."""
        above = {name}
        for node in reversed(self._state.nodes.values()):  # parents come first
            if node.plan.name in above:
                above |= {port.parent for port in node.plan.ports}
        others = [other for other in self._state.nodes if other in above and other != name]
        return Effects.summed(packed for other in others for packed in self._desk.effects(other)).state
