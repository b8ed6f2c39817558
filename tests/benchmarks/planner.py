"""The driver's pure part on paper: thousands of workers and millions of elements, on a clock that is only counted.

    python -m tests.benchmarks.planner [--workers 10000] [--elements 10000000] [--json FILE]

Nothing is computed and nothing is stored: what is measured is the time that the planner and the run state take for
all events of a map and the fold behind it, the memory that they hold, and how many instructions they give a second.
``kernel_share`` is that time as a share of the time that the run itself takes on its clock: at 1 the driver is the
limit.
"""

from __future__ import annotations

import argparse
import heapq
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.positions import Slice, take
from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.core.graphs.plan import plan_graph
from tensorlake_nb.core.planning.events import (
    BatchEnded,
    Chunk,
    Event,
    NodeOutcome,
    Probed,
    RunStarted,
    Sealed,
    SlotsKnown,
)
from tensorlake_nb.core.planning.instructions import Gather, Probe, Seal, Submit
from tensorlake_nb.core.planning.node_state import NodeState
from tensorlake_nb.core.planning.run_state import RunState
from tensorlake_nb.core.planning.turn import Performer, Turn

#: What a store's and a scheduler's answer take (s), and how often the driver turns (s).
ANSWER_S = 0.002
TURN_S = 0.01
#: What is done around each call (s).
AROUND_S = 25e-6


@tensorlake_function()
def listed(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function()
def worked(x: int) -> int:
    return x


@tensorlake_function(accumulate=int)
def total(so_far: int, x: int) -> int:
    return so_far + x


@dataclass
class Figures:
    """What one case took."""

    workers: int
    elements: int
    element_s: float
    batches: int
    instructions: int
    driver_s: float
    clock_s: float
    memory_mb: float

    def as_json(self) -> dict[str, float]:
        return {
            **vars(self),
            "instructions_per_s": self.instructions / self.driver_s,
            "driver_us_per_element": self.driver_s / self.elements * 1e6,
            "kernel_share": self.driver_s / self.clock_s,
        }


class Paper(Performer):
    """A cluster and a store that answer at once, batch by batch."""

    def __init__(self, workers: int, elements: int, element_s: float, *, folds: bool = True) -> None:
        graph = GraphBuilder("paper", listed).add_edge(listed, worked)
        if folds:
            graph.add_edge(worked, total)
        self.state = RunState.fresh(plan_graph(graph.freeze()))
        self._turn = Turn(self.state, self)
        self.workers, self.elements, self.element_s = workers, elements, element_s
        self.now = self.driver_s = 0.0
        self.instructions = self.batches = 0
        self._free = [0.0] * workers
        self._coming: list[tuple[float, int, Callable[[], Event]]] = []
        self._number = 0

    def run(self) -> Figures:
        """Run to the end."""
        before = _peak_mb()
        self._fold(RunStarted("paper", self.now))
        self._fold(SlotsKnown(self.workers))
        while self.state.status is None:
            began = time.perf_counter()
            wanted = self._turn.plan(self.now)
            self.driver_s += time.perf_counter() - began
            self.instructions += len(wanted)
            self._turn.perform(wanted)
            if self.state.status is not None or not self._coming:
                continue
            until = self._coming[0][0] + TURN_S
            while self._coming and self._coming[0][0] <= until:
                self.now, _, event = heapq.heappop(self._coming)
                self._fold(event())
        memory = _peak_mb() - before
        return Figures(
            self.workers,
            self.elements,
            self.element_s,
            self.batches,
            self.instructions,
            self.driver_s,
            self.now,
            memory,
        )

    def _fold(self, event: Event) -> None:
        began = time.perf_counter()
        self._turn.fold(event)
        self.driver_s += time.perf_counter() - began

    def _later(self, at: float, event: Callable[[], Event]) -> None:
        self._number += 1
        heapq.heappush(self._coming, (at, self._number, event))

    def probe(self, order: Probe) -> None:
        self._later(self.now + ANSWER_S, lambda: Probed(order.node, (), order.slices))

    def gather(self, order: Gather) -> None:
        raise AssertionError("nothing is joined here")

    def seal(self, order: Seal, node: NodeState) -> None:
        chunk = Chunk((0,), 1, 1, 1, (Span("acc", 0, 1),)) if node.plan.kind == "fold" else None
        self._later(self.now + ANSWER_S, lambda: Sealed(order.node, chunk))

    def submit(self, orders: Sequence[Submit]) -> tuple[()]:
        for order in orders:
            self._compute(order)
        return ()

    def _compute(self, order: Submit) -> None:
        self.batches += 1
        free = heapq.heappop(self._free)
        begin = max(free, self.now + ANSWER_S)
        size = sum(piece.size for piece in order.slices)
        each_s = AROUND_S + (self.element_s if order.node == "worked" else 0.0)
        done = max(1, min(size, int(order.budget_s / each_s))) if size else 0
        end = begin + done * each_s
        heapq.heappush(self._free, end)
        self._later(end + ANSWER_S, lambda: self._ended(order, size, done, begin, end))

    def _ended(self, order: Submit, size: int, done: int, begin: float, end: float) -> Event:
        folds = self.state.nodes[order.node].plan.kind == "fold"
        settled = take(order.slices, 0, done)
        chunks: tuple[Chunk, ...]
        if folds:
            chunks = (Chunk((order.number,), done, 1, 1, (Span("acc", 0, 1),), None, done, 0),)
        else:
            chunks = tuple(self._chunk(order, piece) for piece in settled)
        returned = () if folds else take(order.slices, done, size)
        outcome = NodeOutcome(order.node, chunks, (), done * self.element_s)
        return BatchEnded(order.number, (outcome,), returned, done, end, "worker", begin, end)

    def _chunk(self, order: Submit, piece: Slice) -> Chunk:
        n_out = self.elements if order.node == "listed" else piece.size
        span = Span(f"{order.node}/{order.number}", 0, n_out)
        return Chunk(
            piece.address(), piece.size, n_out, piece.size, (span,), None, piece.size, 0, order.node != "listed"
        )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--elements", type=int, default=10_000_000)
    parser.add_argument("--element-s", type=float, nargs="*", default=[0.0, 0.01, 1.0])
    parser.add_argument("--json", help="write the figures there")
    options = parser.parse_args()
    found = []
    for element_s in options.element_s:
        figures = Paper(options.workers, options.elements, element_s, folds=element_s < 1).run().as_json()
        found.append(figures)
        print(
            f"{figures['workers']:,} workers, {figures['elements']:,} elements of {element_s * 1e3:g} ms: "
            f"{figures['batches']:,} batches, driver {figures['driver_s']:.2f} s "
            f"({figures['kernel_share']:.2f} of the run's {figures['clock_s']:,.0f} s), "
            f"{figures['instructions_per_s']:,.0f} instructions/s, {figures['memory_mb']:.0f} MB"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
