"""How far a fingerprint reaches: project modules, imports inside functions, installed packages, decorated functions."""

from __future__ import annotations

import functools
import importlib
import linecache
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensorlake_nb import TensorlakeCompute, tensorlake_function, tensorlake_router
from tensorlake_nb.core.fingerprint.fingerprint import FunctionPrint, fingerprint
from tensorlake_nb.core.values.digest import digest
from tests.support.counted_calls import calls_of


class Project:
    """Modules in a folder, and the functions of a notebook beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **modules: str) -> None:
        """Write modules; ``pkg__sub`` is ``pkg/sub.py``, ``pkg__`` its ``__init__``."""
        for name, text in modules.items():
            path = self.folder / (name.replace("__", "/") + ("__init__.py" if name.endswith("__") else ".py"))
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    def forget(self) -> None:
        """What a new process would start from."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or str([*getattr(module, "__path__", [])])
            if str(self.folder) in str(file):
                del sys.modules[name]
        linecache.clearcache()
        for compiled in self.folder.rglob("*.pyc"):
            compiled.unlink()

    def print(self, cell: str) -> FunctionPrint:
        cell = textwrap.dedent(cell)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        filename = f"/tmp/ipykernel_1/{abs(hash(cell))}.py"
        linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
        exec(compile(cell, filename, "exec", dont_inherit=True), namespace)
        return fingerprint(namespace["f"])

    def print_anew(self, cell: str, **modules: str) -> FunctionPrint:
        self.write(**modules)
        self.forget()
        return self.print(cell)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    held = Project(tmp_path)
    yield held
    held.forget()


TOOLS = """
LIMIT = 3
def clean(x): return x + LIMIT
def other(x): return x
class Item:
    def m(self): return clean(1)
"""
USES = {
    "from import": "from tools import clean\ndef f(x): return clean(x)",
    "import": "import tools\ndef f(x): return tools.clean(x)",
    "import as": "import tools as t\ndef f(x): return t.clean(x)",
    "star": "from tools import *\ndef f(x): return clean(x)",
    "an alias": "import tools\ndef f(x):\n t = tools\n return t.clean(x)",
    "getattr": "import tools\ndef f(x): return getattr(tools, 'clean')(x)",
    "a class": "from tools import Item\ndef f(x): return Item().m()",
    "an instance": "import tools\ni = tools.Item()\ndef f(x): return i.m()",
    "in a closure": "import tools\ndef make(t):\n def f(x): return t.clean(x)\n return f\nf = make(tools)",
    "inside: import": "def f(x):\n import tools\n return tools.clean(x)",
    "inside: import as": "def f(x):\n import tools as t\n return t.clean(x)",
    "inside: from": "def f(x):\n from tools import clean\n return clean(x)",
    "inside: from as": "def f(x):\n from tools import clean as c\n return c(x)",
    "inside: a class": "def f(x):\n from tools import Item\n return Item().m()",
    "inside: a nested function": "def f(x):\n import tools\n def g(): return tools.clean(x)\n return g()",
    "inside: an alias": "def f(x):\n import tools\n t = tools\n return t.clean(x)",
}


@pytest.mark.parametrize("use", USES)
def test_an_edit_of_a_project_module_changes_what_uses_it(project: Project, use: str) -> None:
    before = project.print_anew(USES[use], tools=TOOLS)

    edited = project.print_anew(USES[use], tools=TOOLS.replace("x + LIMIT", "x - LIMIT"))
    constant = project.print_anew(USES[use], tools=TOOLS.replace("LIMIT = 3", "LIMIT = 4"))

    assert len({before.fingerprint, edited.fingerprint, constant.fingerprint}) == 3
    assert before.opaque == ()


@pytest.mark.parametrize("use", USES)
def test_comments_and_a_new_process_change_nothing(project: Project, use: str) -> None:
    before = project.print_anew(USES[use], tools=TOOLS)

    after = project.print_anew(USES[use], tools="# comment\n" + TOOLS.replace("LIMIT = 3", "LIMIT = 3  # three"))

    assert before.parts == after.parts


