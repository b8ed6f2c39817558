"""Modules that are loaded again, by ``%autoreload`` and by hand: two classes of one name, one that it stands for."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tests.support.shells import Shell, new_shell

#: Ends each module: what it asserts is edited as well, which has autoreload execute the whole module again.
EDITED = "assert 1\n"
BODY = """
    x: int
    def score(self):
        return self.x * 10
"""
KINDS = {
    "a dataclass": "import dataclasses\n@dataclasses.dataclass\nclass Rec:" + BODY,
    "a model": "import pydantic\nclass Rec(pydantic.BaseModel):" + BODY,
    "a named tuple": "import typing\nclass Rec(typing.NamedTuple):" + BODY,
    "an attrs class": "import attrs\n@attrs.define(slots=False)\nclass Rec:" + BODY,
    "a plain class": "class Rec:\n    def __init__(self, x):\n        self.x = x" + BODY.replace("    x: int\n", ""),
    "a subclass": "class Base:" + BODY.replace("    x: int\n", "") + "import dataclasses\n@dataclasses.dataclass\n"
    "class Rec(Base):\n    x: int\n    def score(self):\n        return super().score()\n",
}
#: Cells over ``Rec``, however it is imported, and what they should say of instances after the edit.
CELLS = """
@tensorlake_function
def kind(r: Rec) -> str:
    return f"{isinstance(r, Rec)} {r.score()}"

@tensorlake_function
def make(n: int) -> Rec:
    return Rec(x=n)

asked, made = Graph("asked", start_node=kind), Graph("made", start_node=make)
before = Rec(x=1)
asked.run(r=before), made.run(n=3)
"""
USES = """
read = made.run(n=3).result()
said = [
    asked.run(r=Rec(x=2)).result(), asked.run(r=before).result(), asked.run(r=read).result(),
    isinstance(read, Rec), read.score(),
]
"""
SAID = ["True 14", "True 7", "True 21", True, 21]

_times = itertools.count(1_000_000_000, 10)


class Notebook:
    """A shell, and modules beside it."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.shell, self.folder = shell, folder
        self.cell("from tensorlake_nb import Graph, tensorlake_function")

    def cell(self, source: str) -> Any:
        """Run a cell; whatever it leaves under the name of ``said``."""
        self.shell.good(source)
        return self.shell.names.get("said")

    def module(self, text: str, name: str = "recs") -> None:
        """Write a module, at a time of its own."""
        path = self.folder / f"{name}.py"
        path.write_text(text)
        os.utime(path, (time := next(_times), time))

    def edit(self, old: str, new: str, name: str = "recs") -> None:
        """Edit a module, and have autoreload see it."""
        text = (self.folder / f"{name}.py").read_text()
        assert old in text
        self.module(text.replace(old, new).replace(EDITED, EDITED.replace("1", "2")), name)
        self.cell("pass")


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook that doesn't load anything again by itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with new_shell(tmp_path) as shell:
        monkeypatch.setitem(sys.modules, "__main__", shell.ip.user_module)
        yield Notebook(shell, tmp_path)
    for name in ("recs", "others"):
        sys.modules.pop(name, None)


@pytest.fixture
def notebook(plain: Notebook) -> Notebook:
    """A notebook with autoreload."""
    plain.cell("%load_ext autoreload\n%autoreload 2")
    return plain


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS)
def test_instances_are_of_the_class_that_the_notebooks_names_stand_for(notebook: Notebook, text: str) -> None:
    notebook.module(text + EDITED)
    notebook.cell("from recs import Rec" + CELLS)
    notebook.edit("* 10", "* 7")

    assert notebook.cell(USES) == SAID


@pytest.mark.parametrize("text", [KINDS["a model"], KINDS["a named tuple"]])
def test_a_comment_in_a_module_changes_nothing(notebook: Notebook, text: str) -> None:
    notebook.module(text + EDITED)
    notebook.cell("from recs import Rec" + CELLS)
    notebook.edit(EDITED, "# a comment\n" + EDITED)

    assert notebook.cell(USES) == ["True 20", "True 10", "True 30", True, 30]


