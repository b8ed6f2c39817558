"""The state of one node: the places of its elements, and its outputs so far."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.positions import END, Address, Slice
from tensorlake_nb.core.batches.receipt import LogLine
from tensorlake_nb.core.graphs.plan import PlanNode, Port
from tensorlake_nb.core.planning.events import Chunk, ElementFailed
from tensorlake_nb.core.planning.timing import Timing


class OpenSet:
    """The orders of all slices that aren't settled, with the lowest at hand."""

    def __init__(self) -> None:
        self._count: Counter[Address] = Counter()
        self._heap: list[Address] = []

    def add(self, order: Address) -> None:
        if not self._count[order]:
            heapq.heappush(self._heap, order)
        self._count[order] += 1

    def discard(self, order: Address) -> None:
        if self._count[order] > 1:
            self._count[order] -= 1
        else:
            del self._count[order]

    @property
    def orders(self) -> Counter[Address]:
        """The number of slices open at each order."""
        return self._count

    def lowest(self) -> Address:
        while self._heap and self._heap[0] not in self._count:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else END

    def __bool__(self) -> bool:
        return bool(self._count)


class Chunks:
    """A node's chunks in the order of their addresses."""

    def __init__(self) -> None:
        self.addresses: list[Address] = []
        #: Outputs in all of them.
        self.n_out = 0
        self._by_address: dict[Address, Chunk] = {}

    def add(self, chunk: Chunk) -> None:
        if chunk.address in self._by_address:
            raise ValueError(f"chunk {chunk.address} was settled twice")
        insort(self.addresses, chunk.address)
        self.n_out += chunk.n_out
        self._by_address[chunk.address] = chunk

    def below(self, frontier: Address) -> int:
        """Return the number of final chunks."""
        return bisect_left(self.addresses, frontier)

    def at(self, index: int) -> Chunk:
        return self._by_address[self.addresses[index]]

    def __getitem__(self, address: Address) -> Chunk:
        return self._by_address[address]

    def __iter__(self) -> Iterator[Chunk]:
        return (self._by_address[address] for address in self.addresses)

    def __len__(self) -> int:
        return len(self.addresses)


@dataclass(slots=True)
class Cursor:
    """An ordered consumer's place in its parents' streams: port, chunk in its parent's order, offset."""

    port: int = 0
    index: int = 0
    offset: int = 0


