"""Functions that travel: by value, with their classes and sources, and culprits named when they can't."""

from __future__ import annotations

import enum
import functools
import importlib
import json
import pickle
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

import numpy as np
import pytest
import zarr.storage
from pydantic import BaseModel

from tensorlake_nb import tensorlake_function
from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.functions.function import Function
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.engine.travel import pickler, unpickler
from tensorlake_nb.engine.travel.packing import pack, unpack
from tensorlake_nb.errors import SerializationError
from tensorlake_nb.store.codecs.classes import ClassTable

LIMIT = 3
T = TypeVar("T")


class Total(BaseModel):
    value: int = 0


@dataclass
class Point:
    x: int


class Colour(enum.Enum):
    RED = 1


def packed(function: Function) -> bytes:
    return pack(fingerprint(function), function)


def elsewhere(data: bytes, expression: str, folder: Path) -> Any:
    """Evaluate an expression over an unpacked function ``f`` in a new process that knows none of these modules."""
    (folder / "code").write_bytes(data)
    script = (
        "import json, sys\nfrom tensorlake_nb.engine.travel.packing import unpack\n"
        f"unpacked = unpack(open({str(folder / 'code')!r}, 'rb').read())\nf = unpacked.function\n"
        f"print(json.dumps({expression}))\n"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, env={"PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules beside the notebook."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(project: Path, name: str, text: str) -> types.ModuleType:
    (project / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    return importlib.import_module(name)


# --- by value --------------------------------------------------------------------------------------------------------


def test_a_function_with_its_helpers_globals_and_classes_comes_to_life_in_another_process(tmp_path: Path) -> None:
    factor = 5

    def helper(x: int) -> int:
        return x * factor

    @tensorlake_function
    def scaled(x: int) -> int:
        return Total(value=helper(x) + LIMIT).value

    assert elsewhere(packed(scaled), "f(2)", tmp_path) == 13


class Steps:
    second = 2
    first = 1

    def zeroth(self) -> int:
        return 0

    def last(self) -> int:
        return 3


def test_a_class_keeps_the_order_of_what_is_in_it(tmp_path: Path) -> None:
    @tensorlake_function
    def order(x: int) -> list[str]:
        return [name for name in vars(Steps) if not name.startswith("_")]

    assert elsewhere(packed(order), "f(2)", tmp_path) == ["second", "first", "zeroth", "last"]


def test_modules_go_by_reference_whatever_their_class(tmp_path: Path) -> None:
    assert type(zarr.storage) is not types.ModuleType

    @tensorlake_function
    def stored(x: int) -> str:
        return zarr.storage.MemoryStore.__name__

    assert elsewhere(packed(stored), "f(1)", tmp_path) == "MemoryStore"


def test_a_project_module_travels_by_value(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    module = write(project, "helpers_a", "FACTOR = 2\ndef scale(x):\n    return x * FACTOR\n")

    @tensorlake_function
    def scaled(x: int) -> Any:
        return module.scale(x)

    module.FACTOR = 10  # type: ignore[attr-defined]

    assert elsewhere(packed(scaled), "f(2)", tmp_path_factory.mktemp("elsewhere")) == 20


def test_a_function_of_a_project_module_shares_its_globals_with_the_module(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    module = write(project, "helpers_b", "count = 0\ndef bump():\n    global count\n    count += 1\n    return count\n")
    bump = module.bump

    @tensorlake_function
    def bumped(x: int) -> Any:
        bump()
        return module.count

    assert elsewhere(packed(bumped), "f(1)", tmp_path_factory.mktemp("elsewhere")) == 1


def test_a_worker_that_imported_an_older_module_still_runs_the_newer_code(project: Path) -> None:
    old = write(project, "helpers_c", "def answer():\n    return 'old'\n")

    @tensorlake_function
    def asked(x: int) -> Any:
        return old.answer()

    (project / "helpers_c.py").write_text("def answer():\n    return 'new, and longer'\n")
    importlib.reload(old)
    data = packed(asked)
    del sys.modules["helpers_c"]
    stale = types.ModuleType("helpers_c")
    stale.answer = lambda: "stale"  # type: ignore[attr-defined]
    sys.modules["helpers_c"] = stale
    try:
        assert unpack(data).function(1) == "new, and longer"
    finally:
        del sys.modules["helpers_c"]


def test_what_a_project_module_holds_and_cannot_be_pickled_is_imported_there(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "import threading\nLOCK = threading.Lock()\ndef safe(x):\n    with LOCK:\n        return x + 1\n"
    module = write(project, "helpers_d", text)
    safe = module.safe

    @tensorlake_function
    def called(x: int) -> Any:
        return safe(x) + module.safe(x)

    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "helpers_d.py").write_text(text)

    assert elsewhere(packed(called), "(sys.path.insert(0, '.'), f(1))[1]", folder) == 4


def test_a_module_that_is_imported_in_the_body_comes_along_with_what_it_imports(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (project / "helpers_g.py").write_text("import helpers_h\ndef answer():\n    return helpers_h.VALUE\n")
    (project / "helpers_h.py").write_text("VALUE = 5\n")
    importlib.invalidate_caches()

    @tensorlake_function
    def asked(x: int) -> Any:
        import helpers_g  # type: ignore[import-not-found]

        return helpers_g.answer()

    assert elsewhere(packed(asked), "f(1)", tmp_path_factory.mktemp("elsewhere")) == 5


def test_a_worker_that_imported_an_older_module_imports_the_newer_one_in_the_body(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    module = project / "helpers_i.py"
    module.write_text("def answer():\n    return 'old'\n")
    importlib.invalidate_caches()

    @tensorlake_function
    def asked(x: int) -> Any:
        import helpers_i  # type: ignore[import-not-found]

        return helpers_i.answer()

    old = packed(asked)
    module.write_text("def answer():\n    return 'new'\n")
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "second").write_bytes(packed(asked))
    expression = "[f(1), unpack(open('second', 'rb').read()).function(1)]"

    assert elsewhere(old, expression, folder) == ["old", "new"]


def test_unpacking_in_the_kernel_itself_leaves_its_modules_alone(project: Path) -> None:
    module = write(project, "helpers_j", "def answer():\n    return 1\n")

    @tensorlake_function
    def asked(x: int) -> Any:
        import helpers_j  # type: ignore[import-not-found]

        return helpers_j.answer()

    unpack(packed(asked))

    assert sys.modules["helpers_j"] is module


def test_packing_leaves_no_module_registered_for_pickling_by_value(project: Path) -> None:
    import cloudpickle

    module = write(project, "helpers_e", "def same(x):\n    return x\n")

    @tensorlake_function
    def called(x: int) -> Any:
        return module.same(x)

    packed(called)

    assert not cloudpickle.list_registry_pickle_by_value()


def test_the_other_functions_of_a_graph_stay_at_home() -> None:
    lock = threading.Lock()

    @tensorlake_function
    def after(x: int) -> int:
        with lock:
            return x

    @tensorlake_function(next=[after])
    def before(x: int) -> int:
        return x

    assert unpack(packed(before)).function(3) == 3


def test_annotations_are_resolved_where_their_names_are_known(tmp_path: Path) -> None:
    @tensorlake_function(accumulate=Total)
    def add(total: Total, point: Point | None) -> Total:
        return total

    text = elsewhere(
        packed(add), "[str(v) for v in __import__('inspect').signature(f.call).parameters.values()]", tmp_path
    )

    assert "Total" in text[0]
    assert "'" not in text[0]


# --- classes ---------------------------------------------------------------------------------------------------------


def test_classes_that_a_function_knows_travel_with_it() -> None:
    @tensorlake_function
    def uses(x: int) -> Any:
        return [Total(value=x), Point(x), Colour.RED]

    classes = unpack(packed(uses)).classes

    assert {name for _, name in classes} >= {"Total", "Point", "Colour"}


def test_in_another_process_all_functions_share_one_class(tmp_path: Path) -> None:
    @tensorlake_function
    def make(x: int) -> Any:
        return Total(value=x)

    @tensorlake_function
    def check(total: Any) -> bool:
        return isinstance(total, Total)

    (tmp_path / "second").write_bytes(packed(check))
    expression = "unpack(open('second', 'rb').read()).function(f(1))"

    assert elsewhere(packed(make), expression, tmp_path) is True


def test_unpacking_in_the_kernel_itself_leaves_its_classes_alone() -> None:
    class Mine:
        def answer(self) -> int:
            return 1

    before = Mine.answer

    @tensorlake_function
    def uses(x: int) -> Any:
        return Mine().answer()

    @tensorlake_function
    def makes(x: int) -> Any:
        return Mine()

    made = unpack(packed(makes)).function(1)

    assert unpack(packed(uses)).function(1) == 1
    assert Mine.answer is before
    assert type(made) is type(unpack(packed(makes)).function(1)), "all that is unpacked shares one class"


def reading(project: Path, name: str) -> tuple[Any, Any]:
    """A module with a class that reaches a base, a helper and a global, and a function that gives what they say."""
    module: Any = write(
        project,
        name,
        """
LIMIT = 1
def helper(): return 1
class Base:
    def of_base(self): return 1
class Reads(Base):
    def of_helper(self): return helper()
    def of_global(self): return LIMIT
""",
    )

    @tensorlake_function
    def reads(x: int) -> Any:
        it = module.Reads()
        return [it.of_base(), it.of_helper(), it.of_global()]

    return module, reads


def test_an_edit_in_the_kernel_changes_nothing_that_was_packed_before_it(project: Path) -> None:
    module, reads = reading(project, "helpers_k")

    data = packed(reads)
    before = unpack(data).function
    module.Base.of_base = lambda self: 2
    module.helper = lambda: 2
    module.LIMIT = 2

    assert before(1) == [1, 1, 1]
    assert unpack(data).function(1) == [1, 1, 1]
    assert unpack(packed(reads)).function(1) == [2, 2, 2]


def test_a_class_whose_bases_are_no_classes_comes_to_life_there(tmp_path: Path) -> None:
    class Box(Generic[T]):
        size = 2

    class Sized(Box[int]):
        pass

    class Row(TypedDict):
        x: int

    @tensorlake_function
    def makes(row: Row) -> Any:
        return [Sized.size, Row(x=1)]

    assert elsewhere(packed(makes), "f({'x': 1})", tmp_path) == [2, {"x": 1}]


def test_a_class_changed_in_place_is_a_new_class_there(tmp_path: Path) -> None:
    class Greeter:
        def greet(self) -> str:
            return "hello"

    @tensorlake_function
    def greets(x: int) -> str:
        return Greeter().greet()

    first = packed(greets)

    def louder(self: Any) -> str:
        return "HELLO"

    Greeter.greet = louder  # type: ignore[method-assign]
    (tmp_path / "second").write_bytes(packed(greets))
    expression = "[f(1), unpack(open('second', 'rb').read()).function(1), f(1)]"

    assert elsewhere(first, expression, tmp_path) == ["hello", "HELLO", "hello"]


def test_a_class_is_a_new_one_there_when_what_it_reaches_was_edited(tmp_path: Path, project: Path) -> None:
    module, reads = reading(project, "helpers_e")

    first = packed(reads)
    (tmp_path / "0").write_bytes(first)
    module.Base.of_base = lambda self: 2
    (tmp_path / "1").write_bytes(packed(reads))
    module.helper = lambda: 2
    (tmp_path / "2").write_bytes(packed(reads))
    module.LIMIT = 2
    (tmp_path / "3").write_bytes(packed(reads))
    expression = "[unpack(open(str(n), 'rb').read()).function(1) for n in (0, 1, 2, 3)] + [f(1)]"

    results = elsewhere(first, expression, tmp_path)

    assert results == [[1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2], [1, 1, 1]]


def test_what_functools_and_typing_make_of_functions_travels_by_value(project: Path, tmp_path_factory: Any) -> None:
    module = write(
        project,
        "helpers_f",
        """
import functools, typing
@functools.lru_cache(maxsize=7)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
@functools.singledispatch
def kind(x): return "other"
@kind.register
def _(x: int): return "int"
kind.note = "noted"
UserId = typing.NewType("UserId", int)
class Lazy:
    @functools.cached_property
    def once(self): return [1]
    @functools.singledispatchmethod
    def kind(self, x): return "other"
    @kind.register
    def _(self, x: int): return "int"
    @functools.cache
    def kept(self): return 4
""",
    )
    assert (module.fib(3), module.kind(1), module.Lazy().kind(1)) == (2, "int", "int")  # in use, caches and all

    @tensorlake_function
    def uses(x: int) -> Any:
        it = module.Lazy()
        return [
            module.fib(10),
            module.fib.cache_parameters()["maxsize"],
            [module.kind(1), module.kind("a"), module.kind.note],
            module.UserId(5),
            it.once is it.once,
            [it.kind(1), it.kind("a")],
            it.kept(),
        ]

    there = elsewhere(packed(uses), "f(1)", tmp_path_factory.mktemp("elsewhere"))

    assert there == [55, 7, ["int", "other", "noted"], 5, True, ["int", "other"], 4]


def _descending(a: int, b: int) -> int:
    return b - a


@pytest.mark.parametrize(
    ("made", "use", "given"),
    [
        (struct.Struct("<IHH"), lambda it: (it.format, it.pack(1, 2, 3)), ("<IHH", b"\x01\0\0\0\x02\0\x03\0")),
        (functools.cmp_to_key(_descending), lambda it: sorted([1, 3, 2], key=it), [3, 2, 1]),
        (
            np.frompyfunc(lambda a, b: a * b + 1, 2, 1),
            lambda it: (list(it([1, 2], [3, 4])), it.identity),
            ([4, 9], None),
        ),
        (np.frompyfunc(lambda a, b: a * b, 2, 1, identity=1), lambda it: (it.reduce([2, 5]), it.identity), (10, 1)),
        (np.exp, lambda it: it is np.exp, True),
    ],
    ids=["struct", "cmp_to_key", "ufunc", "ufunc with an identity", "a package's ufunc"],
)
def test_what_c_makes_and_does_not_pickle_is_made_again(made: Any, use: Any, given: Any) -> None:
    assert use(unpickler.loads(pickler.dumps(made)[0])) == given


def test_a_function_below_validate_call_travels_without_all_that_stands_around_it(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = """
from __future__ import annotations
import threading
from typing import Annotated
from pydantic import AfterValidator, BaseModel, validate_call
unsendable = threading.Lock()
class Page(BaseModel):
    number: int = 3
@validate_call(validate_return=True)
def turned(page: Page, by: Annotated[int, AfterValidator(lambda n: n * 10)] = 0) -> str:
    return page.number + by if by > 90 else turned(page, by="91")
def uses(x):
    try:
        return turned({}, by=x)
    except ValueError as error:
        return [(each["loc"], each["type"]) for each in error.errors()]
"""
    uses = tensorlake_function(write(project, "helpers_g", text).uses)

    there = elsewhere(packed(uses), "[f(1), f('a')]", tmp_path_factory.mktemp("elsewhere"))

    assert there == json.loads(json.dumps([uses(1), uses("a")]))
    assert there[0] == [[[], "string_type"]]


def test_a_base_is_not_told_again_of_a_class_that_was_written_elsewhere(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    module = write(
        project,
        "helpers_h",
        """
class Base:
    known = []
    def __init_subclass__(cls, *, key, **more):
        super().__init_subclass__(**more)
        Base.known.append(key)
class First(Base, key="first"): pass
class Second(First, key="second"): pass
""",
    )

    @tensorlake_function
    def told(x: int) -> Any:
        class Third(module.Base, key="third"):  # type: ignore[call-arg, misc, name-defined]
            pass

        return [module.Base.known, issubclass(module.Second, module.Base)]

    assert elsewhere(packed(told), "f(1)", tmp_path_factory.mktemp("elsewhere")) == [["first", "second", "third"], True]


def test_classes_inside_classes_keep_the_names_that_tell_them_apart(tmp_path: Path) -> None:
    class A:
        class Item:
            pass

    class B:
        class Item:
            pass

    @tensorlake_function
    def differ(x: int) -> list[Any]:
        return [digest(A.Item()) == digest(B.Item()), A.Item.__qualname__.removeprefix(A.__qualname__)]

    assert elsewhere(packed(differ), "f(1)", tmp_path) == [False, ".Item"]


def test_a_class_table_finds_classes_by_name_and_names_by_class() -> None:
    table = ClassTable({("__main__", "Total"): Total})

    assert table.find("__main__", "Total") is Total
    assert table.name_of(Total) == ("__main__", "Total")
    assert table.name_of(int) is None
    with pytest.raises(LookupError):
        table.find("__main__", "Other")


# --- culprits --------------------------------------------------------------------------------------------------------


def complaint(function: Function) -> str:
    with pytest.raises(SerializationError) as caught:
        packed(function)
    return str(caught.value)


def test_an_unpicklable_closure_variable_is_named_with_its_holder() -> None:
    lock = threading.Lock()

    def helper(x: int) -> int:
        with lock:
            return x

    @tensorlake_function
    def guarded(x: int) -> int:
        return helper(x)

    text = complaint(guarded)

    assert "function 'guarded' can't be sent to a worker" in text
    assert "the closure variable 'lock' of helper() is a lock" in text


def test_an_unpicklable_global_of_the_notebook_is_named_with_its_holder() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "lock": threading.Lock()}
    exec("def guarded(x):\n    with lock:\n        return x\n", namespace)

    text = complaint(tensorlake_function(namespace["guarded"]))

    assert "the global 'lock' of guarded() is a lock" in text
    assert "Make it inside the function" in text


def test_an_unpicklable_part_of_a_container_is_named_by_its_place() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "tools": {"a": [1, threading.Lock()]}}
    exec("def guarded(x):\n    return tools\n", namespace)

    assert "the global 'tools' of guarded()['a'][1] is a lock" in complaint(tensorlake_function(namespace["guarded"]))


def test_code_of_another_format_is_refused_by_name() -> None:
    with pytest.raises(SerializationError, match="same version"):
        unpack(pickle.dumps(("tensorlake-nb-code/99", b"")))


def test_a_module_that_is_missing_there_is_named(tmp_path: Path, project: Path) -> None:
    module = write(project, "helpers_f", "import threading\nLOCK = threading.Lock()\ndef f(x):\n    return LOCK, x\n")
    f = module.f

    @tensorlake_function
    def called(x: int) -> Any:
        return f(x)

    data = packed(called)
    del sys.modules["helpers_f"]
    (project / "helpers_f.py").unlink()
    importlib.invalidate_caches()

    with pytest.raises(SerializationError, match="'helpers_f', which this worker can't import"):
        unpack(data)


# --- tracebacks ------------------------------------------------------------------------------------------------------


def test_tracebacks_show_the_lines_of_a_cell_that_exists_nowhere_else(tmp_path: Path) -> None:
    import linecache

    source = "def fails(x):\n    return x / 0  # the cell's own line\n"
    filename = "<cell 7>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, filename, "exec"), namespace)
    data = packed(tensorlake_function(namespace["fails"]))
    script = "(lambda tb: tb)(__import__('tests_traceback').of(f))"
    (tmp_path / "tests_traceback.py").write_text(
        "import traceback\ndef of(f):\n    try:\n        f(1)\n    except Exception:\n"
        "        return traceback.format_exc()\n"
    )

    text = elsewhere(data, f"(sys.path.insert(0, '.'), {script})[1]", tmp_path)

    assert "return x / 0  # the cell's own line" in text
