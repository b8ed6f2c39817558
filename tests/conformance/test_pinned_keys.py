"""Digests, fingerprints and keys that stores on disk rely on: they may only change with the store's format version.

``python -m tests.conformance.test_pinned_keys`` writes the files anew.
"""

from __future__ import annotations

import datetime
import decimal
import json
import linecache
import pathlib
import uuid
from typing import Any

import numpy as np
import pytest

from tensorlake_nb import File
from tensorlake_nb.core.fingerprint.fingerprint import fingerprint
from tensorlake_nb.core.keys import Fingerprint, fold_next, fold_start, row_digest, stream_digest, task_key
from tensorlake_nb.core.values.digest import digest, inputs_digest, list_digest

FOLDER = pathlib.Path(__file__).parent / "keys"

VALUES: dict[str, Any] = {
    "None": None,
    "True": True,
    "1": 1,
    "-1": -1,
    "2**100": 2**100,
    "1.5": 1.5,
    "-0.0": -0.0,
    "1j": 1j,
    "'text é'": "text é",
    "'a' * 100": "a" * 100,
    "b'bytes'": b"bytes",
    "[]": [],
    "[1, 'a', [2.0]]": [1, "a", [2.0]],
    "(1, ('a',))": (1, ("a",)),
    "{'b': 1, 'a': [2]}": {"b": 1, "a": [2]},
    "{'a', 'b', 3}": {"a", "b", 3},
    "Decimal('1.50')": decimal.Decimal("1.50"),
    "UUID(int=1)": uuid.UUID(int=1),
    "PurePosixPath('a/b')": pathlib.PurePosixPath("a/b"),
    "datetime(2020, 1, 2, 3, 4, 5, 6)": datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
    "date(2020, 1, 2)": datetime.date(2020, 1, 2),
    "timedelta(1, 2, 3)": datetime.timedelta(1, 2, 3),
    "np.arange(6, dtype='<i8').reshape(2, 3)": np.arange(6, dtype="<i8").reshape(2, 3),
    "np.arange(6, dtype='<f4')": np.arange(6, dtype="<f4"),
    "np.arange(1000, dtype='<f8')": np.arange(1000, dtype="<f8"),
    "np.array(['a', 'bc'])": np.array(["a", "bc"], "<U2"),
    "np.array(['2020'], 'M8[ns]')": np.array(["2020"], "<M8[ns]"),
    "np.float64(1)": np.float64(1),
    "np.array([1, 'a'], object)": np.array([1, "a"], object),
    "File(data=b'a', mime_type='text/plain')": File(data=b"a", mime_type="text/plain"),
}
CELLS = {
    "a constant": "def f(x):\n    return x + 1\n",
    "a helper and a global": "A = 3\ndef clean(x):\n    return x + A\ndef f(x, n=2):\n    return clean(x) * n\n",
    "a class": "class T:\n    count = 0\n    def add(self, n):\n        return n\ndef f(x):\n    return T().add(x)\n",
    "two lambdas": "OPS = {'a': lambda x: x + 1, 'b': lambda x: x * 2}\ndef f(x):\n    return OPS['a'](x)\n",
    "a closure": "def make(n):\n    def f(x):\n        return x * n\n    return f\nf = make(3)\n",
}


def found_digests() -> dict[str, str]:
    return {name: digest(value).hex() for name, value in VALUES.items()}


def found_fingerprints() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, cell in CELLS.items():
        filename = f"<ipython-input-{name}>"
        linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(cell, filename, "exec", dont_inherit=True), namespace)
        found[name] = fingerprint(namespace["f"]).fingerprint
    return found


def found_keys() -> dict[str, str]:
    one, two = digest(1), digest("two")
    return {
        "task_key": task_key(Fingerprint("ab" * 32), one).hex(),
        "row_digest": row_digest([("left", one), ("right", two)]).hex(),
        "fold": fold_next(fold_start(), one).hex(),
        "stream_digest": stream_digest([one + two]).hex(),
        "list_digest": list_digest(one + two).hex(),
        "inputs_digest": inputs_digest({"b": 1, "a": "two"}).hex(),
    }


FILES = {"digests.json": found_digests, "fingerprints.json": found_fingerprints, "keys.json": found_keys}


@pytest.mark.parametrize("file", FILES)
def test_what_is_pinned_has_not_changed(file: str) -> None:
    pinned = json.loads((FOLDER / file).read_text())

    assert FILES[file]() == pinned


if __name__ == "__main__":
    for file, find in FILES.items():
        (FOLDER / file).write_text(json.dumps(find(), indent=2, ensure_ascii=False) + "\n")
