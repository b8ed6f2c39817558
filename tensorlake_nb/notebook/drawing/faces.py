"""The picture of a graph or of a run, and how it reads as text and as HTML."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tensorlake_nb.core.graphs.builder import GraphBuilder
from tensorlake_nb.errors import GraphError
from tensorlake_nb.notebook.drawing import html
from tensorlake_nb.notebook.drawing.picture import Picture, of_definition


def picture_of(shown: Any) -> Picture:
    """Return the picture of a graph, with its problems if it has any, or of a run's present state."""
    if not isinstance(shown, GraphBuilder):
        notes = {name: standing.notes for name, standing in shown.standings().items()}
        picture = of_definition(shown.definition).with_counts(shown.snapshot(), str(shown.status), notes)
        return replace(picture, doing=shown.doing)
    picture = of_definition(shown.definition())
    try:
        shown.freeze()
    except GraphError as error:
        return replace(picture, problems=error.problems)
    return picture


def html_of(shown: Any) -> str:
    """Return static HTML with an SVG drawing."""
    return html.html(picture_of(shown))


def plain_of(shown: Any) -> str:
    """One line that is the same whenever the graph or the outcome is the same."""
    return html.plain(picture_of(shown))
