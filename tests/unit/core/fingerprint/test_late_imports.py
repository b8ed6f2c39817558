"""Modules imported while a function runs count by their whole text, and so do those that they import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.core.fingerprint.test_walk import Project, project

__all__ = ["project"]

#: What happens → the module, and the same after an edit; ``run`` is taken of it.
EDITS: dict[str, tuple[str, str]] = {
    "a class whose base makes a note of it": (
        """
        KINDS = []
        class Kind:
            def __init_subclass__(cls, **options): KINDS.append(cls)
        class One(Kind):
            size = 1
        def run(x): return [kind.size for kind in KINDS]
        """,
        "size = 1 -> size = 2",
    ),
    "a class whose metaclass makes a note of it": (
        """
        KINDS = []
        class Meta(type):
            def __init__(cls, *given): KINDS.append(cls)
        class One(metaclass=Meta):
            size = 1
        def run(x): return [kind.size for kind in KINDS]
        """,
        "size = 1 -> size = 2",
    ),
    "a class that is found below its base": (
        """
        class Kind: pass
        class One(Kind):
            size = 1
        def run(x): return [kind.size for kind in Kind.__subclasses__()]
        """,
        "size = 1 -> size = 2",
    ),
    "a call that registers and is bound to a name": (
        """
        TABLE = {}
        def register(name, value): TABLE[name] = value
        one = register("one", 1)
        def run(x): return TABLE
        """,
        '"one", 1 -> "one", 2',
    ),
    "an object that registers itself": (
        """
        RULES = []
        class Rule:
            def __init__(self, limit): RULES.append(limit)
        first = Rule(1)
        def run(x): return RULES
        """,
        "Rule(1) -> Rule(2)",
    ),
    "a method that a decorator makes a note of": (
        """
        TABLE = []
        def add(made): TABLE.append(made()); return made
        class Held:
            @add
            def one(): return 1
        def run(x): return TABLE
        """,
        "return 1 -> return 2",
    ),
    "a class within a class": (
        """
        KINDS = []
        class Kind:
            def __init_subclass__(cls): KINDS.append(cls)
        class Outer:
            class One(Kind):
                size = 1
        def run(x): return [kind.size for kind in KINDS]
        """,
        "size = 1 -> size = 2",
    ),
    "a function that a builtin calls": (
        """
        TABLE = []
        def add(value): TABLE.append(value)
        done = list(map(add, [1]))
        def run(x): return TABLE
        """,
        "[1] -> [2]",
    ),
    "a default that is computed": (
        """
        TABLE = []
        def add(value): TABLE.append(value)
        def other(x, y=add(1)): return x
        def run(x): return TABLE
        """,
        "add(1) -> add(2)",
    ),
    "a name that is looked up by its text": (
        """
        def do_one(): return 1
        def run(x): return globals()["do_" + "one"]()
        """,
        "return 1 -> return 2",
    ),
    "a name of the module looked up in sys.modules": (
        """
        import sys
        def one(): return 1
        def run(x): return getattr(sys.modules[__name__], "o" + "ne")()
        """,
        "return 1 -> return 2",
    ),
    "a class that an annotation names in a text": (
        """
        from pydantic import BaseModel
        class Inner(BaseModel):
            size: int = 1
        class Outer(BaseModel):
            inner: "Inner"
        def run(x): return Outer(inner={})
        """,
        "size: int = 1 -> size: int = 2",
    ),
    "what the module gives for names that it lacks": (
        """
        def __getattr__(name): return lambda x: 1
        """,
        "x: 1 -> x: 2",
    ),
    "a docstring that is read": (
        """
        def one(): "text one"
        def run(x): return one.__doc__
        """,
        "text one -> text two",
    ),
}
#: The same of edits that don't change what is taken, but might: nothing tells the two apart.
UNRELATED: dict[str, tuple[str, str]] = {
    "another function": ("def other(x): return 1\ndef run(x): return x", "return 1 -> return 2"),
    "another class": ("class Other:\n    size = 1\ndef run(x): return x", "size = 1 -> size = 2"),
    "another model": (
        "from pydantic import BaseModel\nclass Other(BaseModel):\n    size: int = 1\ndef run(x): return x",
        "int = 1 -> int = 2",
    ),
    "another exception": ("class Bad(ValueError):\n    code = 1\ndef run(x): return x", "code = 1 -> code = 2"),
    "a class below another one": (
        "class A:\n    pass\nclass B(A):\n    size = 1\ndef run(x): return x",
        "size = 1 -> size = 2",
    ),
    "a constant made by Python's own": (
        "import re\nWORD = re.compile('a')\nBOTH = ' '.join(['a'])\ndef run(x): return x",
        "'a' -> 'b'",
    ),
    "a property of another class": (
        "class A:\n @property\n def p(self): return 1\n @p.setter\n def p(self, v): pass\ndef run(x): return x",
        "return 1 -> return 2",
    ),
    "another function, and its docstring, beside a docstring that is read": (
        'def other(x):\n    "one"\n    return 1\ndef run(x):\n    "told"\n    return run.__doc__  # one',
        "one -> two",
    ),
    "what only runs as a script": ("def run(x): return x\nif __name__ == '__main__':\n    print(1)", "(1) -> (2)"),
}
WITHOUT_EFFECT: dict[str, tuple[str, str]] = {
    "a docstring": ('def run(x):\n    "one"\n    return x', "one -> two"),
    "the module's docstring": ('"""one"""\ndef run(x): return x', "one -> two"),
    "a comment": ("def run(x):  # one\n    return x", "one -> two"),
    "a comment that names what reads docstrings": ('def run(x):\n    "one"\n    return x  # __doc__', "one -> two"),
    "the layout": ("def run(x): return 'a'", "'a' -> ( \"a\" )"),
}
CELL = "def f(x):\n    import tools\n    return tools.run(x)"


def edited(text: str, edit: str) -> str:
    old, new = edit.split(" -> ")
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize("case", [*EDITS, *UNRELATED])
def test_an_edit_of_any_statement_counts(project: Project, case: str) -> None:
    text, edit = {**EDITS, **UNRELATED}[case]

    before = project.print_anew(CELL, tools=text)
    after = project.print_anew(CELL, tools=edited(text, edit))

    assert before.fingerprint != after.fingerprint
    assert project.print_anew(CELL, tools=text).fingerprint == before.fingerprint


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
def test_comments_docstrings_and_layout_do_not_count(project: Project, case: str) -> None:
    text, edit = WITHOUT_EFFECT[case]

    before = project.print_anew(CELL, tools=text)

    assert project.print_anew(CELL, tools=edited(text, edit)).fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "imports",
    [
        "import impl",
        "from impl import nothing",
        "import importlib\nimportlib.import_module('impl')",
        "import importlib\ndef run(x):\n    importlib.import_module('impl')\n    return TABLE",
        "def run(x):\n    __import__('impl')\n    return TABLE",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import impl",
        "def another(x):\n    def inner():\n        import impl",
    ],
)
def test_a_module_that_is_imported_for_what_it_does_counts(project: Project, imports: str) -> None:
    tools = f"TABLE = {{}}\ndef run(x): return TABLE\n{imports}\n"
    impl = "import tools\nnothing = None\ntools.TABLE['one'] = 1\n"

    before = project.print_anew(CELL, tools=tools, impl=impl)
    after = project.print_anew(CELL, tools=tools, impl=impl.replace("= 1", "= 2"))

    assert before.fingerprint != after.fingerprint


def test_submodules_that_a_package_imports_for_what_they_do_count(tmp_path: Path, project: Project) -> None:
    (tmp_path / "pkg").mkdir()
    cell = "def f(x):\n    from pkg import run\n    return run(x)"
    files = {
        "pkg__": "from . import core, impl\nfrom .core import run\n",
        "pkg__core": "TABLE = {}\ndef run(x): return TABLE\n",
        "pkg__impl": "from . import core\ncore.TABLE['one'] = 1\n",
    }

    before = project.print_anew(cell, **files)
    after = project.print_anew(cell, **{**files, "pkg__impl": files["pkg__impl"].replace("= 1", "= 2")})

    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("init", "tools"),
    [
        ("__all__ = ['impl']", "from pkg import *\ndef run(x): return impl.run(x)"),
        (
            "import importlib as i\ndef __getattr__(name): return i.import_module(f'.{name}', __name__)\nA = ['impl']",
            "import pkg\ndef run(x): return pkg.impl.run(x)",
        ),
        ("", "def run(x):\n    from pkg import impl\n    return impl.run(x)"),
    ],
)
def test_submodules_that_a_package_names_count(project: Project, init: str, tools: str) -> None:
    files = {"pkg__": init, "pkg__impl": "def run(x): return 1\n", "tools": tools}

    before = project.print_anew(CELL, **files)
    after = project.print_anew(CELL, **{**files, "pkg__impl": "def run(x): return 2\n"})

    assert before.fingerprint != after.fingerprint


def test_a_submodule_that_a_function_imports_and_does_not_name_again_counts(project: Project) -> None:
    files = {"pkg__": "TABLE = {}\n", "pkg__impl": "import pkg\npkg.TABLE['one'] = 1\n"}
    cell = "def f(x):\n    from pkg import impl as _\n    import pkg\n    return pkg.TABLE"

    before = project.print_anew(cell, **files)
    after = project.print_anew(cell, **{**files, "pkg__impl": files["pkg__impl"].replace("= 1", "= 2")})

    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    ("cell", "tools", "edit"),
    [
        (
            "def g(x) -> int: return x\ndef f(x):\n    import tools\n    return tools.run(g)",
            "import inspect\ndef run(made): return str(inspect.signature(made))",
            "-> int => -> str",
        ),
        (
            "import pydantic\nclass C(pydantic.BaseModel): 'one'\ndef f(x):\n    import tools\n    return tools.run(C)",
            "def run(made): return made.model_json_schema()",
            "one => two",
        ),
        (
            "class C:\n    a = 1\n    b = 2\ndef f(x):\n    import tools\n    return tools.run(C)",
            "def run(made): return [*vars(made)]",
            "a = 1\n    b = 2 => b = 2\n    a = 1",
        ),
    ],
)
def test_what_a_module_reads_of_what_it_is_given_counts(project: Project, cell: str, tools: str, edit: str) -> None:
    old, new = edit.split(" => ")
    assert old in cell

    before = project.print_anew(cell, tools=tools)

    assert project.print_anew(cell.replace(old, new), tools=tools).fingerprint != before.fingerprint


def test_a_module_that_is_not_python_yet_counts_by_what_stands_in_it(project: Project) -> None:
    cell = "def f(x):\n    try:\n        import tools\n    except SyntaxError:\n        return 0\n    return tools.A"

    before = project.print_anew(cell, tools="A = (1")

    assert before.fingerprint != project.print_anew(cell, tools="A = (2").fingerprint
