"""Figures of three libraries, and what is kept to show them without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair
import pandas as pd
import plotly.graph_objects
from matplotlib.figure import Figure

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
    "application/vnd.plotly.v1+json": of_plotly,
    "application/vnd.vegalite.v6.json": of_altair,
}