@pytest.mark.parametrize("use", [use for use in USES if "alias" not in use and use not in ("getattr",)])
def test_an_edit_of_what_is_not_used_counts_in_a_module_that_is_imported_late_only(project: Project, use: str) -> None:
    before = project.print_anew(USES[use], tools=TOOLS)

    after = project.print_anew(USES[use], tools=TOOLS.replace("def other(x): return x", "def another(x): return -x"))

    assert (before.fingerprint != after.fingerprint) == use.startswith("inside")


PACKAGE = {
    "pkg__": "",
    "pkg__sub": "from .base import step\nfrom . import consts\ndef fn(x): return step(x) + consts.N\n",
    "pkg__base": "def step(x): return x\n",
    "pkg__consts": "N = 1\n",
}
PACKAGE_USES = {
    "pkg.sub.fn": "import pkg.sub\ndef f(x): return pkg.sub.fn(x)",
    "pkg.sub as s": "import pkg.sub as s\ndef f(x): return s.fn(x)",
    "from pkg import sub": "from pkg import sub\ndef f(x): return sub.fn(x)",
    "from pkg.sub import fn": "from pkg.sub import fn\ndef f(x): return fn(x)",
    "inside: pkg.sub.fn": "def f(x):\n import pkg.sub\n return pkg.sub.fn(x)",
    "inside: pkg.sub as s": "def f(x):\n import pkg.sub as s\n return s.fn(x)",
    "inside: from pkg import sub": "def f(x):\n from pkg import sub\n return sub.fn(x)",
    "inside: from pkg.sub import fn": "def f(x):\n from pkg.sub import fn\n return fn(x)",
}


@pytest.mark.parametrize("use", PACKAGE_USES)
@pytest.mark.parametrize(
    "edit",
    [{"pkg__base": "def step(x): return -x\n"}, {"pkg__consts": "N = 2\n"}, {"pkg__sub": "def fn(x): return 1\n"}],
)
def test_an_edit_anywhere_below_a_package_changes_what_uses_it(
    project: Project, use: str, edit: dict[str, str]
) -> None:
    before = project.print_anew(PACKAGE_USES[use], **PACKAGE)

    after = project.print_anew(PACKAGE_USES[use], **{**PACKAGE, **edit})

    assert before.fingerprint != after.fingerprint
    assert before.opaque == ()


@pytest.mark.parametrize("use", [use for use in [*USES, *PACKAGE_USES] if use.startswith("inside")])
def test_an_import_inside_a_function_counts_the_same_whether_loaded_or_not(project: Project, use: str) -> None:
    cell = {**USES, **PACKAGE_USES}[use]
    before = project.print_anew(cell, tools=TOOLS, **PACKAGE)

    importlib.import_module("tools"), importlib.import_module("pkg.sub")

    assert project.print(cell).parts == before.parts


def test_an_import_inside_a_function_is_not_run_by_fingerprinting(project: Project) -> None:
    project.print_anew("def f(x):\n import loud\n return loud.x", loud="raise SystemExit('imported')\nx = 1")

    assert "loud" not in sys.modules


