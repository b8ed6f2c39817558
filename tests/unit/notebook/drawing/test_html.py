"""Graphs and runs as text and as HTML: constant where it has to be, escaped, complete without colours."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.notebook.drawing.html import html, plain, progress_html, svg
from tensorlake_nb.notebook.drawing.picture import Box, BoxCounts, Picture, Wire, of_definition, paths

CHAIN = Picture(
    "pipeline",
    "fetch",
    (Box("fetch", about="Get a page."), Box("parse"), Box("total", "reducer")),
    (Wire("fetch", "parse"), Wire("parse", "total")),
)
BRANCHES = Picture(
    "documents",
    "load",
    (Box("load"), Box("by_kind", "router"), Box("text"), Box("images"), Box("merge")),
    (
        Wire("load", "by_kind"),
        Wire("by_kind", "text", routed=True),
        Wire("by_kind", "images", routed=True),
        Wire("text", "merge", into="left"),
        Wire("images", "merge", into="right"),
    ),
)


def counts(**numbers: int) -> dict[str, int | None]:
    return dict(numbers)


class Reader(HTMLParser):
    """Collects tags and text as a browser would."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def test_a_graph_reads_as_one_line() -> None:
    assert plain(CHAIN) == "Graph 'pipeline': fetch → parse → total (3 functions)"


def test_branches_read_as_the_paths_that_wire_understands() -> None:
    assert plain(BRANCHES) == (
        "Graph 'documents': load → by_kind → text → merge; by_kind → images → merge (5 functions)"
    )


def test_a_graph_of_one_function_is_its_name() -> None:
    assert plain(Picture("one", "only", (Box("only"),), ())) == "Graph 'one': only (1 function)"


def test_a_run_reads_the_same_whatever_was_replayed() -> None:
    first = CHAIN.with_counts({"fetch": counts(computed=3, total=3)}, "succeeded")
    second = CHAIN.with_counts({"fetch": counts(replayed=3, total=3)}, "succeeded")

    assert plain(first) == plain(second) == "Run of 'pipeline': succeeded"


@pytest.mark.parametrize("picture", [CHAIN, BRANCHES], ids=lambda picture: picture.name)
def test_the_drawing_is_well_formed_and_says_what_it_is(picture: Picture) -> None:
    root = ElementTree.fromstring(svg(picture))

    assert root.get("role") == "img"
    assert root.get("aria-label") == plain(picture)


def test_the_three_kinds_have_three_shapes() -> None:
    outlines = {}
    for kind in ("function", "router", "reducer"):
        drawing = ElementTree.fromstring(svg(Picture("g", "x", (Box("x", kind),), ())))
        boxes = [g for g in drawing if any(child.tag.endswith("title") for child in g)]
        outlines[kind] = next(child for child in boxes[0] if child.tag.endswith("path")).get("d")

    assert len(set(outlines.values())) == 3, outlines


def test_routed_wires_are_dashed_and_joined_ones_carry_their_parameter() -> None:
    drawing = ElementTree.fromstring(svg(BRANCHES))
    texts = [text.text for text in drawing.iter() if text.tag.endswith("text")]

    assert sum("stroke-dasharray" in path.attrib for path in drawing.iter()) == 2
    assert {"left", "right"} <= set(texts)


def test_states_are_told_by_words_glyphs_and_borders() -> None:
    run = CHAIN.with_counts(
        {"fetch": counts(replayed=97, computed=3, total=100), "parse": counts(failed=2, computed=98, total=100)},
        "failed",
    )
    words = "".join(Reader(html(run)).words)

    assert "✓ 97 replayed, 3 computed" in words
    assert "✕ 2 failed, 98 computed" in words
    assert "– not reached" in words


def test_a_fully_replayed_node_has_a_dashed_border() -> None:
    run = CHAIN.with_counts({name: counts(replayed=5, total=5) for name in ("fetch", "parse", "total")}, "succeeded")

    assert svg(run).count('stroke-dasharray="6 3"') == 3


def test_the_table_says_what_the_drawing_says() -> None:
    text = " ".join(Reader(html(BRANCHES)).words)

    for expected in ("by_kind (when routed)", "text as left", "images as right", "the run's inputs", "router"):
        assert expected in text


def test_colours_come_from_jupyterlab_with_a_fallback_each() -> None:
    run = CHAIN.with_counts({"fetch": counts(running=1, total=2)}, "running")
    for variable in re.findall(r"var\([^()]*(?:\([^()]*\))?[^()]*\)", html(run)):
        assert variable.startswith("var(--jp-"), variable
        assert "," in variable, f"{variable} has no fallback"


