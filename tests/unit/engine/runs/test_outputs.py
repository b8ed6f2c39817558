"""A node's outputs as a sequence, compared with a list."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.engine.runs.outputs import Outputs


def outputs(sizes: Sequence[int]) -> Outputs[Any]:
    """Outputs 0, 1, 2 … in segments of the given sizes, each beginning at 3."""
    ends = [0, *accumulate(sizes)]
    base = {f"s/{i}": start for i, start in enumerate(ends)}
    spans = [Span(f"s/{i}", 3, 3 + stop - start) for i, (start, stop) in enumerate(pairwise(ends))]

    def read(wanted: Sequence[Span]) -> list[int]:
        return [base[span.segment] + i - 3 for span in wanted for i in range(span.start, span.stop)]

    def open_array(wanted: Sequence[Span]) -> Any:
        raise NotImplementedError

    return Outputs("node", spans, read, open_array, open_array)


sizes = st.lists(st.integers(0, 5), max_size=6)
bounds = st.none() | st.integers(-40, 40)


@given(sizes, bounds, bounds, bounds.filter(lambda step: step != 0))
def test_a_slice_is_what_a_list_gives(sizes: list[int], start: int | None, stop: int | None, step: int | None) -> None:
    whole = outputs(sizes)
    values = list(range(sum(sizes)))

    assert [*whole] == values
    assert len(whole[start:stop:step]) == len(values[start:stop:step])
    assert [*whole[start:stop:step]] == values[start:stop:step]
    assert [*whole[start:stop:step][::-1]] == values[start:stop:step][::-1]


@given(sizes, st.integers(-40, 40))
def test_an_index_is_what_a_list_gives(sizes: list[int], index: int) -> None:
    values = list(range(sum(sizes)))
    if -len(values) <= index < len(values):
        assert outputs(sizes)[index] == values[index]
    else:
        with pytest.raises(IndexError, match=f"index {index} is out of range: .* has {len(values)} outputs"):
            outputs(sizes)[index]


def test_a_hundred_thousand_outputs_in_as_many_segments_are_read_in_linear_time() -> None:
    size = 100_000
    many = outputs([1] * size)

    assert sum(1 for _ in many) == size
    assert len(many[::-1].spans) == size
    assert [many[i] for i in range(0, size, 100)] == list(range(0, size, 100))
