"""The rules that hold between files: imports go down, rooms are small, public names and errors keep their promises."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tensorlake_nb
from tensorlake_nb import Graph, Run, errors
from tensorlake_nb.core.planning.validate import PLACES

PACKAGE = Path(tensorlake_nb.__file__).parent
#: The rooms, from the ground up: each imports only from those before it and from itself, for type checkers too.
FLOORS = (
    *("errors", "core", "core/values", "core/code", "core/fingerprint"),
    *("core/functions", "core/batches", "core/graphs", "core/planning", "core/streams"),
    *("store", "store/filesystems", "store/codecs", "store/format", "store/writing", "store/reading"),
    *("store/checkpoints", "store/claims", "store/collecting"),
    *("engine/process", "engine/travel", "engine/calls", "engine/cluster", "engine/desk", "engine/worker"),
    *("engine/driving", "engine/reports", "engine/verifying", "engine/runs"),
    *("notebook/drawing", "notebook/namespace", "notebook/panel", "notebook/terminal", "notebook/shell"),
    *("notebook/magics", "notebook", "testing"),
)
#: The core knows neither Jupyter nor Dask nor Zarr, so a worker without a notebook can load it.
NOT_IN_CORE = {"dask", "distributed", "zarr", "fsspec", "IPython", "ipykernel", "ipywidgets", "nbclient", "asyncio"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


def room_of(module: str) -> str | None:
    """The room of ``tensorlake_nb.<room>.<file>``; None for the package itself and for other packages."""
    package, *steps = module.split(".")
    if package != "tensorlake_nb" or not steps:
        return None
    place = PACKAGE.joinpath(*steps)
    return "/".join(steps if place.is_dir() or len(steps) == 1 else steps[:-1])


def module_of(path: Path) -> str:
    return ".".join(("tensorlake_nb", *path.relative_to(PACKAGE).with_suffix("").parts))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of each import of a file, wherever in it, and of each ``import_module`` of a fixed name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: absolute imports only"
            assert node.module is not None
            for name in node.names:
                whole = PACKAGE.parent.joinpath(*node.module.split("."), name.name)
                is_module = whole.is_dir() or whole.with_suffix(".py").is_file()
                yield node.lineno, f"{node.module}.{name.name}" if is_module else node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module" and node.args:
            yield node.lineno, ast.unparse(node.args[0]).strip("'")


def shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_imports_go_down(path: Path) -> None:
    mine = room_of(module_of(path))
    assert mine in FLOORS, "every file belongs to a room"

    for line, module in imports_of(path):
        theirs = room_of(module)
        if theirs is not None:
            assert FLOORS.index(theirs) <= FLOORS.index(mine), f"{path}:{line} imports {module}, which stands above it"
        if mine == "errors" or mine.startswith("core"):
            assert module.split(".")[0] not in NOT_IN_CORE, f"{path}:{line}: the core knows nothing of {module}"


def test_the_rule_notices_an_import_of_what_stands_above(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from tensorlake_nb.engine.runs.run import Run\n"
        "from tensorlake_nb.engine import worker\n"
        "def late():\n    import_module('tensorlake_nb.notebook.cli')\n    from tensorlake_nb import testing\n"
    )

    rooms = [(line, room_of(module)) for line, module in imports_of(file)]

    assert sorted(rooms, key=str) == [
        (1, None),
        (3, "engine/runs"),
        (4, "engine/worker"),
        (6, "notebook"),
        (7, "testing"),
    ]


@pytest.mark.parametrize("room", ROOMS, ids=shown)
def test_a_room_says_what_it_is_for_and_can_be_seen_at_once(room: Path) -> None:
    tree = ast.parse((room / "__init__.py").read_text())
    files = [path for path in room.glob("*.py") if path.name != "__init__.py"]
    rooms_within = [path for path in ROOMS if path.parent == room]

    assert ast.get_docstring(tree)
    assert room.name == "testing" or len(tree.body) == 1, "a charter and nothing else"
    assert len(files) <= 12
    assert len(files) + len(rooms_within) >= 3


def test_the_architecture_page_lists_the_rooms_as_they_describe_themselves() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    listed = re.findall(r"^\| `((?:core|store|engine|notebook)[a-z/]*)/` \| (.*) \|$", page, re.MULTILINE)
    charters = {shown(room): ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or "" for room in ROOMS}

    assert [room for room, _ in listed] == [
        room for layer in ("core", "store", "engine", "notebook") for room in in_order(layer)
    ]
    assert {room: charters[room].split("\n")[0] for room, _ in listed} == dict(listed)


def in_order(layer: str) -> list[str]:
    return [layer, *(room for room in FLOORS if room.startswith(f"{layer}/"))]


def test_the_drawing_of_an_elements_life_has_the_places_of_the_code() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    drawing = page[page.index("stateDiagram-v2") :].split("```")[0]

    assert set(re.findall(r"\b([a-z_]+) -->", drawing)) == set(PLACES)


def test_files_that_the_docs_name_are_there() -> None:
    root = PACKAGE.parent
    for page in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]:
        for name in re.findall(
            r"`((?:core|store|engine|notebook)/[\w/]+\.py|labextension/src/\w+\.ts)", page.read_text()
        ):
            place = root / name if name.startswith("labextension") else PACKAGE / name
            assert place.is_file(), f"{page.name} names {name}"


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict[str, list[str]](list)
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(shown(path))

    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_all_and_the_table_of_homes_name_the_same() -> None:
    assert set(tensorlake_nb.__all__) == set(tensorlake_nb._HOMES)
    assert len(set(tensorlake_nb.__all__)) == len(tensorlake_nb.__all__)


@pytest.mark.parametrize("name", tensorlake_nb.__all__)
def test_a_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(tensorlake_nb, name)

    assert (inspect.getdoc(value) or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("public", [Graph, Run, tensorlake_nb.configure, tensorlake_nb.collect])
def test_what_public_functions_return_is_public(public: Any) -> None:
    returning = [public] if inspect.isfunction(public) else [m for _, m in inspect.getmembers(public, callable)]
    returning += [member.fget for _, member in inspect.getmembers(public, lambda member: isinstance(member, property))]
    returned = {
        name: getattr(sys.modules[function.__module__], name, None)
        for function in returning
        if not function.__name__.startswith("_") and inspect.isfunction(inspect.unwrap(function))
        for name in re.findall(r"\w+", str(inspect.get_annotations(function).get("return")))
    }
    ours = {name for name, kind in returned.items() if getattr(kind, "__module__", "").startswith("tensorlake_nb")}

    assert ours, "it returns something of this package"
    assert {name for name in ours if inspect.isclass(returned[name])} <= set(tensorlake_nb.__all__)


def test_type_checkers_see_every_public_name() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    seen = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert set(tensorlake_nb.__all__) <= seen


# --- errors ----------------------------------------------------------------------------------------------------------

EXAMPLES: dict[type[errors.TensorlakeError], tuple[object, ...]] = {
    errors.GraphError: ("pipeline", ("node 'a' can't be reached", "unknown route 'b'")),
    errors.TaskFailedError: ("parse", 3, "'<html>'", 2, "ValueError: no title", "Traceback ...\n  cell line 4"),
    errors.RouteError: ("by_kind", "tables", ("text", "image")),
}
ERRORS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TensorlakeError)),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_pickles_back_with_its_message_and_fields(kind: type[errors.TensorlakeError]) -> None:
    error = kind(*EXAMPLES.get(kind, ("what happened, where, and what to do",)))

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert str(again) == str(error)
    assert str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_stands_in_the_tree_and_among_the_public_names(kind: type[errors.TensorlakeError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert getattr(tensorlake_nb, kind.__name__) is kind


def test_handlers_may_also_catch_the_builtin_kinds() -> None:
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.CheckpointNotFoundError, LookupError)
    assert issubclass(errors.RunNotFoundError, LookupError)
    assert issubclass(errors.TaskTimeoutError, TimeoutError)


def test_a_graph_with_several_problems_lists_them_all() -> None:
    error = errors.GraphError("pipeline", ("first problem", "second problem"))

    assert str(error) == "graph 'pipeline' has 2 problems:\n  - first problem\n  - second problem"
