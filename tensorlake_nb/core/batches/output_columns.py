"""Columns of outputs: how many each element gave, where they lie, their digests, and where each of them travels.

Workers, the store and the tables of a run hold outputs in this one form; only records in a store spell it otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.keys import DIGEST_SIZE
from tensorlake_nb.errors import InternalError

Counts = NDArray[np.int32]
Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]
#: The names of the nodes that an output travels to.
Targets = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The targets of outputs.

    Attributes
    ----------
    table
        Sets of targets; ``None``: everywhere.
    codes
        Per output its place in the table.
    """

    table: tuple[Targets | None, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, each: Iterable[Targets | None]) -> Routes:
        """Return the routes of outputs whose targets are given one by one."""
        table: dict[Targets | None, int] = {}
        codes = [table.setdefault(targets, len(table)) for targets in each]
        return cls(tuple(table), np.array(codes, dtype=np.int32))

    def __len__(self) -> int:
        return len(self.codes)

    def __eq__(self, other: object) -> bool:
        return self.each() == other.each() if isinstance(other, Routes) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_everywhere(self) -> bool:
        """True if all outputs travel everywhere."""
        return not len(self.codes) or (None in self.table and self.used() == {None})

    def used(self) -> set[Targets | None]:
        """Return the sets of targets that some output has."""
        return {self.table[code] for code in set(self.codes.tolist())}

    def each(self) -> tuple[Targets | None, ...]:
        """Return the targets of each output; outputs that travel alike share one tuple."""
        return tuple(self.table[code] for code in self.codes.tolist())

    def to(self, target: str) -> Mask:
        """Tell which outputs travel to a target."""
        return np.array([row is None or target in row for row in self.table], dtype=np.bool_)[self.codes]

    def at(self, places: slice | Positions) -> Routes:
        """Return the routes of some outputs."""
        return Routes(self.table, self.codes[places])


