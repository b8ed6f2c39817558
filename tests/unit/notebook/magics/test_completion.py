"""The Tab key behind ``%tensorlake`` and ``%%tensorlake``, asked as a front end asks."""

from __future__ import annotations

import pytest
from IPython.core.completer import provisionalcompleter

from tests.support.shells import Shell

GRAPH = """%%tensorlake pipeline
@tensorlake_function
def double(number: int, how_often: int = 1) -> int:
    return 2 * number

@tensorlake_function
def describe(n: int) -> str:
    return f"it is {n}"

g = Graph('pipeline', start_node=double).add_edge(double, describe)
"""


@pytest.fixture
def ready(shell: Shell) -> Shell:
    shell.good(GRAPH)
    return shell


def offered(shell: Shell, text: str) -> list[str]:
    """Whole lines as they would be after each completion."""
    with provisionalcompleter():
        return [text[: found.start] + found.text for found in shell.ip.Completer.completions(text, len(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%tensorlake ru", ["run", "runs"]),
        ("%tensorlake res", ["resume"]),
        ("%tensorlake run pip", ["pipeline"]),
        ("%tensorlake ver", ["verify"]),
        ("%tensorlake verify pip", ["pipeline"]),
        ("%tensorlake verify pipeline nu", ["number="]),
        ("%tensorlake verify pipeline number=3 --sam", ["--sample"]),
        ("%tensorlake run pipeline nu", ["number="]),
        ("%tensorlake run pipeline number=3 how", ["how_often="]),
        ("%tensorlake why pipeline d", ["describe", "double"]),
        ("%tensorlake cluster thr", ["threads"]),
        ("%tensorlake runs --lim", ["--limit"]),
        ("%tensorlake gc --keep", ["--keep-runs"]),
        ("%%tensorlake pip", ["pipeline"]),
        ("%%tensorlake pipeline --wi", ["--wire"]),
        ("%%tensorlake pipeline --run nu", ["number="]),
        ("%%tensorlake pipeline --cluster emb", ["embedded"]),
    ],
)
def test_what_fits_is_offered(ready: Shell, text: str, expected: list[str]) -> None:
    stem = text[: text.rindex(" ") + 1]

    assert [stem + each for each in expected] == sorted(offered(ready, text))


def test_runs_of_the_store_are_offered(ready: Shell) -> None:
    run = ready.good("%tensorlake run pipeline number=3")

    assert f"%tensorlake resume {run.id}" in offered(ready, f"%tensorlake resume {run.id[:6]}")
    assert f"%tensorlake show {run.id}" in offered(ready, "%tensorlake show ")


def test_nothing_of_ours_is_offered_elsewhere(ready: Shell) -> None:
    assert "x = pipeline" not in offered(ready, "x = pip")


def test_a_front_end_with_the_old_interface_is_served_too(ready: Shell) -> None:
    with pytest.warns(PendingDeprecationWarning):
        _, found = ready.ip.complete(None, "%tensorlake run pip")

    assert found == ["pipeline"]
