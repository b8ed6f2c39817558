"""Laws of columns of outputs: they behave as the lists of elements that they stand for."""

from __future__ import annotations

import pickle
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.batches.output_columns import NO_ELEMENTS, NO_OUTPUTS, OutputColumns, Routes, Targets, concat
from tensorlake_nb.core.batches.spans import joined
from tensorlake_nb.core.keys import one_by_one
from tensorlake_nb.errors import InternalError


class Output(NamedTuple):
    """One output: where it lies, its digest, and where it travels."""

    place: Span
    digest: bytes
    targets: Targets | None


class Element(NamedTuple):
    given: int
    outputs: list[Output]


targets = st.none() | st.lists(st.sampled_from(["left", "right", "up"]), unique=True).map(tuple)
outputs = st.builds(
    lambda segment, at, number, goes: Output(Span(segment, at, at + 1), bytes([number]) * 32, goes),
    st.sampled_from("ab"),
    *[st.integers(0, 9)] * 2,
    targets,
)
elements = st.lists(
    st.one_of(
        outputs.map(lambda one: Element(BARE, [one])),
        st.lists(outputs, max_size=3).map(lambda several: Element(len(several), several)),
    ),
    max_size=6,
)
bare = st.lists(outputs.map(lambda one: Element(BARE, [one])), max_size=6)


def columns_of(meant: list[Element], *, late: bool = False) -> OutputColumns:
    each = [output for element in meant for output in element.outputs]
    digests = b"".join(output.digest for output in each)
    return OutputColumns(
        np.array([element.given for element in meant], dtype=np.int32),
        joined(output.place for output in each),
        (lambda: digests) if late else digests,
        Routes.of(output.targets for output in each),
    )


def elements_of(columns: OutputColumns) -> list[Element]:
    places = [Span(span.segment, at, at + 1) for span in columns.spans for at in range(span.start, span.stop)]
    found = map(Output, places, one_by_one(columns.digests), columns.all_routes.each())
    return [
        Element(count, [next(found) for _ in range(1 if count == BARE else count)])
        for count in columns.each_count.tolist()
    ]


@given(elements | bare, st.booleans())
def test_columns_hold_what_was_put_in_and_travel_between_processes(meant: list[Element], late: bool) -> None:
    columns = columns_of(meant, late=late)

    assert elements_of(columns) == meant
    assert columns.size == len(meant)
    assert columns.n_out == columns.sizes.sum() == columns.starts[-1] == sum(len(each.outputs) for each in meant)
    assert (columns.counts is None) == all(each.given == BARE for each in meant)
    assert (columns.routes is None) == all(one.targets is None for each in meant for one in each.outputs)
    assert pickle.loads(pickle.dumps(columns)) == columns == columns_of(meant)


@given(elements | bare, st.data())
def test_a_cut_is_a_slice_of_the_elements(meant: list[Element], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(meant)))
    stop = data.draw(st.integers(start, len(meant)))

    assert elements_of(columns_of(meant).cut(start, stop)) == meant[start:stop]


@given(elements | bare, st.data())
def test_picked_elements_are_the_chosen_ones_in_the_chosen_order(meant: list[Element], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(meant))), max_size=8) if meant else st.just([]))

    assert elements_of(columns_of(meant).pick(np.array(chosen, dtype=np.int64))) == [meant[i] for i in chosen]


@given(st.lists(elements | bare, max_size=4))
def test_parts_put_together_are_their_elements_end_to_end(parts: list[list[Element]]) -> None:
    everything = [element for part in parts for element in part]
    whole = concat([columns_of(part) for part in parts])

    assert elements_of(whole) == everything
    assert whole == columns_of(everything)


@given(elements | bare)
def test_outputs_one_by_one_or_as_one_list_are_the_same_outputs(meant: list[Element]) -> None:
    columns, each = columns_of(meant), [output for element in meant for output in element.outputs]

    assert elements_of(columns.one_by_one()) == [Element(BARE, [output]) for output in each]
    assert elements_of(columns.as_list()) == [Element(len(each), each)]


@given(elements | bare, st.sampled_from(["left", "right", "nowhere"]) | st.none())
def test_an_element_travels_if_it_has_outputs_by_where_the_first_one_goes(
    meant: list[Element], target: str | None
) -> None:
    def goes(output: Output) -> bool:
        return target is None or output.targets is None or target in output.targets

    travel = [i for i, each in enumerate(meant) if each.outputs and goes(each.outputs[0])]

    assert columns_of(meant).travelling(target).tolist() == travel


@given(elements | bare)
def test_spelled_out_targets_are_names_in_order_each_set_once(meant: list[Element]) -> None:
    columns = columns_of(meant)
    spelled = columns.spelled(("right", "left"))
    names = [sorted(("left", "right") if output.targets is None else output.targets) for output in _all(meant)]

    assert [list(each or ()) for each in spelled.all_routes.each()] == names
    assert spelled.routes is None or list(spelled.routes.table) == [*dict.fromkeys(map(tuple, names))]
    assert columns.spelled(None).routes is None
    assert elements_of(spelled.spelled(None)) == elements_of(columns.spelled(None))


@given(elements | bare)
def test_routes_come_back_from_targets_one_by_one(meant: list[Element]) -> None:
    routes = Routes.of(output.targets for output in _all(meant))

    assert Routes.of(routes.each()) == routes
    for target in ("left", "right", "up"):
        expected = [output.targets is None or target in output.targets for output in _all(meant)]
        assert routes.to(target).tolist() == expected


@given(elements | bare, st.booleans())
def test_outputs_are_equal_wherever_they_lie_and_unequal_if_one_differs(meant: list[Element], moved: bool) -> None:
    columns = columns_of(meant)
    elsewhere = [
        Element(count, [one._replace(place=Span("c", at, at + 1)) for at, one in enumerate(several)])
        for count, several in meant
    ]
    others = [Element(count, [one._replace(digest=b"x" * 32) for one in several]) for count, several in meant]

    assert columns.equals(columns_of(elsewhere))
    assert columns.equals(columns_of(others)) == (not _all(meant))
    assert (columns == columns_of(elsewhere)) == (not _all(meant))


def test_digests_are_fetched_only_when_something_needs_them() -> None:
    def never() -> bytes:
        raise AssertionError("nothing here needs a digest")

    columns = OutputColumns(np.array([2, BARE], dtype=np.int32), (Span("a", 0, 3),), never, None)

    assert (columns.size, columns.n_out, columns.sizes.tolist()) == (2, 3, [2, 1])
    assert columns.one_by_one().travelling("left").tolist() == [0, 1, 2]


def test_nothing_is_no_elements_or_one_that_gave_nothing() -> None:
    assert (NO_ELEMENTS.size, NO_OUTPUTS.size, NO_ELEMENTS.n_out, NO_OUTPUTS.n_out) == (0, 1, 0, 0)
    assert concat([]) == NO_ELEMENTS


@pytest.mark.parametrize(
    ("counts", "digests", "routes"), [([2], 1, 1), ([BARE, BARE], 1, 1), ([1], 2, 1), ([1], 1, 2), ([1, 1], 1, 1)]
)
def test_columns_of_different_lengths_are_refused(counts: list[int], digests: int, routes: int) -> None:
    with pytest.raises(InternalError):
        OutputColumns(
            np.array(counts, dtype=np.int32), (Span("a", 0, 1),), bytes(32 * digests), Routes.of([("left",)] * routes)
        )


def _all(meant: list[Element]) -> list[Output]:
    return [output for element in meant for output in element.outputs]
