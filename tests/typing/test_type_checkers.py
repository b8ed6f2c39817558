"""mypy and pyright see the types that users are to get, and the mistakes that users are to be told of.

The files beside this one are never run. ``assert_type`` says what an expression is, an ignored error what is refused:
one that isn't there is an error itself. mypy uses the cache of the plain ``mypy``, which checks these files too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = [str(path) for path in sorted(HERE.glob("[!_]*.py")) if path != Path(__file__)]


@pytest.mark.parametrize("checker", [["mypy"], ["pyright", "--pythonpath", sys.executable]], ids=lambda c: c[0])
def test_a_type_checker_agrees_with_every_example(checker: list[str]) -> None:
    command = [sys.executable, "-m", *checker, *EXAMPLES]

    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    assert EXAMPLES
    assert checked.returncode == 0, checked.stdout + checked.stderr
