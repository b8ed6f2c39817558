"""A picture as plain text, and as HTML with an SVG drawing of our own: no scripts, no files, no ids, no times.

The drawing takes its colours from JupyterLab's variables, with fallbacks that follow the page's own text colour, so it
reads on light and dark. Shapes, glyphs and words say everything that colours say, and the table beneath says it again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

from tensorlake_nb.notebook.drawing.layout import Point, Positions, place
from tensorlake_nb.notebook.drawing.picture import GLYPHS, Box, BoxCounts, Picture, State, Wire, paths, state_of

LONGEST_LABEL = 24
LONGEST_CELL = 240
LONGEST_PROBLEM = 2000
LONGEST_LINE = 600
MOST_BARS = 12

BOX_HEIGHT, BOX_LEAST_WIDTH = 46.0, 92.0
GAP_X, GAP_Y, MARGIN = 52.0, 18.0, 10.0
#: Widths of an average character at the two sizes of type, in px: a little generous, since fonts differ.
NAME_CHARACTER, NOTE_CHARACTER = 7.9, 6.6
CORNER, SLANT = 8.0, 12.0
ARROW = 7.0

_STATE_COLOURS: dict[State, str] = {
    "waiting": "var(--jp-border-color1, #9e9e9e)",
    "running": "var(--jp-brand-color1, #1976d2)",
    "computed": "var(--jp-success-color1, #2e7d32)",
    "replayed": "var(--jp-info-color1, #0288a7)",
    "failed": "var(--jp-error-color1, #d32f2f)",
    "cancelled": "var(--jp-warn-color1, #c77700)",
    "not reached": "var(--jp-border-color1, #9e9e9e)",
}
_DASHES: dict[State, str] = {"replayed": "6 3", "waiting": "2 3", "not reached": "2 3"}

_STYLE = """
.tlk{color:var(--jp-ui-font-color1,inherit);font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px}
.tlk-head{margin:2px 0 6px}
.tlk-scroll{overflow-x:auto;max-width:100%}
.tlk table{border-collapse:collapse;color:inherit;margin:4px 0;font-size:12px}
.tlk.tlk th,.tlk.tlk td{border:0;border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.4));
padding:3px 10px 3px 0;text-align:left;vertical-align:top}
.tlk summary{cursor:pointer;color:var(--jp-ui-font-color2,inherit);font-size:12px;padding:4px 0}
.tlk-problem{color:var(--jp-error-color1,#d32f2f);white-space:pre-wrap}
""".replace("\n", "")


# --- plain text ------------------------------------------------------------------------------------------------------


def plain(picture: Picture) -> str:
    """Return the constant line: no ids, times or counts that vary."""
    name = repr(_shortened(picture.name, LONGEST_CELL))
    if picture.status is not None:
        return f"Run of {name}: {picture.status}"
    n = len(picture.boxes)
    size = f"{n} function" if n == 1 else f"{n} functions"
    return f"Graph {name}: {flow(picture)} ({size})"


def flow(picture: Picture) -> str:
    """``fetch → parse → total; parse → index``, cut short when it is long."""
    text = "; ".join(" → ".join(path) for path in paths(picture.start, picture.wires)) or picture.start
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


# --- HTML ------------------------------------------------------------------------------------------------------------


def html(picture: Picture) -> str:
    """Return the drawing and a table of the same facts, with all user texts escaped."""
    head = f'<div class="tlk-head">{_headline(picture)}</div>'
    problems = "".join(
        f'<div class="tlk-problem">✕ {_text(problem[:LONGEST_PROBLEM])}</div>' for problem in picture.problems
    )
    return (
        f'<div class="tlk"><style>{_STYLE}</style>{head}{problems}'
        f'<div class="tlk-scroll">{svg(picture)}</div>'
        f"<details><summary>Table</summary>{table(picture)}</details></div>"
    )


def _headline(picture: Picture) -> str:
    name = f"<strong>{_text(_shortened(picture.name, LONGEST_CELL))}</strong>"
    waits = picture.status == "running" and picture.doing
    more = f"running · {picture.doing}" if waits else picture.status or _shortened(picture.about, LONGEST_CELL)
    return f"{name} · {_text(more)}" if more else name


def table(picture: Picture) -> str:
    """One row per node: what it is, where its elements come from, how far it is."""
    with_counts = any(box.counts is not None for box in picture.boxes)
    titles = ["function", "kind", "takes from", *(["state", "elements"] if with_counts else []), "about"]
    rows = []
    for box in picture.boxes:
        takes = ", ".join(_source_words(wire) for wire in picture.wires if wire.target == box.name)
        if box.name == picture.start:
            takes = "the run's inputs"
        cells = [box.name, box.kind, takes]
        state = state_of(box, picture.over)
        if with_counts:
            cells += [f"{GLYPHS[state]} {state}" if state else "", box.counts.words(picture.over) if box.counts else ""]
        cells.append(box.about)
        rows.append(cells)
    return _rows(titles, rows)


def html_table(titles: Sequence[str], rows: Sequence[Sequence[str]], remarks: Sequence[str] = ()) -> str:
    """Any table, in the same looks, with paragraphs beneath it."""
    beneath = "".join(f"<p>{_text(_shortened(remark, LONGEST_PROBLEM))}</p>" for remark in remarks)
    return f'<div class="tlk"><style>{_STYLE}</style>{_rows(titles, rows)}{beneath}</div>'


def _rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(title)}</th>' for title in titles)
    cells = ("".join(f"<td>{_text(_shortened(cell, LONGEST_CELL))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _source_words(wire: Wire) -> str:
    into = f" as {wire.into}" if wire.into else ""
    return f"{wire.source}{into}{' (when routed)' if wire.routed else ''}"


def progress_html(picture: Picture) -> str:
    """Return a run's progress: a bar per node while it lasts, one line when it is over, as small as possible."""
    head = f'<div class="tlk-head">{_headline(picture)}'
    if picture.over:
        words = [f"{box.name}: {box.counts.words(True)}" for box in picture.boxes if box.counts and box.counts.settled]
        return (
            f'<div class="tlk"><style>{_STYLE}</style>{head} · {_text(_shortened("; ".join(words), 400))}</div></div>'
        )
    busy = [box for box in picture.boxes if state_of(box, False) != "waiting"][-MOST_BARS:]
    rows = "".join(_bar_row(box) for box in busy or picture.boxes[:1])
    return f'<div class="tlk"><style>{_STYLE}</style>{head}</div><table>{rows}</table></div>'


def _bar_row(box: Box) -> str:
    state = state_of(box, False) or "waiting"
    name = _shortened(box.name, LONGEST_LABEL)
    counts = box.counts or BoxCounts()
    total = counts.total
    value = f' value="{counts.settled}" max="{max(total, 1)}"' if total is not None else ""
    return (
        f"<tr><td>{_text(name)}</td><td><progress{value} "
        f'aria-label="{_text(name)}"></progress></td><td>{GLYPHS[state]} {_text(counts.words(False))}</td></tr>'
    )


# --- SVG -------------------------------------------------------------------------------------------------------------


def svg(picture: Picture) -> str:
    """Return the drawing alone, one tag after the other, without ids, which other outputs on the page might share."""
    labels = {box.name: _shortened(box.name, LONGEST_LABEL) for box in picture.boxes}
    notes = {box.name: _note(box, picture.over) for box in picture.boxes}
    widths = {
        name: max(
            BOX_LEAST_WIDTH,
            _columns_of(label) * NAME_CHARACTER + 2 * SLANT + 8,
            _columns_of(notes[name]) * NOTE_CHARACTER + 2 * SLANT + 8,
        )
        for name, label in labels.items()
    }
    drawn = [wire for wire in picture.wires if wire.source in widths and wire.target in widths]
    placed = place(
        widths,
        [(wire.source, wire.target) for wire in drawn],
        box_height=BOX_HEIGHT,
        gap_x=GAP_X,
        gap_y=GAP_Y,
    )
    left = MARGIN + 18  # room for the arrow into the start node
    width, height = placed.width + left + MARGIN, placed.height + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{_text(_spoken(picture))}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="{-left:.0f} {-MARGIN:.0f} {width:.0f} {height:.0f}" '
        'font-family="var(--jp-ui-font-family, system-ui, sans-serif)" fill="none" stroke-linejoin="round" '
        'style="display:block;max-width:none">'
    ]
    parts += _wires(drawn, placed, widths)
    if picture.start in widths:
        entry = placed.centres[picture.start]
        parts.append(_arrow((Point(-18, entry.y), Point(entry.x - widths[picture.start] / 2, entry.y)), "", 1.0))
    for box in picture.boxes:
        state = state_of(box, picture.over)
        parts.append(_box(box, state, labels[box.name], notes[box.name], placed.centres[box.name], widths[box.name]))
    return "".join([*parts, "</svg>"])


def _note(box: Box, over: bool) -> str:
    state = state_of(box, over)
    return f"{GLYPHS[state]} {box.counts.words(over)}" if state and box.counts else box.kind


def _box(box: Box, state: State | None, label: str, note: str, centre: Point, width: float) -> str:
    colour = _STATE_COLOURS[state] if state else "var(--jp-border-color0, currentColor)"
    dash = f' stroke-dasharray="{_DASHES[state]}"' if state in _DASHES else ""
    weight = 2.6 if state in ("failed", "running") else 1.5
    name = _shortened(box.name, LONGEST_CELL)
    title = "\n".join(
        filter(None, [f"{name} ({box.kind})", _shortened(box.about, LONGEST_CELL), note if state else ""])
    )
    # the fill hides wires that pass behind; a page that sets no variables shows through
    return (
        f"<g><title>{_text(title)}</title>"
        f'<path d="{_outline(box, centre, width)}" fill="var(--jp-layout-color1, Canvas)" stroke="{colour}" '
        f'stroke-width="{weight}"{dash}/>'
        f'<text x="{centre.x:.1f}" y="{centre.y - 3:.1f}" text-anchor="middle" font-size="13" '
        f'fill="var(--jp-ui-font-color1, currentColor)">{_text(label)}</text>'
        f'<text x="{centre.x:.1f}" y="{centre.y + 14:.1f}" text-anchor="middle" font-size="11" '
        f'fill="{"var(--jp-ui-font-color1, currentColor)" if state else "var(--jp-ui-font-color2, currentColor)"}">'
        f"{_text(note)}</text></g>"
    )


def _outline(box: Box, centre: Point, width: float) -> str:
    """Return a node's outline: a rounded box for a function, a hexagon for a router, a funnel for a reducer."""
    x0, x1 = centre.x - width / 2, centre.x + width / 2
    y0, y1 = centre.y - BOX_HEIGHT / 2, centre.y + BOX_HEIGHT / 2
    match box.kind:
        case "router":
            corners = [
                (x0 + SLANT, y0),
                (x1 - SLANT, y0),
                (x1, centre.y),
                (x1 - SLANT, y1),
                (x0 + SLANT, y1),
                (x0, centre.y),
            ]
        case "reducer":
            corners = [
                (x0, y0),
                (x1 - SLANT, y0 + 5),
                (x1, y0 + SLANT),
                (x1, y1 - SLANT),
                (x1 - SLANT, y1 - 5),
                (x0, y1),
            ]
        case _:
            r = CORNER
            return (
                f"M{x0 + r:.1f} {y0:.1f}H{x1 - r:.1f}a{r} {r} 0 0 1 {r} {r}V{y1 - r:.1f}a{r} {r} 0 0 1 -{r} {r}"
                f"H{x0 + r:.1f}a{r} {r} 0 0 1 -{r} -{r}V{y0 + r:.1f}a{r} {r} 0 0 1 {r} -{r}Z"
            )
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "Z"


def _wires(wires: Sequence[Wire], placed: Positions, widths: dict[str, float]) -> Iterable[str]:
    shifts = _arrivals(wires, placed)
    for wire, route, shift in zip(wires, placed.routes, shifts, strict=True):
        first, last = route[0], route[-1]
        side = 1 if first.x <= last.x else -1
        start = Point(first.x + side * widths[wire.source] / 2, first.y)
        end = Point(last.x - side * widths[wire.target] / 2, last.y + shift)
        yield _arrow((start, *route[1:-1], end), "5 4" if wire.routed else "", 0.75)
        if wire.into:
            yield (
                f'<text x="{end.x - ARROW - 4:.1f}" y="{end.y - 3:.1f}" text-anchor="end" font-size="10" '
                f'fill="var(--jp-ui-font-color2, currentColor)">{_text(_shortened(wire.into, 10))}</text>'
            )


def _arrivals(wires: Sequence[Wire], placed: Positions) -> list[float]:
    """Return each wire's end as its distance from the middle of its target (px), to keep wires and labels apart."""
    coming: dict[str, list[int]] = {}
    for i, wire in enumerate(wires):
        coming.setdefault(wire.target, []).append(i)
    shifts = [0.0] * len(wires)
    for group in coming.values():
        group.sort(key=lambda i: placed.routes[i][-2].y)
        apart = min(14.0, (BOX_HEIGHT - 2 * CORNER) / max(1, len(group) - 1))
        for place_in_row, i in enumerate(group):
            shifts[i] = (place_in_row - (len(group) - 1) / 2) * apart
    return shifts


def _arrow(points: Sequence[Point], dash: str, opacity: float) -> str:
    """Return a curve through the points, level at each of them, with its head at the last one."""
    side = 1 if points[0].x <= points[-1].x else -1
    end = Point(points[-1].x - side * ARROW, points[-1].y)
    through = [*points[:-1], end]
    curve = f"M{through[0].x:.1f} {through[0].y:.1f}"
    for a, b in pairwise(through):
        middle = (a.x + b.x) / 2
        curve += f"C{middle:.1f} {a.y:.1f} {middle:.1f} {b.y:.1f} {b.x:.1f} {b.y:.1f}"
    tip = end.x + side * ARROW
    head = f"M{end.x:.1f} {end.y - ARROW / 2:.1f}L{tip:.1f} {end.y:.1f}L{end.x:.1f} {end.y + ARROW / 2:.1f}Z"
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    colour = "var(--jp-ui-font-color2, currentColor)"
    return (
        f'<g opacity="{opacity}"><path d="{curve}" stroke="{colour}" stroke-width="1.4"{dashes}/>'
        f'<path d="{head}" fill="{colour}"/></g>'
    )


# --- text ------------------------------------------------------------------------------------------------------------


def _spoken(picture: Picture) -> str:
    """Return the text that a screen reader speaks in place of the drawing."""
    if picture.status is None:
        return plain(picture)
    states = ", ".join(f"{box.name} {box.counts.words(picture.over)}" for box in picture.boxes if box.counts)
    return _shortened(f"{plain(picture)}: {states}", LONGEST_LINE)


def _columns_of(text: str) -> int:
    """Return the width of a text in average characters: East Asian ones and emoji count twice."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _shortened(text: str, most: int) -> str:
    """At most that many columns, ended by an ellipsis where something is missing; line breaks become blanks."""
    line = " ".join(text[: 8 * most].split())
    columns = 0
    for end, character in enumerate(line):
        columns += _columns_of(character)
        if columns > most:
            return _cut(line[:end], most - 1) + "…"
    return line if len(text) <= 8 * most else line + "…"


def _cut(line: str, most: int) -> str:
    while _columns_of(line) > most:
        line = line[:-1]
    return line


def _text(text: str) -> str:
    """Escaped, and without the control characters that could turn a line around or end a document."""
    visible = "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "�" for c in text)
    return escape(visible, quote=True)