def test_problems_are_listed_above_the_drawing() -> None:
    broken = Picture("broken", "a", (Box("a"), Box("b")), (), problems=("node 'b' can't be <reached>",))

    assert "node 'b' can't be <reached>" in "".join(Reader(html(broken)).words)


hostile = st.one_of(
    st.text(min_size=1, max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "a" * 10_000,
            "‮drawkcab",
            "\x1b[31mred",
            "é👩‍🔬",
        ]
    ),
)


@given(name=hostile, about=hostile, into=hostile)
def test_whatever_the_user_names_things_the_page_has_only_our_tags(name: str, about: str, into: str) -> None:
    boxes = (Box("start", about=about), Box(name or "x", "router", about))
    picture = Picture(name, "start", boxes, (Wire("start", name or "x", into),), about=about, problems=(about,))
    run = picture.with_counts({"start": counts(failed=1, total=1)}, "failed")

    for page in (html(picture), html(run), progress_html(run)):
        reader = Reader(page)
        assert not reader.open
        assert set(reader.tags) <= {
            *("div", "style", "strong", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"),
            *("svg", "g", "path", "text", "title", "progress"),
        }
        assert not [attribute for attribute in reader.attributes if attribute[1].startswith("on")]
        assert not re.search("[\x00-\x08\x0b-\x1f\u200b-\u200f\u202a-\u202e]", page)
        assert len(page) < 60_000
    ElementTree.fromstring(svg(picture))


def test_long_names_are_cut_in_the_drawing_and_whole_in_the_tooltip() -> None:
    name = "a_function_whose_name_goes_on_and_on_and_on"
    drawing = ElementTree.fromstring(svg(Picture("g", name, (Box(name),), ())))
    labels = [node.text or "" for node in drawing.iter() if node.tag.endswith("text")]
    titles = [node.text or "" for node in drawing.iter() if node.tag.endswith("title")]

    assert labels[0].endswith("…")
    assert len(labels[0]) <= 24
    assert titles[0].startswith(name)


def test_wide_characters_get_wide_boxes() -> None:
    narrow = ElementTree.fromstring(svg(Picture("g", "x", (Box("x" * 12),), ())))
    wide = ElementTree.fromstring(svg(Picture("g", "x", (Box("索" * 12),), ())))

    assert float(wide.get("width") or 0) > float(narrow.get("width") or 0)


def test_progress_shows_bars_while_it_runs_and_one_line_when_it_is_over() -> None:
    numbers = {"fetch": counts(computed=2, running=1, pending=7, total=10)}
    under_way = progress_html(CHAIN.with_counts(numbers, "running"))
    over = progress_html(CHAIN.with_counts({"fetch": counts(computed=10, total=10)}, "succeeded"))

    assert ("progress", "value", "2") in Reader(under_way).attributes
    assert "▶ 2/10" in "".join(Reader(under_way).words)
    assert "progress" not in Reader(over).tags
    assert "fetch: 10 computed" in "".join(Reader(over).words)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=15))
def test_paths_use_every_wire_exactly_once(pairs: list[tuple[str, str]]) -> None:
    wires = [Wire(a, b) for a, b in pairs]

    walked = [pair for path in paths("a", wires) for pair in pairwise(path)]

    assert sorted(walked) == sorted(pairs)


@pytest.mark.parametrize(
    ("numbers", "over", "state", "words"),
    [
        (counts(), False, "waiting", "waiting"),
        (counts(), True, "waiting", "not reached"),
        (counts(running=2, pending=8, total=10), False, "running", "0/10"),
        (counts(running=1, computed=9), False, "running", "9 so far"),
        (counts(pending=3, computed=7, total=10), False, "running", "7/10"),
        (counts(failed=1, running=1, computed=3, total=10), False, "failed", "4/10, 1 failed"),
        (counts(computed=3, replayed=97, total=100), True, "computed", "97 replayed, 3 computed"),
        (counts(replayed=5, total=5), True, "replayed", "5 replayed"),
        (counts(cancelled=4, computed=1, total=5), True, "cancelled", "4 cancelled, 1 computed"),
    ],
)
def test_counts_read_as_a_state_and_a_few_words(
    numbers: dict[str, int | None], over: bool, state: str, words: str
) -> None:
    read = BoxCounts.of(numbers)

    assert (read.state, read.words(over)) == (state, words)


def test_a_definition_of_another_version_still_gives_a_picture() -> None:
    future: dict[str, Any] = {
        "name": "g",
        "start_node": "a",
        "nodes": {"a": {"kind": "loop", "colour": "blue"}, "b": {}},
        "edges": [{"source": "a", "target": "b", "weight": 3}],
        "mood": "good",
    }

    picture = of_definition(future)

    assert [box.kind for box in picture.boxes] == ["function", "function"]
    assert picture.wires == (Wire("a", "b"),)
