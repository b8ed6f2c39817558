"""Boxes stand in columns, in order, apart, and wires point to the right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.notebook.drawing.layout import Positions, place

HEIGHT, GAP_X, GAP_Y = 40.0, 50.0, 10.0


def placed(names: str, *wires: str) -> Positions:
    return place(
        dict.fromkeys(names, 100.0),
        [(wire[0], wire[1]) for wire in wires],
        box_height=HEIGHT,
        gap_x=GAP_X,
        gap_y=GAP_Y,
    )


def test_a_chain_is_a_row() -> None:
    drawn = placed("abc", "ab", "bc")

    assert [drawn.centres[name].x for name in "abc"] == [50, 200, 350]
    assert {drawn.centres[name].y for name in "abc"} == {HEIGHT / 2}
    assert (drawn.width, drawn.height) == (400, HEIGHT)


def test_two_branches_stand_above_each_other_and_their_parent_between_them() -> None:
    drawn = placed("abc", "ab", "ac")

    assert drawn.centres["b"].x == drawn.centres["c"].x
    assert drawn.centres["c"].y - drawn.centres["b"].y == HEIGHT + GAP_Y
    assert drawn.centres["a"].y == pytest.approx((drawn.centres["b"].y + drawn.centres["c"].y) / 2, abs=0.5)


def test_a_wire_that_passes_a_column_keeps_clear_of_its_boxes() -> None:
    drawn = placed("abc", "ab", "bc", "ac")

    passing = drawn.routes[2][1:-1]

    assert [point.x for point in passing] == [150, 250], "level across the whole column"
    assert abs(passing[0].y - drawn.centres["b"].y) >= HEIGHT / 2 + GAP_Y


def test_crossings_that_can_be_avoided_are() -> None:
    drawn = placed("abcd", "ad", "bc")

    assert (drawn.centres["a"].y < drawn.centres["b"].y) == (drawn.centres["d"].y < drawn.centres["c"].y)


def test_a_cycle_is_drawn_with_one_wire_backwards() -> None:
    drawn = placed("abc", "ab", "bc", "ca")

    backwards = [route for route in drawn.routes if route[0].x > route[-1].x]

    assert [route[0] for route in backwards] == [drawn.centres["c"]]


def test_an_empty_graph_has_no_size() -> None:
    assert placed("") == Positions({}, (), 0.0, 0.0)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    names = [f"n{i}" for i in range(draw(st.integers(1, 12)))]
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    return names, draw(st.lists(pairs, max_size=25))


@given(graphs())
def test_whatever_the_wires_no_two_boxes_touch_and_all_lie_in_the_picture(
    graph: tuple[list[str], list[tuple[str, str]]],
) -> None:
    names, wires = graph
    widths = {name: 60.0 + 10 * i for i, name in enumerate(names)}

    drawn = place(widths, wires, box_height=HEIGHT, gap_x=GAP_X, gap_y=GAP_Y)

    assert len(drawn.routes) == len(wires)
    for i, one in enumerate(names):
        here = drawn.centres[one]
        assert widths[one] / 2 - 0.01 <= here.x <= drawn.width - widths[one] / 2 + 0.01
        assert HEIGHT / 2 - 0.01 <= here.y <= drawn.height - HEIGHT / 2 + 0.01
        for other in names[i + 1 :]:
            there = drawn.centres[other]
            apart_x = abs(here.x - there.x) >= (widths[one] + widths[other]) / 2
            apart_y = abs(here.y - there.y) >= HEIGHT + GAP_Y - 0.01
            assert apart_x or apart_y


@given(graphs())
def test_wires_begin_and_end_at_their_boxes_and_only_those_of_a_cycle_point_back(
    graph: tuple[list[str], list[tuple[str, str]]],
) -> None:
    names, wires = graph
    acyclic = [(a, b) for a, b in wires if int(a[1:]) < int(b[1:])]

    drawn = place(dict.fromkeys(names, 80.0), acyclic, box_height=HEIGHT, gap_x=GAP_X, gap_y=GAP_Y)

    for (a, b), route in zip(acyclic, drawn.routes, strict=True):
        assert (route[0], route[-1]) == (drawn.centres[a], drawn.centres[b])
        assert [point.x for point in route] == sorted(point.x for point in route)
        assert route[0].x < route[-1].x
