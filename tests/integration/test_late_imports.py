"""What a function takes from a module at first, and what it imports from it while it runs, is one and the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MODELS = """
from dataclasses import dataclass
from enum import Enum

from pydantic import BaseModel

class Status(Enum):
    OPEN = "open"
    DONE = "done"

class BadRow(ValueError):
    pass

class Ticket(BaseModel):
    id: int
    status: Status = Status.OPEN

class Board(BaseModel):
    tickets: list[Ticket] = []

@dataclass(frozen=True)
class Point:
    x: int

class Label:
    pass

def check(point):
    if point.x < 0:
        raise BadRow(point)
    return Point(point.x + 1)
"""
SCRIPT = """
import sys

import models
from models import BadRow, Label, Point, Status, Ticket, check
from tensorlake_nb import *

configure(store="store", cluster=sys.argv[1], workers=2)

@tensorlake_function()
def tickets(n: int) -> list[Ticket]:
    return [Ticket(id=i, status=Status.DONE if i % 2 else Status.OPEN) for i in range(n)]

@tensorlake_function()
def is_open(ticket: Ticket) -> bool:
    from models import Status

    return ticket.status is Status.OPEN

@tensorlake_function()
def on_board(ticket: Ticket) -> int:
    import models

    assert isinstance(ticket, models.Ticket)
    return len(models.Board(tickets=[ticket]).tickets)

@tensorlake_function()
def caught(ticket: Ticket) -> str:
    import models

    try:
        check(Point(-ticket.id))
    except models.BadRow:
        return "caught"
    return f"{check(Point(1)) == models.Point(2)} {isinstance(models.check(models.Point(1)), Point)}"

@tensorlake_function()
def patched(ticket: Ticket) -> str:
    import models

    return models.Status.OPEN.value + Label().text(ticket.id)

Label.text = lambda self, id: f" no {id}"  # a cell's own, which stands in no file

if __name__ == "__main__":
    graph = Graph("late", tickets)
    for function in (is_open, on_board, caught, patched):
        graph.add_edge(tickets, function)
    run = graph.run(n=2)
    print([run.output(function) for function in (is_open, on_board, caught, patched)])
    print([[function(ticket) for ticket in tickets(2)] for function in (is_open, on_board, caught, patched)])
"""


#: A folder without ``__init__.py``, imported inside a method, by its dotted name, and by a module beside it.
FOLDER = """
import sys

import tools.text
from tensorlake_nb import *

configure(store="store", cluster=sys.argv[1], workers=1)

class Parser:
    def parse(self, text):
        from tools import text as module
        import tools.more
        return module.clean(text) + tools.more.last(text)

@tensorlake_function()
def parsed(text: str) -> list:
    return [Parser().parse(text), tools.text.clean(text)]

if __name__ == "__main__":
    run = Graph("g", start_node=parsed).run(text=" ab ")
    print([run.output(parsed)])
    print([parsed(" ab ")])
"""

#: Instances whose methods are called where nothing names their class: made by a module that is imported late, in a
#: function, or given to the run inside something.
DOWNSTREAM = """
from types import SimpleNamespace

import shapes
from tensorlake_nb import *

configure(store="store", cluster="threads", workers=1)

@tensorlake_function()
def late(x: int):
    from late_shapes import Square
    return Square(x)

@tensorlake_function()
def local(x: int):
    class Square:
        def area(self): return 1 * x
    return Square()

@tensorlake_function()
def area(shape) -> int:
    return getattr(shape, "held", shape).area()

given = Graph("given", start_node=area).run(shape=SimpleNamespace(held=shapes.Square(3))).result()
made = [Graph(make.name, start_node=make).add_edge(make, area).run(x=3).output(area)[0] for make in (late, local)]
print([[given, *made]])
"""
SHAPES = """
class Square:
    def __init__(self, x): self.x = x
    def area(self): return 1 * self.x
"""


def lines_of(folder: Path, script: str, cluster: str) -> list[str]:
    (folder / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py", cluster],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("[[")]


@pytest.mark.parametrize("cluster", ["embedded", "threads"])
def test_classes_are_not_there_twice(tmp_path: Path, cluster: str) -> None:
    (tmp_path / "models.py").write_text(MODELS)

    run, plain = lines_of(tmp_path, SCRIPT, cluster)

    assert run == plain


@pytest.mark.parametrize("cluster", ["embedded", "threads"])
def test_a_folder_without_an_init_is_a_package_too(tmp_path: Path, cluster: str) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "text.py").write_text("def clean(text): return text.strip()")
    (tmp_path / "tools" / "more.py").write_text("import tools.text\ndef last(text): return tools.text.clean(text)[-1]")

    run, plain = lines_of(tmp_path, FOLDER, cluster)

    assert run == plain == "[['abb', 'ab']]"


def test_methods_of_classes_that_nothing_names_are_those_of_now(tmp_path: Path) -> None:
    def areas(factor: int) -> list[str]:
        for name in ("shapes", "late_shapes"):
            (tmp_path / f"{name}.py").write_text(SHAPES.replace("1 *", f"{factor} *"))
        return lines_of(tmp_path, DOWNSTREAM.replace("1 *", f"{factor} *"), "threads")

    assert [areas(1), areas(2), areas(10)] == [["[[3, 3, 3]]"], ["[[6, 6, 6]]"], ["[[30, 30, 30]]"]]
