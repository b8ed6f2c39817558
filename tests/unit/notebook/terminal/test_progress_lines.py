"""Progress as lines: a block redrawn in place in a terminal, one line per finished node in a log."""

from __future__ import annotations

import io

from tensorlake_nb.notebook.drawing.picture import Box, Picture
from tensorlake_nb.notebook.terminal.progress_lines import MOST_LINES, TerminalProgress, block
from tensorlake_nb.notebook.terminal.transient import of_message, to_message

GRAPH = Picture("pipeline", "fetch", (Box("fetch"), Box("parse")), ())


def run(status: str, **counts: dict[str, int | None]) -> Picture:
    return GRAPH.with_counts(counts, status)


WAITING = run("running", fetch={"running": 1, "total": 1})
HALF = run("running", fetch={"computed": 1, "total": 1}, parse={"computed": 5, "pending": 5, "total": 10})
DONE = run("succeeded", fetch={"computed": 1, "total": 1}, parse={"computed": 10, "total": 10})


def test_a_log_gets_one_line_per_node_when_it_has_finished() -> None:
    stream = io.StringIO()
    face = TerminalProgress(stream, is_terminal=False)

    for picture in (WAITING, HALF, HALF):
        face.show(picture)
    face.close(DONE)

    assert stream.getvalue().splitlines() == [
        "pipeline: fetch ✓ 1 computed",
        "pipeline: parse ✓ 10 computed",
        "pipeline: succeeded",
    ]


def test_a_terminal_is_redrawn_in_place() -> None:
    stream = io.StringIO()
    face = TerminalProgress(stream, is_terminal=True)

    face.show(WAITING)
    face.show(HALF)

    assert stream.getvalue().count("\x1b[3A\x1b[J") == 1
    assert stream.getvalue().splitlines()[-1] == "  parse  ██████████░░░░░░░░░░  ▶ 5/10"


def test_other_text_goes_above_the_block() -> None:
    stream = io.StringIO()
    face = TerminalProgress(stream, is_terminal=True)
    face.show(HALF)

    face.erase()
    stream.write("printed by a cell\n")
    face.redraw()

    after = stream.getvalue().split("\x1b[3A\x1b[J")[1]
    assert after.splitlines()[0] == "printed by a cell"
    assert after.splitlines()[1] == "pipeline: running"


def test_what_is_over_stays() -> None:
    stream = io.StringIO()
    face = TerminalProgress(stream, is_terminal=True)
    face.show(HALF)
    face.close(DONE)

    face.erase()
    face.redraw()

    assert stream.getvalue().endswith("✓ 10 computed\n")


def test_lines_fit_the_terminal_and_many_nodes_are_summed_up() -> None:
    boxes = tuple(Box(f"node_{i}_" + "x" * 100) for i in range(100))
    picture = Picture("wide", boxes[0].name, boxes, ()).with_counts({boxes[7].name: {"running": 1}}, "running")

    lines = block(picture, width=60)

    assert len(lines) <= MOST_LINES + 2
    assert all(len(line) < 60 for line in lines)
    assert lines[-1] == "  and 99 more"


def test_a_message_reads_back_as_the_picture_that_the_terminal_needs() -> None:
    again = of_message(to_message(HALF))

    assert again is not None
    assert [box.counts for box in again.boxes] == [box.counts for box in HALF.boxes]
    assert (again.name, again.status) == (HALF.name, HALF.status)


def test_a_message_of_another_version_is_not_guessed_at() -> None:
    assert of_message({**to_message(HALF), "version": 99}) is None