@dataclass(frozen=True, slots=True, eq=False)
class OutputColumns:
    """Outputs of consecutive elements.

    Attributes
    ----------
    counts
        int32 per element: n for a list of n outputs, `BARE` for one bare value; ``None`` if all are bare.
    spans
        Where the outputs lie, one after the other.
    held
        Their digests end to end, 32 bytes each; or what fetches them, once, when something needs them.
    routes
        Where each output travels; ``None``: all travel everywhere.
    """

    counts: Counts | None
    spans: tuple[Span, ...]
    held: bytes | Callable[[], bytes]
    routes: Routes | None = None

    def __post_init__(self) -> None:
        n_out = n_counted = self.n_out
        if self.counts is not None:
            n_bare = int(np.count_nonzero(self.counts == BARE))
            n_counted = int(np.add.reduce(self.counts)) + 2 * n_bare
            if n_bare == len(self.counts):
                object.__setattr__(self, "counts", None)
        n_digests = len(self.held) / DIGEST_SIZE if isinstance(self.held, bytes) else n_out
        n_routed = n_out if self.routes is None else len(self.routes)
        if self.routes is not None and self.routes.is_everywhere:
            object.__setattr__(self, "routes", None)
        if not n_out == n_counted == n_digests == n_routed:
            raise InternalError(f"{n_out} outputs lie there, {n_counted} were counted, {n_digests} have digests")

    def __eq__(self, other: object) -> bool:
        return self.spans == other.spans and self.equals(other) if isinstance(other, OutputColumns) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return OutputColumns, (self.counts, self.spans, self.digests, self.routes)

    def equals(self, other: OutputColumns) -> bool:
        """Return True if the outputs are the same, wherever they lie."""
        return (
            np.array_equal(self.each_count, other.each_count)
            and self.digests == other.digests
            and self.all_routes == other.all_routes
        )

    @property
    def n_out(self) -> int:
        """The number of outputs."""
        return sp.total(self.spans)

    @property
    def size(self) -> int:
        """The number of elements that gave them."""
        return self.n_out if self.counts is None else len(self.counts)

    @property
    def each_count(self) -> Counts:
        """The count of each element, bare ones included."""
        return np.full(self.n_out, BARE, dtype=np.int32) if self.counts is None else self.counts

    @property
    def sizes(self) -> Positions:
        """The number of outputs of each element."""
        return np.where(self.each_count == BARE, 1, self.each_count).astype(np.int64)

    @property
    def starts(self) -> Positions:
        """The position of each element's first output, and one more at the end."""
        return np.concatenate(([0], np.cumsum(self.sizes)))

    @property
    def digests(self) -> bytes:
        """The outputs' digests end to end."""
        return self.held if isinstance(self.held, bytes) else self.held()

    @property
    def all_routes(self) -> Routes:
        """The targets of each output, also if all travel everywhere."""
        return Routes((None,), np.zeros(self.n_out, dtype=np.int32)) if self.routes is None else self.routes

    def spelled(self, declared: Targets | None) -> OutputColumns:
        """Return the same with all targets by name and in order; without routes where none are ``declared``."""
        if declared is None:
            return OutputColumns(self.counts, self.spans, self.held)
        routes = self.all_routes
        table = [tuple(sorted(declared if row is None else row)) for row in routes.table]
        return OutputColumns(self.counts, self.spans, self.held, Routes.of(table[i] for i in routes.codes.tolist()))

    def travelling(self, target: str | None) -> Positions:
        """Return the elements that travel to a target, or anywhere: those with outputs, by where the first one goes."""
        if self.routes is None or target is None:
            return np.arange(self.size) if self.counts is None else np.flatnonzero(self.counts)
        elements = np.flatnonzero(self.each_count)
        return elements[self.routes.to(target)[self.starts[elements]]]

    def cut(self, start: int, stop: int) -> OutputColumns:
        """Return what elements ``start`` to ``stop - 1`` gave."""
        if start == 0 and stop == self.size:
            return self
        low, high, counts = start, stop, None
        if self.counts is not None:
            starts, counts = self.starts, self.counts[start:stop]
            low, high = int(starts[start]), int(starts[stop])
        digests = self.digests[DIGEST_SIZE * low : DIGEST_SIZE * high]
        routes = None if self.routes is None else self.routes.at(slice(low, high))
        return OutputColumns(counts, sp.cut(self.spans, low, high), digests, routes)

    def pick(self, elements: Positions) -> OutputColumns:
        """Return what the elements at some positions gave, in that order."""
        outputs, counts = elements, None
        if self.counts is not None:
            counts, sizes = self.counts[elements], self.sizes[elements]
            ends = np.cumsum(sizes)
            outputs = np.arange(sizes.sum()) + np.repeat(self.starts[elements] - (ends - sizes), sizes)
        routes = None if self.routes is None else self.routes.at(outputs)
        return OutputColumns(counts, sp.pick(self.spans, outputs), picked(self.digests, outputs), routes)

    def one_by_one(self) -> OutputColumns:
        """Return each output as an element of its own."""
        return self if self.counts is None else OutputColumns(None, self.spans, self.held, self.routes)

    def as_list(self) -> OutputColumns:
        """Return all outputs as the list that one element gave."""
        return OutputColumns(np.array([self.n_out], dtype=np.int32), self.spans, self.held, self.routes)


#: The outputs of no elements, and of one element without outputs.
NO_ELEMENTS = OutputColumns(None, (), b"")
NO_OUTPUTS = NO_ELEMENTS.as_list()


def picked(digests: bytes, places: Positions) -> bytes:
    """Return the digests at some positions, end to end as those that they are picked from."""
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_SIZE)[places].tobytes()


def concat(parts: Sequence[OutputColumns]) -> OutputColumns:
    """Return the outputs of all parts' elements end to end."""
    if len(parts) == 1:
        return parts[0]
    counts = routes = None
    if any(part.counts is not None for part in parts):
        counts = np.concatenate([part.each_count for part in parts])
    if any(part.routes is not None for part in parts):
        table: dict[Targets | None, int] = {}
        codes = []
        for part in parts:
            its = part.all_routes
            codes.append(np.array([table.setdefault(row, len(table)) for row in its.table], dtype=np.int32)[its.codes])
        routes = Routes(tuple(table), np.concatenate(codes))
    spans = sp.joined(span for part in parts for span in part.spans)
    return OutputColumns(counts, spans, b"".join(part.digests for part in parts), routes)
