"""Figures of matplotlib, plotly and altair → pictures of them, for where their library isn't installed.

Drawn is a copy, read back from what is kept: drawing changes a figure (its layout, its canvas), and neither what the
author still holds nor what is stored may change by it. A figure is there only if its library is, so nothing is
imported that wasn't asked for, and nothing needs a display.

Figures of any library come through here: `Any` stops in this file.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tensorlake_nb.errors import Picture
from tensorlake_nb.store.codecs.classes import ClassResolver
from tensorlake_nb.store.codecs.codec import PICKLE, Encoded, decode
from tensorlake_nb.store.reading.pictures import encoded_pictures

#: All pictures of one output together are at most this large,
MOST_BYTES = 1_000_000
#: the longest side of one has so many pixels,
MOST_PIXELS = 1_600
#: and an output beyond this size, which would take long to draw, has none.
MOST_VALUE_BYTES = 32 * 2**20
#: So many parts of a tuple, list, dict or array are looked at.
_MOST_PARTS = 16

#: Gives the picture of a figure by MIME type, or raises whatever its library does.
Draw = Callable[[Any], Picture]

_found: WeakKeyDictionary[type, Draw | None] = WeakKeyDictionary()
#: matplotlib isn't made for several threads.
_one_by_one = threading.Lock()


def pictured(value: Any, kept: Encoded, resolver: ClassResolver) -> tuple[Encoded, str | None]:
    """Return an encoded output with pictures of its figures, if it is one or holds some.

    Returns
    -------
    kept, note
        The same value, known by the same digest; why there is no picture where there should be one, never an error.
    """
    if kept.codec != PICKLE or not _holds_figures(value):
        return kept, None
    if kept.size_bytes > MOST_VALUE_BYTES:
        return kept, f"the value takes more than {MOST_VALUE_BYTES >> 20} MiB"
    notes: list[str] = []
    pictures: list[Picture] = []
    try:
        for figure, draw in _figures(decode(kept.codec, kept.data, resolver=resolver)):
            picture = _drawn(figure, draw, notes)
            if picture is not None and _size(*pictures, picture) <= MOST_BYTES:
                pictures.append(picture)
            elif picture is not None:
                notes.append(f"it would take more than {MOST_BYTES // 1_000_000} MB")
    except Exception as error:  # a figure's class may be the author's own, and raise anything when it is read
        notes.append(_words(error))
    if pictures:
        kept = Encoded(kept.codec, kept.data, kept.digest, encoded_pictures(pictures))
    return kept, notes[0] if notes else None


def _holds_figures(value: Any) -> bool:
    try:
        return any(_draw_of(type(part)) is not None for part in _parts(value))
    except RuntimeError:  # a dict that some thread goes on changing
        return False


def _parts(value: Any) -> Iterator[Any]:
    """Yield the first items of a tuple, list, dict or object array; of anything else the value itself."""
    inside: Iterable[Any] = (value,)
    if type(value) in (tuple, list):
        inside = value
    elif type(value) is dict:
        inside = value.values()
    elif type(value) is np.ndarray and value.dtype == object:
        inside = value.flat
    return islice(inside, _MOST_PARTS)


def _figures(value: Any) -> Iterator[tuple[Any, Draw]]:
    """Each figure once, also where axes of it stand beside it."""
    seen: set[int] = set()
    for part in _parts(value):
        draw = _draw_of(type(part))
        figure = _whole(part) if draw is _png else part
        if draw is not None and id(figure) not in seen:
            seen.add(id(figure))
            yield figure, draw


def _draw_of(cls: type) -> Draw | None:
    try:
        return _found[cls]
    except (KeyError, TypeError):  # a metaclass may forget to have a hash
        names = ((str(base.__module__).partition(".")[0], base.__qualname__) for base in cls.__mro__)
        draw = next((_BY_NAME[name] for name in names if name in _BY_NAME), None)
        with suppress(TypeError):
            _found[cls] = draw
        return draw


def _drawn(figure: Any, draw: Draw, notes: list[str]) -> Picture | None:
    try:
        with _one_by_one:
            shown = draw(figure)
    except Exception as error:  # any error of the library's: the figure itself is kept
        notes.append(_words(error))
        return None
    return {"text/plain": f"{type(figure).__module__}.{type(figure).__qualname__}", **shown}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _size(*pictures: Picture) -> int:
    return sum(
        len(data) if isinstance(data, bytes) else len(data.encode()) for each in pictures for data in each.values()
    )


def _whole(part: Any) -> Any:
    """Return the matplotlib figure that axes or a subfigure belong to."""
    while (around := getattr(part, "figure", None)) is not None and around is not part:
        part = around
    return part


def _png(figure: Any) -> Picture:
    """By Agg, which needs no display; once more at half the size where it is large."""
    canvas = import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    dpi = min(figure.get_dpi(), MOST_PIXELS / max(figure.get_size_inches()))
    data = b""
    for times in (1, 2, 4):
        figure.set_dpi(dpi / times)
        file = BytesIO()
        canvas.print_png(file)
        data = file.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return {"image/png": data}


def _plotly(figure: Any) -> Picture:
    return {"application/vnd.plotly.v1+json": figure.to_json()}


def _vega_lite(chart: Any) -> Picture:
    """Under the name that this version of altair gives its JSON."""
    for base in type(chart).__mro__:
        display = sys.modules.get(f"{base.__module__.rpartition('.')[0]}.display")
        name = getattr(display, "VEGALITE_MIME_TYPE", None)
        if isinstance(name, str):
            return {name: chart.to_json(indent=None)}
    raise LookupError("this version of altair doesn't say how its JSON is called")


#: By the package and the name of a class that all figures of the library derive from.
_BY_NAME: dict[tuple[str, str], Draw] = {
    ("matplotlib", "FigureBase"): _png,
    ("matplotlib", "_AxesBase"): _png,
    ("plotly", "BaseFigure"): _plotly,
    ("altair", "TopLevelMixin"): _vega_lite,
}
