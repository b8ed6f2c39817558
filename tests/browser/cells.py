"""Cells that the stories run."""

from __future__ import annotations

SETUP = """
import tempfile, threading, time
from tensorlake_nb import Graph, Run, configure, tensorlake_function, tensorlake_router
configure(store={store!r}, cluster="threads")
"""

NUMBERS = """
@tensorlake_function()
def load(n: int) -> list[int]:
    "The numbers below n."
    print("loading", n)
    return list(range(n))

@tensorlake_function()
def double(x: int) -> int:
    return 2 * x

@tensorlake_function(accumulate=int)
def total(so_far: int, x: int) -> int:
    return so_far + x

graph = Graph("numbers", start_node=load).add_edge(load, double).add_edge(double, total)
"""

#: Replies of a service that cuts texts in the middle of an emoji.
CUT = r"""
@tensorlake_function()
def ask(question: str) -> str:
    print(question, "\ud83d")
    return "half a letter \ud83d"

@tensorlake_function()
def read(reply: str) -> dict:
    raise ValueError(reply)

graph = Graph("cut", start_node=ask).add_edge(ask, read)
"""

#: Calls that end when the test creates a file, and not before.
HELD = """
import os
GATE = {gate!r}

@tensorlake_function()
def first(n: int) -> list[int]:
    return list(range(n))

@tensorlake_function()
def held(x: int) -> int:
    while not os.path.exists(GATE):
        time.sleep(0.02)
    return x

graph = Graph("held", start_node=first).add_edge(first, held)
"""


def setup(store: object) -> str:
    return SETUP.format(store=str(store))


def held(gate: object) -> str:
    return HELD.format(gate=str(gate))
