"""A value → what a panel shows of it: as its cell would, in a bounded size. And pictures, where it can't be read."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Sized
from typing import Any

from tensorlake_nb.errors import Picture, UnreadableValueError
from tensorlake_nb.notebook.panel.messages import Message

_MOST: dict[str, int] = {
    "text/plain": 20_000,
    "text/html": 200_000,
    "image/svg+xml": 500_000,
    "image/png": 3_000_000,
    "image/jpeg": 3_000_000,
    "image/gif": 3_000_000,
    "image/webp": 3_000_000,
    "application/json": 20_000,
}
_PLOTLY = "application/vnd.plotly.v1+json"
_VEGA_LITE = re.compile(r"application/vnd\.vegalite\.v(\d+)[+.]json")
#: Of vega-lite, JupyterLab draws nothing newer.
_VEGA_LITE_5 = "application/vnd.vegalite.v5+json"


class ShownValue(Message):
    """A value as the cell would show it."""

    index: int
    type_name: str
    about: str
    data: dict[str, str]
    is_cut: bool
    snippet: str


def shown(value: Any, index: int, snippet: str) -> ShownValue:
    """Format a value by the shell's own formatters, else by its repr; never raises."""
    data, is_cut = {}, False
    for mime, text in _formatted(value).items():
        most = _MOST.get(mime)
        if most is None or not isinstance(text, str):
            continue
        if len(text) <= most:
            data[mime] = text
        else:
            is_cut = True
            if mime == "text/plain":
                data[mime] = text[:most]
    return ShownValue(
        index=index,
        type_name=type(value).__name__,
        about=about(value),
        data=data or {"text/plain": ""},
        is_cut=is_cut,
        snippet=snippet,
    )


def shown_by_picture(error: UnreadableValueError, index: int, snippet: str) -> ShownValue:
    """Show a value that can't be read here by a picture that was kept of it."""
    picture = error.pictures[0]
    type_name = _class_of(picture).rpartition(".")[2]
    png = bundle_of(picture).get("image/png")
    if png is None:
        said = f"{error.why} A picture of it was saved, which a panel can't draw: open it in a cell, and run that."
        data, about = {"text/plain": said}, ""
    else:
        which = (
            f"the first of {len(error.pictures)} pictures that were"
            if len(error.pictures) > 1
            else "a picture that was"
        )
        about = f"{error.why} This is {which} kept of it."
        data = {"image/png": png, "text/plain": about}
    return ShownValue(index=index, type_name=type_name, about=about, data=data, is_cut=False, snippet=snippet)


def bundle_of(picture: Picture) -> dict[str, Any]:
    """Return a picture's display bundle: its JSON as objects, and only types that run nothing."""
    bundle: dict[str, Any] = {"text/plain": f"a picture of a {_class_of(picture)}"}
    for mime, data in picture.items():
        if mime == "image/png" and isinstance(data, bytes):
            bundle[mime] = base64.b64encode(data).decode()
        elif isinstance(data, str) and (mime == _PLOTLY or _VEGA_LITE.fullmatch(mime)):
            bundle[mime] = json.loads(data)
            if mime != _PLOTLY:
                bundle.setdefault(_VEGA_LITE_5, bundle[mime])
    return bundle


def _class_of(picture: Picture) -> str:
    name = picture.get("text/plain")
    return name if isinstance(name, str) else "figure"


def _formatted(value: Any) -> dict[str, Any]:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    try:
        if shell is not None:
            found, _ = shell.display_formatter.format(value, include=set(_MOST))
            return dict(found)
        return {"text/plain": repr(value)}
    except BaseException as error:  # a repr of a user's class may raise anything
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return {"text/plain": f"<its repr raised {type(error).__name__}: {error}>"}


def about(value: Any) -> str:
    """``shape (3, 4) · float64``, ``12 items``; empty where there is nothing to say."""
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if isinstance(shape, tuple):
            return f"shape {shape}" + (f" · {dtype}" if dtype is not None else "")
        if isinstance(value, (str, bytes)):
            return f"{len(value):,} {'characters' if isinstance(value, str) else 'bytes'}"
        if isinstance(value, Sized):
            return f"{len(value):,} item{'' if len(value) == 1 else 's'}"
    except Exception:  # an odd class
        return ""
    return ""
