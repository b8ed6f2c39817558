"""A node's outputs, read from the store when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import Span

if TYPE_CHECKING:
    import dask.array
    import zarr

T_co = TypeVar("T_co", covariant=True)

#: How many values an iteration reads at once.
_AT_ONCE = 256


class Outputs(Sequence[T_co]):
    """A lazy sequence of a node's outputs, in stream order.

    Indexing and iterating read and check values; a slice is again lazy.

    Parameters
    ----------
    read, open_array, open_zarr
        Read the values of some spans; open them as one array, lazily as it lies or as one of Zarr.
    """

    def __init__(
        self,
        node: str,
        spans: Sequence[Span],
        read: Callable[[Sequence[Span]], list[Any]],
        open_array: Callable[[Sequence[Span]], Any],
        open_zarr: Callable[[Sequence[Span]], Any],
    ) -> None:
        self._node, self._spans = node, tuple(spans)
        self._read, self._open_array, self._open_zarr = read, open_array, open_zarr
        self._ends = np.cumsum([len(span) for span in self._spans], dtype=np.int64)
        self._size = int(self._ends[-1]) if self._spans else 0

    @property
    def spans(self) -> tuple[Span, ...]:
        """The places of the outputs in the store."""
        return self._spans

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Outputs[T_co]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            picked = range(*index.indices(self._size))
            if picked.step == 1:
                spans = self._cut(picked.start, max(picked.stop, picked.start))
            else:
                spans = sp.pick(self._spans, np.arange(picked.start, picked.stop, picked.step, dtype=np.int64))
            return Outputs(self._node, spans, self._read, self._open_array, self._open_zarr)
        position = index + self._size if index < 0 else index
        if not 0 <= position < self._size:
            raise IndexError(f"index {index} is out of range: {self._node!r} has {self._size} outputs")
        (value,) = self._read(self._cut(position, position + 1))
        return value

    def __iter__(self) -> Iterator[T_co]:
        for start in range(0, self._size, _AT_ONCE):
            yield from self._read(self._cut(start, min(start + _AT_ONCE, self._size)))

    def _cut(self, start: int, stop: int) -> tuple[Span, ...]:
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop, side="left"))
        before = int(self._ends[first - 1]) if first else 0
        return sp.cut(self._spans[first : last + 1], start - before, stop - before)

    def __repr__(self) -> str:
        return f"<{self._size} output{'' if self._size == 1 else 's'} of {self._node!r}>"

    def as_dask(self) -> dask.array.Array:
        """All outputs as one lazy Dask array of shape ``(n, *shape)``.

        Raises
        ------
        UsageError
            They aren't arrays of one shape and dtype.
        """
        import dask.array  # here and not at the top: it takes a quarter of a second, and few runs need it

        opened = self._open_array(self._spans)
        stacked: dask.array.Array = opened if isinstance(opened, dask.array.Array) else dask.array.from_zarr(opened)
        return stacked

    def as_zarr(self) -> zarr.Array[Any]:
        """All outputs as one ``zarr.Array`` of shape ``(n, *shape)``.

        Raises
        ------
        UsageError
            They aren't arrays of one shape and dtype.
        """
        opened: zarr.Array[Any] = self._open_zarr(self._spans)
        return opened
