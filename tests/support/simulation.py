"""A cluster and a store that exist on paper: runs the planner on a fake clock, element by element, without Dask."""

from __future__ import annotations

import heapq
import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tensorlake_nb.core.batches.batch import FailureKind, Span
from tensorlake_nb.core.batches.positions import Slice, take
from tensorlake_nb.core.graphs.plan import FAN_IN, Plan
from tensorlake_nb.core.planning.events import (
    BatchEnded,
    BatchHeld,
    BatchLost,
    BatchStarted,
    Chunk,
    ElementFailed,
    Event,
    Gathered,
    NodeOutcome,
    Probed,
    RunStarted,
    Sealed,
    SlotsKnown,
)
from tensorlake_nb.core.planning.instructions import Gather, Instruction, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.turn import Performer, Turn

#: Seconds that the fake store and scheduler take to answer.
ANSWER_S = 0.001
DASK_S = 0.002


@dataclass
class World(Performer):
    """The fates of batches and elements, decided by one seed.

    Attributes
    ----------
    outputs_of
        Per node how many outputs an element gives; a node that isn't named gives one.
    element_s
        Seconds of work per element.
    seconds_of
        The same, told of each element of a node by its position.
    failing, dying
        Chances that an element's attempt fails, and that it takes its worker with it.
    failing_at
        The only node whose elements fail; all by default.
    worth_s
        For how long a fold is to go on before its accumulator is kept.
    crowded
        Chance that another run on the same store has claimed something of a batch; half of that it also computes.
    """

    plan: Plan
    seed: int
    workers: int = 4
    outputs_of: dict[str, int] = field(default_factory=dict)
    element_s: float = 0.0005
    seconds_of: Callable[[str, int], float] | None = None
    failing: float = 0.0
    failing_at: str = ""
    dying: float = 0.0
    crowded: float = 0.0
    worth_s: float = 0.0

    def __post_init__(self) -> None:
        self.state = RunState.fresh(self.plan)
        self.now = 0.0
        self.called: Counter[tuple[str, tuple[int, ...]]] = Counter()
        self.instructions: list[Instruction] = []
        self.submitted: list[tuple[float, Submit]] = []
        self.ended_at: dict[int, float] = {}
        #: Per worker when each of its batches began and ended.
        self.spells: list[list[tuple[float, float]]] = [[] for _ in range(self.workers)]
        self._ready: list[tuple[float, int]] = []
        self.lost = 0
        self.held: list[Slice] = []
        self._random = random.Random(self.seed)
        self._coming: list[tuple[float, int, Callable[[], Event]]] = []
        self._order = 0
        self._free_at = [0.0] * self.workers

    def run(self) -> RunState:
        """Run to the end; fails if the planner asks for something that it asked for before."""
        turn = Turn(self.state, self, self.record)
        turn.fold(RunStarted("simulated", self.now))
        turn.fold(SlotsKnown(self.workers))
        while self.state.status is None:
            wanted = turn.take(self.now)
            self.instructions += wanted
            self._ready.append((self.now, sum(node.n_ready for node in self.state.nodes.values())))
            due = self.state.next_due(self.now)
            if self._coming and (due is None or self._coming[0][0] <= due):
                self.now, _, event = heapq.heappop(self._coming)
                turn.fold(event())
            elif due is not None and not wanted:
                self.now = max(self.now, due)
            else:
                assert wanted, "the planner waits for nothing"
        return self.state

    def idle(self) -> list[tuple[int, float]]:
        """Which workers had nothing to do, and from when on, though an element was ready and in no batch."""
        last = max(begin for spells in self.spells for begin, _ in spells)
        found: list[tuple[int, float]] = []
        for worker, spells in enumerate(self.spells):
            begins = [begin for begin, _ in spells[1:]] + [last]
            for (_, end), begin in zip(spells, begins, strict=True):
                since, until = end + 3 * DASK_S, begin - 2 * DASK_S  # before and after, messages are on their way
                first, after = (bisect(self._ready, at, key=lambda known: known[0]) for at in (since, until))
                if since < until and any(n for _, n in self._ready[max(first - 1, 0) : after]):
                    found.append((worker, end))
        return found

    def record(self, event: Event) -> None:
        """Hear of each event before it is folded."""

    def _later(self, at: float, event: Callable[[], Event]) -> None:
        self._order += 1
        heapq.heappush(self._coming, (at, self._order, event))

    def probe(self, order: Probe) -> None:
        node, slices = order.node, order.slices
        theirs = [piece for piece in slices if piece in self.held and self._random.random() < 0.5]
        chunks = tuple(replace(chunk, computed=0, replayed=1) for chunk in self._chunks(node, singles(theirs)))
        missing = tuple(piece for piece in slices if piece not in theirs)
        self._later(self.now + ANSWER_S, lambda: Probed(node, chunks, missing))

    def gather(self, order: Gather) -> None:
        size = sum(piece.size for piece in order.slices)
        number = self.state.nodes[order.node].gathered
        self._later(self.now + ANSWER_S, lambda: Gathered(order.node, number, -(-size // FAN_IN)))

    def seal(self, order: Seal, node: NodeState) -> None:
        chunk = Chunk((0,), 1, 1, 1, (Span("acc", 0, 1),)) if node.plan.kind == "fold" else None
        self._later(self.now + ANSWER_S, lambda: Sealed(order.node, chunk))

    def submit(self, orders: Sequence[Submit]) -> tuple[()]:
        for order in orders:
            if self.crowded and self._random.random() < self.crowded:
                self._hold(order)
            else:
                self.submitted.append((self.now, order))
                self._compute(order)
        return ()

    def _hold(self, order: Submit) -> None:
        size = sum(piece.size for piece in order.slices)
        n_held = size if self.plan.nodes[order.node].kind == "fold" else self._random.randrange(size) + 1
        held, free = take(order.slices, 0, n_held), take(order.slices, n_held, size)
        self.held += held
        at = self.now + ANSWER_S
        until = at + self._random.choice((0.0, 0.5))
        self._later(at, lambda: BatchHeld(order.number, held, free, ("another",), at, until))

    def _compute(self, order: Submit) -> None:
        worker = min(range(self.workers), key=lambda i: self._free_at[i])
        begin = max(self._free_at[worker], self.now) + DASK_S
        self._later(begin, lambda: BatchStarted(order.number, f"worker {worker}", begin))
        at, done = begin, 0
        failures: list[ElementFailed] = []
        settled: list[Slice] = []
        for piece in order.slices:
            for i in range(piece.size):
                if at - begin > order.budget_s:
                    break
                one = piece.cut(i, i + 1)
                varied_s = self.element_s * self._random.uniform(0.5, 1.5)
                at += varied_s if self.seconds_of is None else self.seconds_of(order.node, one.start)
                if self._random.random() < self.dying:
                    self._die(order, one, done, settled, worker, at)
                    return
                done += 1
                if self._random.random() < self.failing and self.failing_at in ("", order.node):
                    failures.append(ElementFailed(one, FailureKind.ERROR, "ValueError: by chance", "x"))
                    if self.plan.nodes[order.node].kind == "fold":
                        done -= 1
                        break
                else:
                    self.called[order.node, one.order] += 1
                    settled.append(one)
            else:
                continue
            break
        self._free_at[worker] = self.ended_at[order.number] = at
        self.spells[worker].append((begin, at))
        event = self._ended(order, settled, failures, done, at)
        self._later(at + DASK_S, lambda: event)

    def _ended(
        self, order: Submit, settled: list[Slice], failures: list[ElementFailed], done: int, at: float
    ) -> BatchEnded:
        size = sum(piece.size for piece in order.slices)
        folds = self.plan.nodes[order.node].kind == "fold"
        if folds:
            chunks: tuple[Chunk, ...] = (Chunk((order.number,), done, 1, 1, (Span("acc", 0, 1),), None, done, 0),)
            returned: tuple[Slice, ...] = ()
        else:
            chunks = self._chunks(order.node, settled)
            returned = take(order.slices, done, size)
        outcome = NodeOutcome(order.node, chunks, tuple(failures), self.element_s * max(done, 1))
        if not (folds and self.worth_s):
            return BatchEnded(order.number, (outcome,), returned, done, at)
        began = at - self.element_s * max(done, 1)
        return BatchEnded(order.number, (outcome,), returned, done, at, "", began, at, worth_s=self.worth_s)

    def _chunks(self, node: str, settled: list[Slice]) -> tuple[Chunk, ...]:
        n = self.outputs_of.get(node, 1)
        return tuple(
            Chunk(one.address(), 1, n, int(n > 0), (Span(node, 0, n),), None, 1, 0, is_bare=n == 1) for one in settled
        )

    def _die(self, order: Submit, culprit: Slice, done: int, settled: list[Slice], worker: int, at: float) -> None:
        self.lost += 1
        self._free_at[worker] = at + 0.5
        failed = ElementFailed(culprit, FailureKind.WORKER_LOST, "its worker process ended (SIGKILL)", "x")
        event: Event
        if self.plan.nodes[order.node].kind == "fold":
            event = self._ended(order, [], [failed], done, at)
        else:
            size = sum(piece.size for piece in order.slices)
            # Half of the time nobody knows who it was: all that were left are suspects.
            left = take(order.slices, done + 1, size)
            suspects: tuple[ElementFailed, ...] = (failed,)
            if self._random.random() < 0.5:
                each = tuple(one.cut(i, i + 1) for one in left for i in range(one.size))[:3]
                suspects += tuple(ElementFailed(one, failed.kind, failed.error, "x") for one in each)
                left = take(order.slices, done + 1 + len(each), size)
            chunks = self._chunks(order.node, list(settled))
            handled = take(order.slices, 0, done)
            failed_before = [one for one in singles(handled) if one not in set(settled)]
            suspects += tuple(ElementFailed(one, failed.kind, failed.error, "x") for one in failed_before)
            event = BatchLost(order.number, failed.error, at, chunks, suspects, left)
        self._later(at + 0.1, lambda: event)


def singles(slices: Iterable[Slice]) -> list[Slice]:
    return [piece.cut(i, i + 1) for piece in slices for i in range(piece.size)]