def test_a_class_that_is_named_by_its_module_is_the_modules(notebook: Notebook) -> None:
    notebook.module(KINDS["a dataclass"] + EDITED)
    notebook.cell("import recs" + CELLS.replace("Rec", "recs.Rec"))
    notebook.edit("* 10", "* 7")

    assert notebook.cell(USES.replace("Rec", "recs.Rec")) == SAID


def test_a_class_under_another_name_and_one_in_a_class_are_found(notebook: Notebook) -> None:
    inner = KINDS["a model"].replace("class Rec", "class Outer:\n  class Rec").replace("\n    ", "\n      ")
    notebook.module(inner + EDITED)
    notebook.cell("from recs import Outer as Other" + CELLS.replace("Rec", "Other.Rec"))
    notebook.edit("* 10", "* 7")

    assert notebook.cell(USES.replace("Rec", "Other.Rec")) == SAID


def test_a_class_with_slots_that_a_reload_has_broken_is_whole_on_workers(notebook: Notebook) -> None:
    notebook.module(KINDS["a dataclass"].replace("dataclasses.dataclass", "dataclasses.dataclass(slots=True)") + EDITED)
    notebook.cell("from recs import Rec" + CELLS)
    notebook.edit("* 10", "* 7")

    said = notebook.cell("said = [asked.run(r={'x': 2}).result(), made.run(n=3).result().score()]")
    assert said == ["True 14", 21]


LEVELS = "import enum\nclass Level(enum.Enum):\n    LOW = 1\n    HIGH = 2\n"
ON_LEVELS = """
from recs import Level

@tensorlake_function
def show(n: int, level: Level = Level.HIGH) -> str:
    return f"{Level(n)} {isinstance(Level(n), Level)} {level is Level.HIGH}"

@tensorlake_function
def same(level: Level) -> Level:
    return level

shown, given = Graph("shown", start_node=show), Graph("given", start_node=same)
low = Level.LOW
shown.run(n=1), given.run(level=low)
"""


@pytest.mark.parametrize("new", ["    MID = 3\n", "    MID = 3\n    LATE = 4\n"])
def test_an_enum_may_gain_members(notebook: Notebook, new: str) -> None:
    notebook.module(LEVELS + EDITED)
    notebook.cell(ON_LEVELS)
    notebook.edit("    HIGH = 2\n", "    HIGH = 2\n" + new)

    assert notebook.cell("said = [shown.run(n=3).result(), shown.run(n=2, level=Level.LOW).result()]") == [
        "Level.MID True True",
        "Level.HIGH True False",
    ]
    assert notebook.cell(
        "said = [given.run(level=each).result() == each for each in (Level.LOW, Level.MID, low)]"
        "+ [given.run(level=3).result() == Level.MID]"
    ) == [True, True, True, True]


def test_classes_that_others_hold_are_the_same_classes(notebook: Notebook) -> None:
    notebook.module(
        "import dataclasses\nclass Part:\n    def score(self):\n        return 10\n@dataclasses.dataclass\nclass Rec:\n"
        "    part: Part = dataclasses.field(default_factory=Part)\nclass Bad(ValueError):\n    pass\n"
        "def check(rec):\n    if isinstance(rec, Rec):\n        raise Bad(rec.part.score())\n" + EDITED
    )
    notebook.module("from recs import Rec\nclass Sub(Rec):\n    pass\ndef sub():\n    return Sub()\n", "others")
    notebook.cell("""
from recs import Bad, Part, Rec, check
from others import Sub, sub

@tensorlake_function
def caught(n: int, part: Part = Part()) -> str:
    try:
        check(Sub())
    except Bad as error:
        return f"{error} {isinstance(part, Part)} {isinstance(sub().part, Part)} {isinstance(sub(), Rec)}"
    return "nothing was raised"

@tensorlake_function
def bad(rec: Rec) -> Bad:
    return Bad(isinstance(rec, Rec) and rec.part.score())

tried, raised = Graph("tried", start_node=caught), Graph("raised", start_node=bad)
""")
    notebook.edit("return 10", "return 7")
    notebook.cell("read = raised.run(rec=Sub()).result()")

    said = notebook.cell("said = [tried.run(n=1).result(), isinstance(read, Bad), read.args]")
    assert said == ["7 True True True", True, (7,)]


