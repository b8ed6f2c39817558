"""Figures made in one kernel, looked at in another without their libraries: pictures, and what is missing."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from tensorlake_nb import Graph, Run, collect, tensorlake_function
from tensorlake_nb.engine.cluster import session
from tensorlake_nb.errors import UnreadableValueError
from tensorlake_nb.store.reading.pictures import pictures_of
from tests.support.figures import FIGURES, PLOTLY, PNG, VEGA_LITE, of_matplotlib
from tests.support.shells import new_shell

HIDDEN = ("matplotlib", "plotly", "altair")
#: Runs cells where some libraries can be had from nowhere, and tells of each what it raised and displayed.
CELLS = """
import json, sys
from pathlib import Path

folder, hidden, cells = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])

class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hiding())
from tests.support.shells import new_shell

told = []
with new_shell(folder) as shell:
    for cell in cells:
        error = shell.cell(cell).error_in_exec
        told.append({"error": str(error or ""), "shown": [each.data for each in shell.shown], "out": shell.out})
print(json.dumps(told))
"""

DRAWING = """
import altair, pandas, plotly.graph_objects
import matplotlib.pyplot as plt

@tensorlake_function()
def begin(n: int) -> list:
    return list(range(n))

@tensorlake_function()
def drawn(n: int) -> object:
    figure, axes = plt.subplots()
    axes.plot(range(n + 2))
    return figure

@tensorlake_function()
def both(n: int) -> object:
    return plt.subplots()

@tensorlake_function()
def plotted(n: int) -> object:
    return plotly.graph_objects.Figure(plotly.graph_objects.Scatter(y=[1, n]))

@tensorlake_function()
def charted(n: int) -> object:
    return altair.Chart(pandas.DataFrame({"x": [1, n]})).mark_bar().encode(x="x")

graph = Graph("figures", begin)
for each in (drawn, both, plotted, charted):
    graph.add_edge(begin, each)
