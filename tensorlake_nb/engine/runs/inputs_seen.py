"""The inputs of a node's elements, looked up on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.streams.rows import join
from tensorlake_nb.core.streams.tables import Elements, Streams
from tensorlake_nb.errors import UsageError

Read = Callable[[Sequence[Span]], list[Any]]


class Arrivals(Sequence[Any]):
    """A lazy sequence of what a node's elements were given, in stream order.

    An element of a join is a dict by parameter, one of the start node the run's inputs by name.
    """

    def __init__(self, node: str, columns: Sequence[tuple[str | None, Sequence[Elements]]], read: Read) -> None:
        self._node, self._columns, self._read = node, columns, read
        self._ends = [np.cumsum([part.size for part in parts], dtype=np.int64) for _, parts in columns]
        self._size = int(self._ends[0][-1]) if columns and columns[0][1] else 0

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._size))]
        position = index + self._size if index < 0 else index
        if not 0 <= position < self._size:
            raise IndexError(f"index {index} is out of range: {self._node!r} received {self._size} elements")
        values = {into: self._value(column, position) for column, (into, _) in enumerate(self._columns)}
        return values.get(None, values)

    def __repr__(self) -> str:
        return f"<{self._size} element{'' if self._size == 1 else 's'} given to {self._node!r}>"

    def _value(self, column: int, position: int) -> Any:
        ends = self._ends[column]
        part = int(np.searchsorted(ends, position, side="right"))
        within = position - (int(ends[part - 1]) if part else 0)
        element = self._columns[column][1][part].cut(within, within + 1)
        values = self._read(element.spans)
        return values[0] if element.outputs.counts is None else values


def arrivals(streams: Streams, node: str, read: Read) -> Arrivals:
    """Return a node's inputs, out of the streams that its run knows.

    Raises
    ------
    UsageError
        It is a join whose sides don't match.
    """
    planned = streams.plan.nodes[node]
    if planned.gather == "join":
        try:
            rows = join(streams, node)
        except Exception as error:
            raise UsageError(f"what comes to {node!r} can't be matched: {error}") from error
        return Arrivals(node, [(into, [elements]) for into, elements in rows.columns], read)
    if not planned.ports:
        return Arrivals(node, [(None, [streams.inputs])], read)
    parts = [elements for port in range(len(planned.ports)) for _, elements in streams.port_elements(node, port)]
    return Arrivals(node, [(None, parts)], read)
