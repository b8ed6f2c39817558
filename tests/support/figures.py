"""Figures of three libraries, and what is kept to show them without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair
import pandas as pd
import plotly.graph_objects
from matplotlib.figure import Figure

#: What altair calls the JSON of its charts.
VEGA_LITE = f"application/vnd.vegalite.{altair.SCHEMA_VERSION[:2]}" + (
    "+json" if altair.SCHEMA_VERSION < "v6" else ".json"
)
PLOTLY = "application/vnd.plotly.v1+json"
PNG = b"\x89PNG\r\n\x1a\n"


def of_matplotlib(points: int = 3) -> Figure:
    figure = Figure()
    figure.subplots().plot(range(points))
    return figure


def of_plotly() -> Any:
    return plotly.graph_objects.Figure(plotly.graph_objects.Scatter(y=[1, 4, 9]))


def of_altair() -> Any:
    return altair.Chart(pd.DataFrame({"x": [1, 2], "y": [3, 4]})).mark_bar().encode(x="x", y="y")


FIGURES: dict[str, Callable[[], Any]] = {
    "image/png": of_matplotlib,
    PLOTLY: of_plotly,
    VEGA_LITE: of_altair,
}
