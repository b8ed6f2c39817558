"""The columns of a batch → the arguments of its calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import BARE, Column, Span
from tensorlake_nb.core.functions.binding import Binder
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.codecs.codec import through_json

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

#: Values of a run's inputs come as one dict of arguments.
KEYWORDS = "**"
_AHEAD_S = 0.005
_MOST_AHEAD = 256


class Inputs:
    """The inputs of a batch's elements; every value is a fresh copy.

    Small values are read some elements ahead: many at once cost little more than one.
    """

    def __init__(
        self, columns: Sequence[Column], store: Store, resolver: ClassResolver, binder: Binder, encoder: str
    ) -> None:
        self._columns = [_Places(column) for column in columns]
        self._store, self._resolver, self._binder = store, resolver, binder
        self._as_json = encoder == "json"
        self._ahead: dict[int, list[Any]] = {}
        self._how_many = 1
        #: True if each element has values by name, put together from several columns.
        self.is_row = any(column.into not in (None, KEYWORDS) for column in self._columns)
        self._names = [column.into or "" for column in self._columns]
        self._binds_row = self.is_row or (bool(columns) and columns[0].into == KEYWORDS)

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return min(column.size for column in self._columns)

    @property
    def is_named(self) -> bool:
        """True if an element's input is a dict of values by parameter name."""
        return self._binds_row

    @property
    def by_reference(self) -> bool:
        """True if each element is one stored value, which can travel on as it lies."""
        return len(self._columns) == 1 and self._columns[0].is_plain

    def spans(self, start: int, stop: int) -> tuple[Span, ...]:
        """Return the places of some elements' values, of the only column."""
        return self._columns[0].spans(start, stop)

    def value(self, offset: int) -> Any:
        """Return an element's input: a value, or a dict of values by parameter name."""
        values = self._values(offset)
        if self._as_json:
            values = [through_json(value) for value in values]
        if self.is_row:
            return dict(zip(self._names, values, strict=True))
        return values[0]

    def holds(self, offset: int) -> bool:
        """Return True if an element's input has been read already."""
        return offset in self._ahead

    def arguments(self, value: Any) -> Arguments:
        """Bind what `value` gave.

        Raises
        ------
        BindingError
            It doesn't fit the parameters.
        """
        if self._binds_row:
            return self._binder.bind_row(value)
        return self._binder.bind(value)

    def travelling(self, value: Any) -> Any:
        """Return what a router passes on of `value`: the value itself; of keyword arguments, the only one if there is
        one.
        """
        if self._columns[0].into == KEYWORDS and isinstance(value, dict) and len(value) == 1:
            return next(iter(value.values()))
        return value

    def _values(self, offset: int) -> list[Any]:
        found = self._ahead.pop(offset, None)
        if found is not None:
            return found
        self._ahead.clear()
        stop = min(offset + self._how_many, self.size)
        began = time.perf_counter()
        try:
            self._read(offset, stop)
        except Exception:  # one that can't be read must not spoil those before it
            if stop - offset == 1:
                raise
            self._ahead.clear()
            self._how_many = 1
            self._read(offset, offset + 1)
        else:
            quick = time.perf_counter() - began < _AHEAD_S
            self._how_many = min(self._how_many * 2, _MOST_AHEAD) if quick else max(1, self._how_many // 4)
        return self._ahead.pop(offset)

    def _read(self, start: int, stop: int) -> None:
        read = [column.read(start, stop, self._store, self._resolver) for column in self._columns]
        for number, offset in enumerate(range(start, stop)):
            self._ahead[offset] = [values[number] for values in read]


class _Places:
    """Return the places of one column's values, by element."""

    def __init__(self, column: Column) -> None:
        self.into = column.into
        self._spans = column.spans
        self._groups = None if column.groups is None else np.frombuffer(column.groups, dtype=np.int32)
        if self._groups is None:
            self.size = sp.total(column.spans)
        else:
            self.size = len(self._groups)
            lengths = np.where(self._groups == BARE, 1, self._groups)
            self._starts = np.concatenate(([0], np.cumsum(lengths))).tolist()

    @property
    def is_plain(self) -> bool:
        return self.into is None and self._groups is None

    def spans(self, start: int, stop: int) -> tuple[Span, ...]:
        if self._groups is not None:
            start, stop = self._starts[start], self._starts[stop]
        return sp.cut(self._spans, start, stop)

    def read(self, start: int, stop: int, store: Store, resolver: ClassResolver) -> list[Any]:
        values = store.read(self.spans(start, stop), resolver)
        if self._groups is None:
            return values
        base = self._starts[start]
        given: list[Any] = []
        for element in range(start, stop):
            low, high = self._starts[element] - base, self._starts[element + 1] - base
            given.append(values[low] if self._groups[element] == BARE else values[low:high])
        return given