def test_a_loaded_module_is_followed_also_after_the_notebook_went_to_another_folder(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = "def f(x):\n from pkg.sub import low\n return low(x)"
    project.write(pkg__="", pkg__sub="from .deep import low", pkg__deep="def low(x): return x")
    monkeypatch.setattr(sys, "path", ["", *(each for each in sys.path if each != str(project.folder))])
    monkeypatch.chdir(project.folder)
    importlib.import_module("pkg.sub")
    before = project.print(cell)

    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    assert project.print(cell).parts == before.parts
    project.write(pkg__deep="def low(x): return -x")
    assert project.print(cell).fingerprint != before.fingerprint


def test_a_function_loaded_before_its_file_was_edited_is_known_by_its_bytecode(project: Project) -> None:
    cell = "from tools import clean\ndef f(x): return clean(x)"
    project.write(tools=TOOLS)
    importlib.import_module("tools")
    project.write(tools=TOOLS.replace("x + LIMIT", "x * 1000"))
    linecache.clearcache()

    stale = project.print(cell)
    reloaded = project.print_anew(cell)

    assert any("isn't what is loaded" in sentence for sentence in stale.opaque)
    assert stale.fingerprint != reloaded.fingerprint
    assert reloaded.opaque == ()


def test_a_file_edited_elsewhere_than_the_loaded_function_keeps_its_source(project: Project) -> None:
    cell = "from tools import clean\ndef f(x): return clean(x)"
    before = project.print_anew(cell, tools=TOOLS)
    project.forget()
    importlib.import_module("tools")
    project.write(tools="# moved\n\n" + TOOLS.replace("def other(x): return x", "def other(x): return 2"))
    linecache.clearcache()

    assert project.print(cell).parts == before.parts


def test_a_module_imported_inside_and_edited_after_loading_counts_with_both_texts(project: Project) -> None:
    cell = "def f(x):\n import tools\n return tools.clean(x)"
    project.write(tools=TOOLS)
    importlib.import_module("tools")
    edited = TOOLS.replace("x + LIMIT", "x * 1000")
    project.write(tools=edited)
    linecache.clearcache()

    stale = project.print(cell)

    assert any("edited after it was loaded" in sentence for sentence in stale.opaque)
    assert stale.fingerprint != project.print_anew(cell, tools=edited).fingerprint


def test_a_module_level_import_of_a_module_with_a_circle_is_followed(project: Project) -> None:
    cell = "import a\ndef f(x): return a.fa(x)"
    modules = {"a": "import b\ndef fa(x): return x and b.fb(x)\n", "b": "import a\ndef fb(x): return a.fa(x - 1)\n"}
    before = project.print_anew(cell, **modules)

    after = project.print_anew(cell, **{**modules, "b": "import a\ndef fb(x): return a.fa(x - 2)\n"})

    assert before.fingerprint != after.fingerprint


def test_statements_of_an_imported_module_that_act_on_a_name_count(project: Project) -> None:
    cell = "def f(x):\n from tools import TABLE\n return TABLE"
    before = project.print_anew(cell, tools="TABLE = {}\nTABLE['a'] = 1\n")

    after = project.print_anew(cell, tools="TABLE = {}\nTABLE['a'] = 2\n")

    assert before.fingerprint != after.fingerprint


def test_installed_packages_count_by_version_and_the_standard_library_not_at_all(project: Project) -> None:
    found = project.print("import numpy as np, json\ndef f(x): return np.sum(json.loads(x))")

    assert found.parts["package numpy"] == importlib.import_module("numpy").__version__
    assert not any("json" in label for label in found.parts)


def test_installed_packages_imported_inside_count_by_version(project: Project) -> None:
    found = project.print("def f(x):\n import pandas as pd\n from numpy.linalg import norm\n return pd, norm")

    assert {label for label in found.parts if label.startswith("package")} == {"package pandas", "package numpy"}


def test_a_missing_module_is_told(project: Project) -> None:
    found = project.print("def f(x):\n import not_there\n return not_there.x")

    assert found.opaque == ("module `not_there` isn't found",)


def test_the_package_itself_does_not_count(project: Project) -> None:
    found = project.print("from tensorlake_nb import File\ndef f(x: File): return File(data=b'')")

    assert not any("tensorlake" in label for label in found.parts)


def test_what_has_no_digest_is_told_and_known_by_its_type() -> None:
    lock, limit = threading.Lock(), 3

    def f(x: int) -> int:
        with lock:
            return x + limit

    assert fingerprint(f).opaque == ("closure `lock` (_thread.lock) is known by its type only",)


def test_options_that_decide_the_output_count_and_others_do_not() -> None:
    def body(x: int) -> int:
        return x

    plain = fingerprint(tensorlake_function()(body))

    assert fingerprint(tensorlake_function(cpu=2, timeout=5, name="other", memory=3)(body)).parts == plain.parts
    different = [
        tensorlake_function(output_encoder="json")(body),
        tensorlake_function(input_encoder="json")(body),
        tensorlake_function(version="1")(body),
        tensorlake_function(version="2")(body),
        tensorlake_router()(body),
    ]
    assert len({plain.fingerprint, *(fingerprint(f).fingerprint for f in different)}) == 6


def test_the_version_replaces_the_rest_and_still_finds_classes() -> None:
    first = tensorlake_function(version="1")(_total)

    found = fingerprint(first)

    assert found.parts["version"] == "1"
    assert "code" not in found.parts
    assert (__name__, "_Sum") in found.classes


class _Sum:
    n = 0


def _total(x: int) -> _Sum:
    return _Sum()


def test_the_accumulator_of_a_reducer_counts_with_its_class() -> None:
    def add(total: Any, x: int) -> Any:
        return total

    first = fingerprint(tensorlake_function(accumulate=_Sum)(add))

    assert first.parts["option accumulate"] == first.parts.get("option accumulate")
    assert first.fingerprint != fingerprint(tensorlake_function(accumulate=int)(add)).fingerprint
    assert (__name__, "_Sum") in first.classes


def test_a_function_written_as_a_class_counts_by_its_methods_and_not_by_its_placement() -> None:
    def make(cpu: int, result: int) -> Any:
        class Embed(TensorlakeCompute):
            name = f"embed{cpu}"

            def run(self, x: int) -> int:
                return result

        Embed.cpu = cpu
        return Embed

    assert fingerprint(make(1, 1)).fingerprint == fingerprint(make(2, 1)).fingerprint
    assert fingerprint(make(1, 1)).fingerprint != fingerprint(make(1, 2)).fingerprint


def test_a_decorated_function_called_by_another_counts_by_its_code() -> None:
    def make(n: int, cpu: int) -> Any:
        @tensorlake_function(cpu=cpu)
        def inner(x: int) -> int:
            return x + n

        def outer(x: int) -> int:
            return int(inner(x))

        return outer

    assert fingerprint(make(1, 1)).fingerprint == fingerprint(make(1, 2)).fingerprint
    assert fingerprint(make(1, 1)).fingerprint != fingerprint(make(2, 1)).fingerprint


def test_routes_in_a_return_annotation_do_not_count() -> None:
    @tensorlake_function()
    def target(x: int) -> int:
        return x

    def with_annotation(x: int) -> Any: ...

    before = fingerprint(with_annotation).parts
    with_annotation.__annotations__["return"] = target | None

    assert fingerprint(with_annotation).parts == before


def test_classes_that_may_arrive_count_with_their_methods() -> None:
    def f(item: Any) -> Any:
        return item.score()

    def make(n: int) -> type:
        class Item:
            def score(self) -> int:
                return n

        return Item

    one, two = (fingerprint(f, arriving=[make(n)]).fingerprint for n in (1, 2))

    assert len({fingerprint(f).fingerprint, one, two}) == 3
    assert fingerprint(f, arriving=[make(1)]).fingerprint == one


def test_a_hundred_functions_that_call_each_other_are_followed_once() -> None:
    cell = "".join(f"def f{i}(x): return f{i * 7 % 100}, f{i * 11 % 100}, f{(i + 1) % 100}(x)\n" for i in range(100))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(cell, namespace)

    assert len([label for label in fingerprint(namespace["f0"]).parts if label.startswith("helper")]) == 99


def test_a_typical_function_is_fingerprinted_with_few_calls(project: Project) -> None:
    project.write(tools=TOOLS)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cell = "from tools import clean, Item\nimport numpy as np\nA = {'a': 1}\ndef f(x): return clean(np.sum(x)), Item, A"
    exec(cell, namespace)
    fingerprint(namespace["f"])

    assert calls_of(lambda: fingerprint(namespace["f"])) < 2_500


SCRIPT = """
    import sys, collections
    import numpy as np
    from pydantic import BaseModel
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell.instance()
    for cell in CELLS:
        assert shell.run_cell(cell).success
    from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
    found = fingerprint(shell.user_ns["f"])
    print(found.fingerprint, found.opaque, found.sources["class Item"])
"""
CELLS = [
    "import numpy as np, enum, dataclasses\nfrom pydantic import BaseModel\n",
    "class Item(BaseModel):\n    'doc'\n    a: int = 1\n    tags: set[str] = {'x', 'y', 'z'}\n",
    "class Color(enum.Enum):\n    RED = 'r'\n\nSTOP = {'a', 'b', 'c', 'd', None, (1, 'x'), Color.RED}\n",
    "OPS = {'inc': lambda x: x + 1, 'dec': lambda x: x - 1}\nHANDLERS = {len, max, min}\n",
    "def clean(s):\n    return [w for w in s if w not in STOP]\n",
    "def f(x: Item):\n    return clean(x.tags), OPS['inc'](x.a), np.mean(x.a), HANDLERS\n",
]


def run_cells(cells: list[str], seed: int, folder: Path) -> list[str]:
    script = folder / f"s{seed}.py"
    script.write_text(f"CELLS = {cells!r}\n" + textwrap.dedent(SCRIPT))
    environment = {"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path), "HOME": str(folder)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_cells_run_by_ipython_give_the_same_fingerprint_in_another_process(tmp_path: Path) -> None:
    first = run_cells(CELLS, 1, tmp_path)
    second = run_cells([CELLS[0], "x = 1", *CELLS[2:4], CELLS[1], *CELLS[4:]], 2, tmp_path)

    assert first == second
    assert "() class Item(BaseModel):" in first[0]  # nothing opaque, and the source of a class without methods


def test_a_whole_module_as_a_value_counts_by_all_it_holds() -> None:
    module = types.ModuleType("made_up")
    vars(module).update(a=1, __name__="made_up")

    def f() -> Any:
        return module

    before = fingerprint(f).fingerprint
    vars(module).update(a=2)

    assert fingerprint(f).fingerprint != before


@pytest.mark.parametrize("name", ["random.choice", "random.random", "numpy.random.rand"])
def test_a_method_that_stands_in_a_package_counts_by_its_name_and_not_by_its_state(name: str) -> None:
    module, _, method = name.rpartition(".")
    draw = getattr(importlib.import_module(module), method)

    def draws(x: list[int]) -> Any:
        return draw(x)

    before = fingerprint(draws).fingerprint, digest([draw])
    draw(*([[1, 2]] if method == "choice" else []))

    assert (fingerprint(draws).fingerprint, digest([draw])) == before


def test_a_method_of_a_compiled_object_counts_with_its_state() -> None:
    def print_of(draw: Any) -> str:
        return fingerprint(lambda: draw).fingerprint

    one, same, other = (np.random.default_rng(seed).normal for seed in (1, 1, 2))

    assert print_of(one) == print_of(same) != print_of(other)
    assert digest([one]) == digest([same]) != digest([other])


def test_ways_back_through_caches_and_dispatchers_come_to_an_end() -> None:
    class Cached:
        def __init__(self, size: int) -> None:
            self.size = size
            self.load = functools.lru_cache(None)(self._load)

        def _load(self, x: int) -> int:
            return x * self.size

    @functools.cache
    def kept(x: int) -> int:
        return x

    @functools.singledispatch
    def kind(x: Any) -> int:
        return 1

    kept.me, kind.me = kept, kind  # type: ignore[attr-defined]
    one, same, other = (Cached(size) for size in (1, 1, 2))

    def print_of(held: Any) -> str:
        return fingerprint(lambda x: (held.load(x), kept(x), kind(x))).fingerprint

    assert print_of(one) == print_of(same) != print_of(other)


def test_docstrings_of_cached_functions_count_no_more_than_those_of_others() -> None:
    def print_of(docstring: str) -> str:
        def helper(x: int) -> int:
            return x

        helper.__doc__ = docstring
        cached = functools.cache(helper)
        return fingerprint(lambda x: cached(x)).fingerprint

    assert print_of("one") == print_of("two")
