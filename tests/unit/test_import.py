"""Importing the package is quick, and loads nothing that a cell hasn't asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["dask", "distributed", "zarr", "fsspec", "ipywidgets", "IPython", "pandas", "pyarrow", "nbclient", "asyncio"]


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_no_heavy_library() -> None:
    loaded = json.loads(
        in_a_new_process(
            f"import sys, json, tensorlake_nb; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
        )
    )

    assert loaded == []


def test_decorating_a_function_loads_neither_dask_nor_zarr() -> None:
    loaded = json.loads(
        in_a_new_process(
            "import sys, json, tensorlake_nb; tensorlake_nb.tensorlake_function(name='f')(lambda x: x);"
            "print(json.dumps([m for m in ('dask', 'distributed', 'zarr', 'fsspec') if m in sys.modules]))"
        )
    )

    assert loaded == []


def test_importing_the_package_loads_little_and_nothing_that_is_installed() -> None:
    loaded = json.loads(
        in_a_new_process(
            "import sys, json; before = {*sys.modules}; import tensorlake_nb;"
            "print(json.dumps([*sys.modules.keys() - before]))"
        )
    )

    installed = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert installed == {"tensorlake_nb"}
    assert len(loaded) < 60


def test_a_star_import_brings_all_public_names() -> None:
    missing = in_a_new_process(
        "from tensorlake_nb import *; import tensorlake_nb;"
        "print([name for name in tensorlake_nb.__all__ if name not in globals()])"
    )

    assert missing == "[]"


def test_the_two_names_of_the_request_context_are_one_class() -> None:
    import tensorlake_nb

    assert tensorlake_nb.GraphRequestContext is tensorlake_nb.RequestContext


def test_an_unknown_name_is_an_attribute_error() -> None:
    import tensorlake_nb

    with pytest.raises(AttributeError, match="no attribute 'Pipeline'"):
        _ = tensorlake_nb.Pipeline


def test_dir_lists_names_that_are_not_loaded_yet() -> None:
    listed = in_a_new_process("import tensorlake_nb; print('Graph' in dir(tensorlake_nb))")

    assert listed == "True"
