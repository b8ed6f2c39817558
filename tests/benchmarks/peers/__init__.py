"""Other tools doing the work that is timed here, each by a script that stands alone and prints one line of JSON.

    python -m venv VENV && VENV/bin/pip install REQUIREMENTS && VENV/bin/python SCRIPT [--elements 2000]

The scripts import nothing from this project, so that each can run in an environment with its own peer and no more.
"""

from __future__ import annotations

PEERS: dict[str, tuple[str, list[str]]] = {
    "raw_dask": ("raw_dask.py", ["distributed"]),
    "joblib_memory": ("joblib_memory.py", ["joblib", "numpy"]),
    "marimo_cache": ("marimo_cache.py", ["marimo"]),
    "pipefunc_map": ("pipefunc_map.py", ["pipefunc"]),
    "plain_zarr": ("plain_zarr.py", ["zarr>=3", "numpy"]),
}
"""The peers by name: the file of the script, and what pip has to install for it."""
