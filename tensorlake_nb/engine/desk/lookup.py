"""Ask the store what is settled already: whole streams first, then elements."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches.batch import Call
from tensorlake_nb.core.batches.output_columns import OutputColumns, Targets, concat
from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.graphs.plan import Plan
from tensorlake_nb.core.keys import DIGEST_SIZE, Digest, RunId, group_digests, task_keys
from tensorlake_nb.core.planning.events import Chunk, Event, Probed, StreamReplayed
from tensorlake_nb.core.streams.rows import digest_given
from tensorlake_nb.core.streams.tables import ChunkData, Streams
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.calls.context import Effects, holds_for, identity
from tensorlake_nb.engine.desk.claimant import Claimant
from tensorlake_nb.engine.desk.equal_elements import Seen
from tensorlake_nb.errors import JoinError
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.format.outcomes import TaskOutcome, outputs_of
from tensorlake_nb.store.format.stream_record import StreamRecord
from tensorlake_nb.store.reading.index import Index

_MISSING, _FOUND, _TWIN = 0, 1, 2
#: How many elements are looked up together: bounds the memory that it takes.
_AT_ONCE = 2**16


class Prober:
    """Looks elements up, by store and by equality with others of the same run.

    Parameters
    ----------
    claimant
        Knows what other runs compute at the same time.
    """

    def __init__(
        self,
        plan: Plan,
        calls: Mapping[str, Call],
        streams: Streams,
        store: Store,
        run_id: RunId,
        claimant: Claimant,
        *,
        keeps: bool,
    ) -> None:
        self._claimant = claimant
        self._plan, self._calls, self._streams, self._store, self._run_id = plan, calls, streams, store, run_id
        self._keeps = keeps
        self._identity = identity(run_id, plan.graph, plan.version)
        self._seen = {name: Seen() for name in plan.nodes}
        self._failed: dict[str, set[tuple[Address, int]]] = {name: set() for name in plan.nodes}
        self._listed: set[str] = set()
        self._effects: dict[str, list[bytes]] = {name: [] for name in plan.nodes}

    def happened(self, name: str, effects: Iterable[bytes]) -> None:
        """Remember what calls of this run did beside returning."""
        self._effects[name] += effects

    def packed(self, name: str) -> list[bytes]:
        """Return the effects beside the outputs of all calls of a node."""
        return self._effects[name]

    def effects(self, name: str) -> list[str]:
        """Return the same effects as text, for the stream's record."""
        return [base64.b64encode(packed).decode() for packed in self.packed(name)]

    def failed(self, name: str, piece: Slice) -> None:
        """Note that an element failed for good; an equal one must be tried by itself."""
        self._failed[name].add((piece.source, piece.start))

    def whole(self, name: str) -> Event:
        """Look a node's whole stream up by the digest of its input stream."""
        call = self._claimant.call(name)
        record = None if call.cold else self._recorded(call, name)
        if record is None or (call.fresh and record.run_id != self._run_id):
            return Probed(name, (), ())
        data = ChunkData(None, record.outputs, replayed=record.n_tasks, whole_digest=record.digest)
        effects = [base64.b64decode(text) for text in record.extra or ()]
        if not all(holds_for(packed, self._identity) for packed in effects):
            return Probed(name, (), ())
        self._effects[name] += effects
        done = self._replay(effects)
        chunk = self._streams.add(name, (), data)
        return StreamReplayed(name, chunk, record.seconds, record.run_id, done.timers, done.counters)

    def _recorded(self, call: Call, name: str) -> StreamRecord | None:
        try:
            given = digest_given(self._streams, name)
        except JoinError:  # nothing was kept of such a thing; whoever forms its rows says what is wrong
            return None
        return self._store.get_stream(call.fingerprint, stream_given(call, given))

    def _replay(self, effects: Iterable[bytes]) -> Effects:
        """Do again what calls did beside returning; gives what they timed and counted."""
        done = Effects()
        for packed in effects:
            one = Effects.unpacked(packed)
            if self._keeps:
                one.apply_state(self._store, self._run_id)
            done.add(one)
        return done

    def elements(self, name: str, slices: tuple[Slice, ...]) -> Event:
        """Look elements up one by one."""
        given = self._streams.given(name, slices)
        firsts = self._seen[name].first(given, slices)
        index, positions = self._look_up(name, slices, given)
        if (positions < 0).any() and self._claimant.meet():
            index, positions = self._look_up(name, slices, given)
        state = np.where(firsts >= 0, _TWIN, _MISSING)
        state[positions >= 0] = _FOUND
        chunks: list[Chunk] = []
        missing: list[Slice] = []
        twins: list[tuple[Slice, Address]] = []
        effects: list[bytes] = []
        beside = index.beside(positions[positions >= 0]) if index is not None else ()
        base = 0
        for piece in slices:
            mine = state[base : base + piece.size]
            for start, stop, what in _runs(mine):
                run = piece.cut(start, stop)
                if what == _MISSING:
                    missing.append(run)
                elif what == _FOUND:
                    assert index is not None
                    found = self._found(name, run, index, positions[base + start : base + stop], effects)
                    chunks.append(self._streams.add(name, run.address(), found))
                else:
                    self._ask_twins(name, run, firsts[base + start : base + stop], chunks, missing, twins)
            base += piece.size
        self._effects[name] += effects
        done = self._replay(effects)
        return Probed(name, tuple(chunks), tuple(missing), tuple(twins), done.timers, done.counters, beside)

    def _look_up(self, name: str, slices: tuple[Slice, ...], given: bytes) -> tuple[Index | None, NDArray[np.int64]]:
        """Return the position of each element's checkpoint in an index; -1 for elements without a usable one."""
        call = self._claimant.call(name)
        positions = np.full(len(given) // DIGEST_SIZE, -1, dtype=np.int64)
        if call.cold:
            return None, positions
        # Listed once per run (a store that is kept open has the list of an earlier one), and again for what is shared.
        is_listed = not self._claimant.is_outdated(name, given) and name in self._listed
        own = self._run_id if call.fresh else None
        index = self._store.index(call.fingerprint, refresh=not is_listed, run=own)
        self._listed.add(name)
        for start in range(0, len(positions), _AT_ONCE):
            keys = task_keys(call.fingerprint, given[start * DIGEST_SIZE : (start + _AT_ONCE) * DIGEST_SIZE])
            positions[start : start + _AT_ONCE] = index.find(keys)
        if call.routes is not None or call.inject_ctx:
            passes_by = self._passes_by(name, slices)
            found = np.flatnonzero(positions >= 0)
            for start, stop, block in index.blocks(positions[found]):
                if block is not None and is_usable(block, None, call, passes_by):
                    continue
                for i in found[start:stop].tolist():
                    outcome = index.outcome(int(positions[i]))
                    usable = is_usable(outcome.outputs, outcome.passes, call, passes_by)
                    if not usable or not holds_for(outcome.effects, self._identity):
                        positions[i] = -1
        return index, positions

    def _ask_twins(
        self,
        name: str,
        run: Slice,
        firsts: NDArray[np.int64],
        chunks: list[Chunk],
        missing: list[Slice],
        twins: list[tuple[Slice, Address]],
    ) -> None:
        for offset, first in enumerate(firsts.tolist()):
            one = run.cut(offset, offset + 1)
            source, index = self._seen[name].place(first)
            is_itself = source == one.source and index == one.start  # another run had claimed it
            if is_itself or (source, index) in self._failed[name]:
                missing.append(one)
                continue
            copied = self._streams.settled(name, source, index)
            if copied is None:
                twins.append((one, (*source, index)))
                continue
            if self._streams.given(name, (one,)) != self._streams.given(name, (Slice(source, index, index + 1),)):
                missing.append(one)  # only the beginnings of the digests were equal
                continue
            chunks.append(self._streams.add(name, one.address(), ChunkData(one, copied, replayed=1)))

    def _found(
        self, name: str, run: Slice, index: Index, positions: NDArray[np.int64], effects: list[bytes]
    ) -> ChunkData:
        """Make a chunk of checkpoints that were found, and note what else the calls did."""
        blocks = [block for _, _, block in index.blocks(positions)]
        outputs = [block for block in blocks if block is not None]
        if len(outputs) < len(blocks):
            outcomes = [index.outcome(int(at)) for at in positions]
            effects += [outcome.effects for outcome in outcomes if outcome.effects is not None]
            outputs = [given_by(self._streams, name, run, outcomes)]
        return ChunkData(run, concat(outputs), replayed=run.size)

    def _passes_by(self, name: str, slices: Sequence[Slice]) -> bool:
        """Return True if each element is one stored value, which can travel on as it lies."""
        node = self._plan.nodes[name]
        if node.gather is not None or not node.ports:
            return False
        return all(self._streams.elements(name, piece).lists is None for piece in slices)


def stream_given(call: Call, given: Digest) -> Digest:
    """Names a node's whole input stream. With routes it is the graph's own: the record says what went along them."""
    if call.routes is None:
        return given
    return group_digests("routes/1", [given, digest(tuple(sorted(call.routes)))])


def is_usable(outputs: OutputColumns, passes: Targets | None, call: Call, passes_by: bool) -> bool:
    """Return True if a checkpoint can settle an element in this graph, whose routes may differ from its own graph's.

    It can't if it chose what is no route here, or if a router's input travels on in another way here: by reference
    (``passes_by``), or stored as the router's output.
    """
    if call.routes is None:
        return True
    if call.kind == "router" and (passes is not None) != passes_by:
        return False
    chosen = {passes} if outputs.routes is None else outputs.routes.used()
    return all(targets is None or set(targets) <= set(call.routes) for targets in chosen)


def given_by(streams: Streams, name: str, where: Slice, outcomes: Sequence[TaskOutcome]) -> OutputColumns:
    """Return the outputs of a slice's elements by their checkpoints: some routers pass on their inputs."""
    passes = any(outcome.passes is not None for outcome in outcomes)
    return outputs_of(outcomes, streams.elements(name, where).outputs if passes else None)


def _runs(state: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return the runs of equal numbers: where each begins and ends, and the number."""
    edges = np.concatenate(([0], np.flatnonzero(np.diff(state)) + 1, [len(state)])).tolist()
    return [(start, stop, int(state[start])) for start, stop in pairwise(edges) if start < stop]
