"""Laws of ranges: spans and slices behave as the lists of elements that they stand for."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.positions import END, Slice, take

span_lists = st.lists(
    st.builds(
        lambda name, start, size: Span(name, start, start + size), st.sampled_from("ab"), *[st.integers(0, 9)] * 2
    ),
    max_size=8,
)
slice_lists = st.lists(
    st.builds(lambda source, start, size: Slice((0, source), start, start + size), *[st.integers(0, 9)] * 3), max_size=8
).map(tuple)


def elements(spans: tuple[Span, ...] | list[Span]) -> list[tuple[str, int]]:
    return [(span.segment, i) for span in spans for i in range(span.start, span.stop)]


def singles(slices: tuple[Slice, ...]) -> list[tuple[tuple[int, ...], int, int]]:
    return [(piece.source, i, piece.attempt) for piece in slices for i in range(piece.start, piece.stop)]


@given(span_lists)
def test_joined_spans_hold_the_same_and_none_is_empty_or_could_be_joined(spans: list[Span]) -> None:
    joined = sp.joined(spans)

    assert elements(joined) == elements(spans)
    assert sp.total(joined) == sp.total(spans) == len(elements(spans))
    assert all(len(span) for span in joined)
    assert not any(a.segment == b.segment and a.stop == b.start for a, b in itertools.pairwise(joined))


@given(span_lists, st.integers(0, 80), st.integers(0, 80))
def test_a_cut_is_a_slice_of_the_list(spans: list[Span], start: int, stop: int) -> None:
    assert elements(sp.cut(spans, start, stop)) == elements(spans)[start:stop]


@given(span_lists, st.data())
def test_picked_spans_are_the_chosen_elements_in_the_chosen_order(spans: list[Span], data: st.DataObject) -> None:
    everything = elements(spans)
    places = st.integers(0, max(len(everything) - 1, 0))
    positions = data.draw(st.lists(places, max_size=20 if everything else 0))

    picked = sp.pick(spans, np.array(positions, dtype=np.int64))

    assert elements(picked) == [everything[i] for i in positions]


@given(slice_lists, st.integers(0, 80), st.integers(0, 80))
def test_taking_from_slices_is_slicing_their_elements(slices: tuple[Slice, ...], start: int, stop: int) -> None:
    assert singles(take(slices, start, stop)) == singles(slices)[start:stop]
    assert all(piece.size for piece in take(slices, start, stop))


@given(slice_lists)
def test_addresses_sort_like_orders_and_parts_and_stand_before_the_end(slices: tuple[Slice, ...]) -> None:
    by_order = sorted(slices, key=lambda piece: piece.order)

    assert [piece.order for piece in sorted(slices, key=lambda piece: piece.address())] == [p.order for p in by_order]
    assert all(piece.address(0) < piece.address(1) < END for piece in slices)
    assert all(piece.cut(0, piece.size) == piece for piece in slices)
