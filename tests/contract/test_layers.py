"""The rules that hold between files: imports point left, and public names and errors keep their promises."""

from __future__ import annotations

import ast
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorlake_nb
from tensorlake_nb import errors

PACKAGE = Path(tensorlake_nb.__file__).parent
LAYERS = ("errors", "core", "store", "engine", "notebook", "testing")
#: The core knows neither Jupyter nor Dask nor Zarr, so a worker without a notebook can load it.
NOT_IN_CORE = {"dask", "distributed", "zarr", "fsspec", "IPython", "ipykernel", "ipywidgets", "nbclient", "asyncio"}


def layer_of(module: str) -> int | None:
    """Position of ``tensorlake_nb.<layer>...`` in the order of layers; None for the package itself."""
    parts = module.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else None


def imports_of(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, module, whether only type checkers see it) of each import of a file."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name, id(node) in for_types
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: absolute imports only"
            assert node.module is not None
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield node.lineno, whole if node.module == "tensorlake_nb" else node.module, id(node) in for_types


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_left(path: Path) -> None:
    mine = layer_of("tensorlake_nb." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    assert mine is not None, "every file belongs to a layer"

    for line, module, for_types in imports_of(path):
        theirs = layer_of(module) if module.split(".")[0] == "tensorlake_nb" else None
        if theirs is not None and not for_types:
            assert theirs <= mine, f"{path}:{line} imports {module}, which stands to its right"
        if mine <= LAYERS.index("core"):
            assert module.split(".")[0] not in NOT_IN_CORE, f"{path}:{line}: the core knows nothing of {module}"


def test_the_layer_rule_notices_an_import_to_the_right(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("from tensorlake_nb.engine.runs.run import Run\nfrom tensorlake_nb import engine\n")

    found = [(line, module) for line, module, _ in imports_of(file)]

    assert found == [(1, "tensorlake_nb.engine.runs.run"), (2, "tensorlake_nb.engine")]
    assert all(layer_of(module) == LAYERS.index("engine") for _, module in found)


def test_all_and_the_table_of_homes_name_the_same() -> None:
    assert set(tensorlake_nb.__all__) == set(tensorlake_nb._HOMES)
    assert len(set(tensorlake_nb.__all__)) == len(tensorlake_nb.__all__)


@pytest.mark.parametrize("name", tensorlake_nb.__all__)
def test_a_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(tensorlake_nb, name)

    assert (inspect.getdoc(value) or "").strip(), f"{name} has no docstring"


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