def test_instances_within_containers_are_taken(notebook: Notebook) -> None:
    notebook.module(KINDS["a dataclass"] + EDITED)
    notebook.cell("""
from recs import Rec

@tensorlake_function
def count(recs: dict[str, list[Rec]], last: Rec | None = None, pair: tuple[Rec, ...] = ()) -> int:
    return sum(isinstance(each, Rec) for each in (*recs["a"], last, *pair))

graph = Graph("graph", start_node=count)
before = Rec(1)
graph.run(recs={"a": [before]})
""")
    notebook.edit("* 10", "* 7")

    run = "graph.run(recs={'a': [Rec(1), before]}, last=Rec(2), pair=(before, Rec(3))).result()"
    assert notebook.cell(f"said = {run}") == 5


def test_a_fold_gets_back_what_it_gave(notebook: Notebook) -> None:
    notebook.module(KINDS["a model"] + EDITED)
    notebook.cell("""
from recs import Rec

@tensorlake_function
def each(n: int) -> list[Rec]:
    return [Rec(x=i) for i in range(n)]

@tensorlake_function(accumulate=lambda: Rec(x=0))
def total(total: Rec, rec: Rec) -> Rec:
    assert isinstance(total, Rec) and isinstance(rec, Rec)
    return Rec(x=total.x + rec.score())

graph = Graph("graph", start_node=each).add_edge(each, total)
graph.run(n=3)
""")
    notebook.edit("* 10", "* 7")

    assert notebook.cell("read = graph.run(n=3).result()\nsaid = [isinstance(read, Rec), read.x]") == [True, 21]


def test_a_module_loaded_again_by_hand_leaves_the_names_what_they_are(plain: Notebook) -> None:
    plain.module(KINDS["a dataclass"] + EDITED)
    plain.cell("from recs import Rec" + CELLS)
    plain.edit("* 10", "* 7")
    plain.cell("import importlib, recs\nimportlib.reload(recs)")

    assert plain.cell(USES) == ["True 20", "True 10", "True 30", True, 30]  # as calls without a graph say
    assert plain.cell("from recs import Rec" + CELLS.replace("before", "later") + USES) == SAID


def test_a_cell_that_defines_a_class_again_is_what_counts(plain: Notebook) -> None:
    plain.cell(KINDS["a dataclass"] + CELLS)
    plain.cell(KINDS["a dataclass"].replace("* 10", "* 7"))

    assert plain.cell(USES) == SAID


def test_what_is_an_instance_already_is_not_validated_again(plain: Notebook) -> None:
    plain.cell("""
from pydantic import BaseModel, model_validator

class Doubled(BaseModel):
    x: int

    @model_validator(mode="after")
    def double(self):
        self.x *= 2
        return self

@tensorlake_function
def value(rec: Doubled | None, others: list[Doubled] = ()) -> list[int]:
    return [[rec.x, *(other.x for other in others)]]

graph = Graph("graph", start_node=value)
rec = Doubled(x=1)
""")

    assert plain.cell("said = list(graph.run(rec=rec, others=[rec]).output(value))") == [[2, 2]]
    assert plain.cell("said = rec.x, list(graph.run(rec={'x': 3}).output(value))") == (2, [[6]])


@pytest.mark.parametrize("text", [KINDS["a model"], KINDS["a dataclass"]])
def test_keys_after_a_reload_are_those_of_a_new_kernel(notebook: Notebook, text: str, tmp_path: Path) -> None:
    notebook.module(text + EDITED)
    notebook.cell("from recs import Rec" + CELLS)
    notebook.edit("* 10", "* 7")
    after = [fingerprint(notebook.shell.names[name]).fingerprint for name in ("kind", "make")]

    del sys.modules["recs"]
    with new_shell(tmp_path) as shell:
        new = Notebook(shell, tmp_path)
        new.cell("from recs import Rec" + CELLS)
        fresh = [fingerprint(shell.names[name]).fingerprint for name in ("kind", "make")]
    assert after == fresh
