"""That an object was looked at is no part of it: what packages keep of it doesn't count, all else of theirs does."""

from __future__ import annotations

import copy
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.neighbors import BallTree, KDTree, KNeighborsClassifier
from werkzeug.utils import cached_property

from tensorlake_nb.core.values.digest import digest, digest_with_notes

POINTS = np.arange(24.0).reshape(12, 2)


class Shelf:
    """Keeps what its property gave as Werkzeug does."""

    books = 3

    @cached_property
    def pages(self) -> int:
        return self.books * 100


def reply(text: str = '{"a": 1}', encoding: str | None = None, **headers: str) -> httpx.Response:
    made = httpx.Response(
        200, text=text, headers={"set-cookie": "a=1", **headers}, request=httpx.Request("GET", "http://x/")
    )
    if encoding is not None:
        made.encoding = encoding
    return made


def figure() -> Figure:
    made = Figure()
    for axes in made.subplots(1, 2):
        axes.plot([1, 2, 4])
        axes.set_title("drawn")
    return made


def table(**more: Any) -> xr.Dataset:
    held = {"t": ("x", [1.0, 2.0], {"unit": "K"}), "n": (("x", "y"), np.eye(2))}
    return xr.Dataset(held, coords={"x": [1, 2], "b": ("y", ["u", "v"])}, **more)


def look_at_table(value: Any) -> None:
    value["t"].sum(), value.attrs, value.encoding, value.dt if "time" in value else value.plot
    value["t"].attrs, value.x.values, value.x.attrs, value.indexes, value.sizes, repr(value)


def look_at_reply(value: Any) -> None:
    value.text, value.cookies, value.links, value.json(), repr(value.headers), value.request.headers.items()


LOOKED: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "a dataset": (table, look_at_table),
    "an array of xarray": (lambda: table()["t"], lambda v: (v.attrs, v.encoding, v.plot, v.x.encoding, v.name)),
    "a variable": (lambda: table().t.variable, lambda v: (v.attrs, v.encoding, v.values)),
    "a tree of datasets": (
        lambda: xr.DataTree.from_dict({"/": table(), "/a": table()}),
        lambda v: (v.attrs, v["a"].attrs, v["a/t"].values, v.encoding, v.to_dict()),
    ),
    "a reply": (reply, look_at_reply),
    "headers": (lambda: httpx.Headers([(b"a", "ä".encode())]), lambda v: v.items()),
    "neighbours in a tree": (
        lambda: KNeighborsClassifier(1, algorithm="kd_tree").fit(POINTS, [0, 1] * 6),
        lambda v: v.predict(POINTS),
    ),
    "neighbours in balls": (
        lambda: KNeighborsClassifier(1, algorithm="ball_tree").fit(POINTS.astype(np.float32), [0, 1] * 6),
        lambda v: v.predict(POINTS),
    ),
    "a tree": (lambda: KDTree(POINTS, leaf_size=2), lambda v: v.query(POINTS)),
    "words": (
        lambda: CountVectorizer(stop_words=["the"]).fit(["the cat", "a dog"]),
        lambda v: v.transform(["the dog"]),
    ),
    "a property of Werkzeug": (Shelf, lambda v: v.pages),
    "a figure": (figure, lambda v: (pickle.dumps(v), v.axes, v.axes[0].lines)),
    "a frame": (lambda: pd.DataFrame({"a": [1]}), lambda v: (v["a"], v.index.is_unique, v.columns.get_loc("a"))),
}


@pytest.mark.parametrize("name", LOOKED)
def test_an_object_that_was_looked_at_is_the_one_it_was(name: str) -> None:
    make, look = LOOKED[name]
    value = make()
    before = digest(value)

    assert digest(value) == before, "taking its digest changes it"
    look(value)
    assert digest(value) == before == digest(make())
    look(again := pickle.loads(pickle.dumps(make())))
    assert digest(again) == before


def test_what_packages_remember_is_known_by_its_name() -> None:
    """Distributions hold the random state that all of NumPy shares."""
    made = [digest(each) for each in (stats.norm, stats.norm(0, 1), stats.norm(0, 2), np.random.RandomState(1))]
    np.random.rand()

    assert [digest(each) for each in (stats.norm, stats.norm(0, 1), stats.norm(0, 2))] == made[:3]
    assert len({*made, digest(np.random.RandomState(2))}) == 5, "one of its own counts by what it holds"


def changed(how: Callable[[xr.Dataset], Any]) -> xr.Dataset:
    made = table()
    how(made)
    return made


def test_what_can_be_seen_of_a_dataset_counts() -> None:
    others = [
        table(attrs={"a": 1}),
        changed(lambda v: v.t.attrs.update(unit="C")),
        changed(lambda v: v.t.encoding.update(dtype="i2")),
        changed(lambda v: v.encoding.update(source="f.nc")),
        changed(lambda v: v.t.values.__setitem__(0, 5)),
        changed(lambda v: v.x.attrs.update(a=1)),
        table().astype("f4"), table().rename(t="s"), table().rename(x="z"), table().transpose("y", "x"),
        table().reset_coords("b"), table().drop_indexes("x"), table().assign_coords(x=[1, 3]),
        table().assign_coords(b=("y", ["u", "w"])), table().isel(x=[0]),
        table().set_index(y="b"), table().stack(z=["x", "y"]), table()["t"], table()["t"].rename("s"),
        table()["t"].variable, table()["t"].to_numpy(), table().drop_vars("n"), table()[["n", "t"]],
    ]  # fmt: skip

    assert len({digest(each) for each in [table(), *others]}) == len(others) + 1
    assert [digest(copy.deepcopy(each)) for each in others] == [digest(each) for each in others]
    assert digest_with_notes(table())[1] == ()


def test_what_can_be_seen_of_a_reply_counts() -> None:
    others = [reply("{}"), reply(encoding="latin-1"), reply(a="b"), httpx.Response(404, text='{"a": 1}')]

    assert len({digest(each) for each in [reply(), *others]}) == len(others) + 1
    assert digest(reply(encoding="utf-8")) == digest(reply())
    assert digest(KDTree(POINTS)) != digest(KDTree(POINTS + 1)) != digest(BallTree(POINTS + 1))


def test_looking_for_a_digest_changes_nothing() -> None:
    value = reply()
    digest(value)
    value.encoding = "latin-1"  # which httpx refuses once the text was read
    value.headers["b"] = "x"

    assert digest(value) != digest(reply())


def test_a_dataset_in_a_file_counts_by_what_it_holds(tmp_path: pathlib.Path) -> None:
    def opened(number: float) -> xr.Dataset:
        xr.Dataset({"t": ("x", [number, 2.0])}).to_netcdf(tmp_path / "f.nc", engine="scipy")
        return xr.open_dataset(tmp_path / "f.nc", engine="scipy")

    with opened(1.0) as one:
        before = digest(one)
        one.load()
        assert digest(one) == before
    with opened(1.0) as same:
        assert digest(same) == before
    with opened(3.0) as other:
        assert digest(other) != before


def shown() -> str:
    made = [digest(make()).hex() for make, _ in LOOKED.values()]
    return " ".join([*made, digest(table().stack(z=["x", "y"])).hex()])


def test_they_are_the_same_in_the_next_process() -> None:
    script = "from tests.unit.core.values import test_cached_state as there; print(there.shown())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.split() == shown().split()