run = graph.run(n=2)
"""

PANEL = """
from tensorlake_nb.notebook.shell.display import desk
asked = {"version": 1, "kind": "value", "run": run.id, "side": "output", "index": 1}
print(json.dumps([desk().answer({**asked, "node": node}, lambda run: None) for node in ("drawn", "plotted")]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with figures of all kinds, made on the embedded cluster by functions of cells; and the run's id."""
    folder = tmp_path_factory.mktemp("figures")
    with new_shell(folder) as shell:
        shell.good("from tensorlake_nb import *")
        shell.good(f"configure(store={str(folder / 'store')!r}, cluster='embedded', workers=1)")
        shell.good(DRAWING)
        run = shell.names["run"]
        types = [type(run.output(node)[0]).__name__ for node in ("drawn", "both", "plotted", "charted")]
        assert types == ["Figure", "tuple", "Figure", "Chart"]
        session.current().close()
    return folder, run.id


@pytest.fixture(scope="module")
def looked(made: tuple[Path, str]) -> list[dict[str, Any]]:
    """What cells of a kernel without the libraries show of it."""
    folder, run_id = made
    sources = [
        f"import json; from tensorlake_nb import *; configure(store={str(folder / 'store')!r})",
        *(f"run = Run.open({run_id!r}); run.output({node!r})" for node in ("drawn", "both", "plotted", "charted")),
        "run.outputs('drawn')[1]",
        PANEL,
    ]
    done = subprocess.run(
        [sys.executable, "-c", CELLS, str(folder), json.dumps(HIDDEN), json.dumps(sources)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize(
    ("cell", "library", "mime"),
    [(1, "matplotlib", "image/png"), (2, "matplotlib", "image/png"), (3, "plotly", PLOTLY), (4, "altair", VEGA_LITE)],
)
def test_a_cell_names_the_library_that_is_missing_and_shows_the_pictures(
    looked: list[dict[str, Any]], cell: int, library: str, mime: str
) -> None:
    told = looked[cell]

    assert f"it needs {library}, which isn't installed here. Install it" in told["error"]
    assert "A picture of it was saved" in told["error"]
    assert len(told["shown"]) == 2, "one per element"
    for shown in told["shown"]:
        assert shown["text/plain"].startswith(f"a picture of a {library}.")
        if mime == "image/png":
            assert base64.b64decode(shown[mime]).startswith(PNG)
        else:
            assert shown[mime]["data"]
            assert mime != VEGA_LITE or shown["application/vnd.vegalite.v5+json"] == shown[mime]


def test_one_output_shows_its_own_picture(looked: list[dict[str, Any]]) -> None:
    assert looked[5]["shown"] == looked[1]["shown"][1:2]
    assert looked[1]["shown"][0] != looked[1]["shown"][1]


def test_a_panel_shows_the_picture_and_says_what_is_missing(looked: list[dict[str, Any]]) -> None:
    drawn, plotted = (reply["body"] for reply in json.loads(looked[6]["out"]))

    assert drawn["data"]["image/png"] == looked[1]["shown"][1]["image/png"]
    assert "it needs matplotlib, which isn't installed here." in drawn["about"]
    assert (drawn["typeName"], plotted["typeName"]) == ("Figure", "Figure")
    assert plotted["data"].keys() == {"text/plain"}
    assert "it needs plotly, which isn't installed here." in plotted["data"]["text/plain"]
    assert "open it in a cell" in plotted["data"]["text/plain"]


@tensorlake_function()
def spread(n: int) -> list[int]:
    return list(range(n))


@tensorlake_function()
def figure_of(n: int) -> object:
    return of_matplotlib(n + 2)


def test_figures_are_replayed_as_figures_and_have_no_pictures_among_their_outputs() -> None:
    graph = Graph("figures", spread).add_edge(spread, figure_of)
    first, second = graph.run(n=3), graph.run(n=3)

    assert second.counts(figure_of)["replayed"] == 3
    assert [len(figure.axes[0].lines[0].get_ydata()) for figure in second.output("figure_of")] == [2, 3, 4]
    assert len(first.outputs(figure_of)) == 3


@tensorlake_function()
def several(n: int) -> list[object]:
    return [make() for make in FIGURES.values()]


@tensorlake_function(accumulate=of_matplotlib)
def collected_in(figure: Any, n: int) -> Any:
    figure.axes[0].plot([n, n])
    return figure


@tensorlake_function()
def one_by_one(n: int) -> Any:
    for points in range(n):
        yield of_matplotlib(points + 2)


def types_of_pictures(run: Run, node: str) -> list[set[str]]:
    """The MIME types of the pictures that are kept of a node's outputs."""
    found = pictures_of(session.current().store(), run.outputs(node).spans)
    return [set(picture) - {"text/plain"} for picture in found]


def test_lists_generators_and_reducers_have_pictures_of_what_they_give() -> None:
    graph = Graph("several", spread).add_edge(spread, several).add_edge(spread, collected_in)
    run = graph.add_edge(spread, one_by_one).run(n=2)

    assert types_of_pictures(run, "several") == [{mime} for mime in FIGURES] * 2
    assert types_of_pictures(run, "collected_in") == [{"image/png"}]
    assert types_of_pictures(run, "one_by_one") == [{"image/png"}]


def test_a_value_that_cant_be_read_for_another_reason_comes_with_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Graph("figures", spread).add_edge(spread, figure_of).run(n=2)
    session.current().store()._values.clear()
    before = len(list(run.events()))

    def refuse(self: Any, state: Any) -> None:
        raise KeyError("written by another version")

    monkeypatch.setattr(Figure, "__setstate__", refuse)
    with pytest.raises(UnreadableValueError, match="KeyError: 'written by another version'") as caught:
        run.output(figure_of)

    assert [set(picture) for picture in caught.value.pictures] == [{"text/plain", "image/png"}] * 2
    assert len(list(run.events())) == before, "nothing is computed again: it would be as unreadable"


def test_pictures_are_collected_with_their_figures() -> None:
    run = Graph("figures", spread).add_edge(spread, figure_of).run(n=2)
    (span, *_) = run.outputs(figure_of).spans
    collect(keep_runs=1, grace=0)
    assert pictures_of(session.current().store(), [span])

    Graph("figures", spread).run(n=1)
    collect(keep_runs=1, grace=0)
    store = session.current().store()
    assert not store.filesystem.list(f"segments/{span.segment[:2]}/{span.segment}")
