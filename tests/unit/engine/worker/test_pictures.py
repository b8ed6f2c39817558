"""A picture is kept beside a figure, which stays as it is; and no call fails by it."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tensorlake_nb.core.batches.batch import Call
from tensorlake_nb.core.keys import Fingerprint
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.worker import pictures
from tensorlake_nb.engine.worker.returns import Returns
from tensorlake_nb.store.codecs.classes import ModuleResolver
from tensorlake_nb.store.codecs.codec import Encoded, decode, encode
from tests.support.figures import FIGURES, PNG, of_altair, of_matplotlib, of_plotly
from tests.support.stores import FINGERPRINT, some_digest


def returns() -> Returns:
    return Returns(Call("node", "function", Fingerprint(FINGERPRINT), "", some_digest(1)), ModuleResolver())


def shown(kept: Encoded) -> list[dict[str, Any]]:
    assert kept.picture is not None
    found: list[dict[str, Any]] = decode(kept.picture.codec, kept.picture.data)
    return found


def no_picture_notes(taken: Returns) -> list[str]:
    return [note for note in taken.notes if "no picture" in note]


@pytest.mark.parametrize(("mime", "make"), FIGURES.items())
def test_a_figure_is_kept_with_a_picture(mime: str, make: Callable[[], Any]) -> None:
    (picture,) = shown(returns().encoded(make()))

    assert picture.keys() == {"text/plain", mime}
    assert picture["text/plain"].split(".")[0] in ("matplotlib", "plotly", "altair")
    if mime == "image/png":
        assert picture[mime].startswith(PNG)
    else:
        assert json.loads(picture[mime])["data"]


@pytest.mark.parametrize("make", [of_plotly, of_altair])
def test_what_is_kept_of_a_figure_is_what_was_kept_without_a_picture(make: Callable[[], Any]) -> None:
    figure = make()
    before = encode(figure, digest=digest(figure))

    kept = returns().encoded(figure)

    assert kept.alone() == before


def test_drawing_leaves_the_figure_alone() -> None:
    figure = Figure(layout="constrained", dpi=300, figsize=(8, 4))
    figure.subplots(1, 2)[0].plot([1, 2, 4])
    canvas, positions = figure.canvas, [axes.get_position().bounds for axes in figure.axes]

    kept = returns().encoded(figure)

    assert kept.picture is not None
    assert (figure.canvas, figure.dpi, figure.stale) == (canvas, 300, True)
    assert [axes.get_position().bounds for axes in figure.axes] == positions
    back = decode(kept.codec, kept.data)
    assert (back.dpi, [axes.get_position().bounds for axes in back.axes]) == (300, positions)


@pytest.mark.parametrize(
    "figure", [Figure(figsize=(100, 1)), Figure(dpi=10_000), Figure()], ids=["wide", "of many dots", "plain"]
)
def test_a_picture_has_a_bounded_size(figure: Figure) -> None:
    (picture,) = shown(returns().encoded(figure))

    assert max(_size_of(picture["image/png"])) in (640, pictures.MOST_PIXELS)


def test_a_picture_of_many_bytes_is_made_smaller() -> None:
    figure = Figure(figsize=(8, 6))
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    figure.add_axes((0, 0, 1, 1)).imshow(noise, interpolation="none")

    (picture,) = shown(returns().encoded(figure))

    assert len(picture["image/png"]) <= pictures.MOST_BYTES
    assert max(_size_of(picture["image/png"])) < 800


def _size_of(png: bytes) -> tuple[int, int]:
    from io import BytesIO

    return Image.open(BytesIO(png)).size


def test_no_picture_is_kept_that_is_too_large_and_this_is_said() -> None:
    taken, figure = returns(), of_plotly()
    figure.add_scatter(y=["x" * 100] * 20_000)

    kept = taken.encoded(figure)

    assert kept.picture is None
    assert no_picture_notes(taken) == [
        "no picture is kept of what 'node' returned (Figure): it would take more than 1 MB"
    ]


def test_no_picture_is_drawn_of_a_large_figure_and_this_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_VALUE_BYTES", 1)
    taken = returns()

    assert taken.encoded(of_matplotlib()).picture is None
    assert "the value takes more than" in no_picture_notes(taken)[0]


class Undrawable(Figure):
    def draw(self, renderer: Any) -> None:
        raise ZeroDivisionError("by the author's own artist")


def test_a_figure_that_cant_be_drawn_is_kept_and_this_is_said_once() -> None:
    taken = returns()

    for _ in range(3):
        kept = taken.encoded(Undrawable())
        assert type(decode(kept.codec, kept.data)) is Undrawable
        assert kept.picture is None
    assert no_picture_notes(taken) == [
        "no picture is kept of what 'node' returned (Undrawable): ZeroDivisionError: by the author's own artist"
    ]


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda figure: figure.axes[0], 1),
        (lambda figure: (figure, figure.axes), 1),
        (lambda figure: (figure, figure.axes[0]), 1),
        (lambda figure: {"a": figure, "b": of_plotly(), "c": 3}, 2),
        (lambda figure: [figure, of_matplotlib(), figure.axes[0]], 2),
        (lambda figure: np.array([figure.axes, of_matplotlib().axes]), 2),
        (lambda figure: figure.add_subfigure(figure.add_gridspec(1, 1)[0, 0]), 1),
    ],
    ids=[
        "axes",
        "figure and list of axes",
        "figure and axes",
        "dict",
        "list in a list",
        "array of axes",
        "figure in a figure",
    ],
)
def test_axes_show_their_figure_and_each_figure_is_drawn_once(make: Callable[[Figure], Any], count: int) -> None:
    assert len(shown(returns().encoded(make(of_matplotlib())))) == count


@pytest.mark.parametrize(
    "value", [3, "text", [1, 2], np.zeros(3), {"a": 1}, Call, pickle.Pickler, {1: {2: of_matplotlib()}}], ids=repr
)
def test_nothing_else_has_a_picture(value: Any) -> None:
    taken = returns()

    assert taken.encoded(value).picture is None
    assert not no_picture_notes(taken)


def test_no_library_is_imported_to_find_figures() -> None:
    import subprocess

    code = (
        "import sys; import tensorlake_nb.engine.worker.pictures, tensorlake_nb.engine.worker.returns;"
        "print([name for name in ('matplotlib', 'plotly', 'altair') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
