"""Calls that pickle what a notebook defines, or send it to processes of their own, as they could in a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernels import Kernel, kernel

CELL = """
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from tensorlake_nb import *

configure(store="store", workers=1)

@dataclass
class Page:
    number: int

def numbered(x):
    return Page(x + 1)

@tensorlake_function()
def pooled(n: int) -> list[int]:
    with ProcessPoolExecutor(2) as pool:
        return [page.number for page in pool.map(numbered, range(n))]

@tensorlake_function()
def pickled(x: int) -> int:
    back = pickle.loads(pickle.dumps((numbered, Page(x))))
    assert back[0] is numbered and type(back[1]) is Page
    return back[0](back[1].number).number

class Pickles(TensorlakeCompute):
    def run(self, x: int) -> int:
        return pickle.loads(pickle.dumps(numbered))(x).number

graph = Graph("pages", pooled).add_edge(pooled, pickled).add_edge(pickled, Pickles)
print(graph.run(n=100).output(Pickles) == list(range(3, 103)))
"""

EDIT = """
def numbered(x):
    return Page(x + 10)

print(Graph("alone", pickled).add_edge(pickled, Pickles).run(x=1).result())  # carried through both in one batch
run = graph.run(n=100)
print(run.output(pooled) == list(range(10, 110)), run.output(Pickles) == list(range(30, 130)))
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(tmp_path) as made:
        yield made


def test_functions_and_classes_of_cells_are_pickled_by_their_names(notebook: Kernel) -> None:
    first = notebook.run(CELL)
    assert (first.status, first.stdout) == ("ok", "True\n"), first
    assert notebook.run(EDIT).stdout == "21\nTrue True\n"