@dataclass(slots=True)
class NodeState:
    """The place of every element of a node.

    An element arrives, is probed, and then is ready, unless it was replayed or has a twin under way; from ready it
    goes under way in a batch, and from there it is settled, delayed for a retry, put among the suspects (its worker
    died), held because another run is at it (and then probed again), returned to ready, or failed.
    """

    plan: PlanNode
    arrived: list[Slice] = field(default_factory=list)
    probing: tuple[Slice, ...] | None = None
    ready: deque[Slice] = field(default_factory=deque)
    n_ready: int = 0
    #: When each may begin, the first first.
    delayed: list[tuple[float, Address, Slice]] = field(default_factory=list)
    suspects: deque[Slice] = field(default_factory=deque)
    #: Elements that other runs have claimed, with the time of their next look-up, the earliest first.
    held: list[tuple[float, Address, Slice]] = field(default_factory=list)
    #: Per source and index of an element that is under way those that equal it.
    twins: dict[Address, dict[int, list[Slice]]] = field(default_factory=dict)
    under_way: dict[int, tuple[Slice, ...]] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)
    open: OpenSet = field(default_factory=OpenSet)
    barrier: Address = END
    chunks: Chunks = field(default_factory=Chunks)
    began: bool = False
    asked_whole: bool = False
    n_arrived: int = 0
    #: Elements that its parents gave so far, whether they arrive one by one, are folded, or are formed into rows.
    n_given: int = 0
    # what ordered consumers have taken
    cursor: Cursor = field(default_factory=Cursor)
    gathering: bool = False
    gathered: int = 0
    gathered_all: bool = False
    accumulator: Span | None = None
    folded: int = 0
    fold_due: float | None = None
    fold_attempt: int = 1
    #: How many elements came before the one that has failed last.
    fold_failed_at: int = -1
    #: For how long to fold before the accumulator is kept (s).
    fold_worth_s: float = 0.0
    # how it ends
    sealing: bool = False
    sealed: bool = False
    # what people see
    computed: int = 0
    replayed: int = 0
    seconds: float = 0.0
    #: The durations of batches (s), and the elements that they ended.
    batch_s: float = 0.0
    batch_elements: int = 0
    failures: list[ElementFailed] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    timers: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    counters: Counter[str] = field(default_factory=Counter)
    seconds_saved: float = 0.0
    saved_by: str = ""
    progress: dict[int, tuple[float, float]] = field(default_factory=dict)
    workers: dict[int, str] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)

    @property
    def mean_s(self) -> float | None:
        """Seconds per computed element so far."""
        return self.seconds / self.computed if self.computed else None

    @property
    def pace_s(self) -> float | None:
        """Seconds per element of a batch so far, all that is done around the calls included."""
        return self.batch_s / self.batch_elements if self.batch_elements else None

    @property
    def is_busy(self) -> bool:
        """True if something is being computed, or will be tried again after a delay."""
        return bool(self.under_way or self.delayed or self.suspects or self.fold_attempt > 1)

    @property
    def n_failed(self) -> int:
        return sum(failure.slice.size for failure in self.failures)

    @property
    def n_under_way(self) -> int:
        return sum(piece.size for slices in self.under_way.values() for piece in slices)

    @property
    def is_quiet(self) -> bool:
        """Nothing is being done at this node."""
        return not (self.under_way or self.probing is not None or self.gathering or self.sealing)

    @property
    def n_out(self) -> int:
        return self.chunks.n_out

    def add_metrics(self, timers: Mapping[str, float], counters: Mapping[str, int]) -> None:
        """Take in what calls timed (s) and counted."""
        for name, seconds in timers.items():
            self.timers[name] += seconds
        for name, count in counters.items():
            self.counters[name] += count

    def arrive(self, piece: Slice) -> None:
        self.arrived.append(piece)
        self.open.add(piece.order)
        self.n_arrived += piece.size

    def delay(self, due: float, piece: Slice) -> None:
        """Let an element wait until a time (s)."""
        insort(self.delayed, (due, piece.order, piece))

    def hold(self, until: float, piece: Slice) -> None:
        """Let an element wait until the store may be asked for it again (s)."""
        insort(self.held, (until, piece.order, piece))

    def to_probe(self, now: float) -> tuple[Slice, ...]:
        """Return the elements to look up in the store: those that arrived, and those held long enough."""
        return (*self.arrived, *(piece for due, _, piece in self.held if due <= now))

    def probe(self, slices: tuple[Slice, ...]) -> None:
        """Note that these elements, all that had arrived and some held ones, are being looked up."""
        self.arrived.clear()
        if self.held:
            asked = set(slices)
            self.held = [each for each in self.held if each[2] not in asked]
        self.probing = slices

    def next_due(self, now: float) -> float | None:
        """When the next delayed retry may begin, or held element be asked for, that may not be already."""
        dues = []
        for waiting in (self.delayed, self.held):
            at = bisect_right(waiting, (now, END))
            dues += [waiting[at][0]] if at < len(waiting) else []
        if self.fold_due is not None and self.fold_due > now:
            dues.append(self.fold_due)
        return min(dues, default=None)

    def take_delayed(self, piece: Slice) -> None:
        """Remove one, which is near the front: it was due."""
        for i, (_, order, _) in enumerate(self.delayed):
            if order == piece.order:
                del self.delayed[i]
                return

    def make_ready(self, piece: Slice, *, first: bool = False) -> None:
        """``first``: before what is ready already."""
        (self.ready.appendleft if first else self.ready.append)(piece)
        self.n_ready += piece.size

    def peek_ready(self, skip: int, size: int) -> tuple[Slice, ...]:
        """Return the next ``size`` ready elements after the first ``skip``."""
        found: list[Slice] = []
        for piece in self.ready:
            if skip >= piece.size:
                skip -= piece.size
                continue
            found.append(piece.cut(skip, min(piece.size, skip + size)))
            size -= found[-1].size
            skip = 0
            if size <= 0:
                break
        return tuple(found)

    def take_ready(self, slices: tuple[Slice, ...]) -> None:
        """Remove exactly these from the front of what is ready."""
        for wanted in slices:
            piece = self.ready.popleft()
            if (piece.source, piece.start) != (wanted.source, wanted.start) or piece.size < wanted.size:
                raise ValueError(f"{wanted} isn't next among what is ready")
            self.n_ready -= wanted.size
            if piece.size > wanted.size:
                rest = piece.cut(wanted.size, piece.size)
                self.ready.appendleft(rest)
                self.open.add(rest.order)


def given(chunk: Chunk, port: Port) -> int:
    """Return the number of elements that a chunk gives to a port."""
    if port.routed and chunk.routed is not None:
        return chunk.routed.get(port.target, 0)
    return chunk.n_lists if port.whole else chunk.n_out
