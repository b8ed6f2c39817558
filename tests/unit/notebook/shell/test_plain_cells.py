"""Cells without magics: importing the package is enough to see graphs and runs."""

from __future__ import annotations

import pytest

import tensorlake_nb
from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.notebook.shell.hooks import attach
from tests.support.shells import Shell

CELL = """
from tensorlake_nb import *

@tensorlake_function
def double(n: int) -> int:
    return 2 * n

class Total:
    value = 0

graph = Graph("pipeline", start_node=double)
"""


@pytest.fixture
def plain(plain_shell: Shell) -> Shell:
    """A shell in which the package was imported: done by hand, since this process imported it long before."""
    attach(plain_shell.ip)
    tensorlake_nb.configure(store="store", cluster="threads")
    return plain_shell


def test_a_graph_displays_itself(plain: Shell) -> None:
    plain.good(CELL)
    data = plain.forms(plain.names["graph"])

    assert data["text/plain"] == "Graph 'pipeline': double (1 function)"
    assert "<svg" in data["text/html"]


def test_a_graph_with_problems_displays_them(plain: Shell) -> None:
    plain.good(CELL + "\n@tensorlake_function\ndef lost(n: int): ...\ngraph.add_node(lost)")
    data = plain.forms(plain.names["graph"])

    assert "lost" in data["text/html"]
    assert 'class="tlk-problem"' in data["text/html"]


def test_a_run_displays_itself_the_same_when_it_is_replayed(plain: Shell) -> None:
    plain.good(CELL)
    first = plain.forms(plain.good("graph.run(n=4)"))
    second = plain.forms(plain.good("graph.run(n=4)"))

    assert first["text/plain"] == second["text/plain"] == "Run of 'pipeline': succeeded"
    assert "✓ 1 computed" in first["text/html"]
    assert "↺ 1 replayed" in second["text/html"]
    for data in (first, second):
        assert plain.good("graph.run(n=4).id") not in data["text/html"]


def test_a_redefined_function_takes_its_place_without_magics_too(plain: Shell) -> None:
    plain.good(CELL)
    plain.good("graph.run(n=4)")

    plain.good("@tensorlake_function\ndef double(n: int) -> int:\n    return 3 * n")

    assert plain.out == "graph 'pipeline': double was changed and will be computed again\n"
    assert plain.good("graph.run(n=4).result()") == 12


def test_a_function_redefined_and_run_in_one_cell_is_the_new_one(plain: Shell) -> None:
    plain.good(CELL)

    tripled = plain.good(
        "@tensorlake_function\ndef double(n: int) -> int:\n    return 3 * n\n\ngraph.run(n=4).result()"
    )

    assert tripled == 12
    assert plain.out.count("double was changed") == 1


def test_a_function_is_known_by_its_source_when_its_cell_imports_what_it_calls(plain: Shell) -> None:
    """A shell compiles statement by statement, and a module's name then loads otherwise than in the whole text."""
    cell = "import time\n\n@tensorlake_function\ndef double(n: int) -> int:\n    time.sleep(0)\n    return 2 * n"
    plain.good(CELL)
    plain.good(cell)
    plain.good("graph.run(n=4)")

    assert plain.good("graph.run(n=4).why('double').opaque") == ()


def test_the_shells_own_open_is_no_part_of_a_key(plain: Shell) -> None:
    """Else a script, and the next IPython, would compute again whatever reads a file."""
    plain.good(CELL)
    plain.good("@tensorlake_function\ndef double(n: int) -> int:\n    open('/dev/null').close()\n    return 2 * n")

    assert "open" in plain.names
    assert not [part for part in fingerprint(plain.names["double"]).parts if "IPython" in part or "open" in part]


def test_a_class_of_a_cell_is_part_of_the_key_though_inspect_finds_no_source(plain: Shell) -> None:
    cell = "class Step:\n    size = {size}\n    def add(self, n): return n + self.size\n"
    plain.good(CELL)
    plain.good(cell.format(size=1))
    plain.good("@tensorlake_function\ndef double(n: int) -> int:\n    return Step().add(n)")
    assert plain.good("graph.run(n=4).result()") == 5

    plain.good(cell.format(size=2))

    assert plain.good("graph.run(n=4).result()") == 6


def test_attaching_twice_registers_once(plain: Shell) -> None:
    before = len(plain.ip.events.callbacks["post_run_cell"])

    attach(plain.ip)

    assert len(plain.ip.events.callbacks["post_run_cell"]) == before


def test_a_usage_error_of_a_plain_cell_is_its_message_and_the_line(plain: Shell) -> None:
    plain.good(CELL)

    plain.bad("x = 1\n\ngraph.run(m=3)")

    assert "Traceback" not in plain.out
    assert "InputError: " in plain.out
    assert plain.out.rstrip().endswith("(line 3 of the cell)")
