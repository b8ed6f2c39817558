"""The examples in docstrings give what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorlake_nb

PACKAGE = Path(__file__).parents[2] / "tensorlake_nb"


def _examples() -> Iterator[tuple[str, str, str]]:
    """Yield module, name and docstring; read from the text, as public classes name another module than their own."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ">>> " in (ast.get_docstring(node) or ""):
                yield module, node.name, ast.get_docstring(node) or ""


EXAMPLES = list(_examples())


@pytest.mark.parametrize(("module", "name", "text"), EXAMPLES, ids=[f"{module}.{name}" for module, name, _ in EXAMPLES])
def test_an_example_gives_what_it_says(module: str, name: str, text: str) -> None:
    names = {
        **vars(importlib.import_module(module)),
        **{public: getattr(tensorlake_nb, public) for public in tensorlake_nb.__all__},
    }
    example = doctest.DocTestParser().get_doctest(text, names, name, None, None)

    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
