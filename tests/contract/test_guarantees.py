"""The page of guarantees names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "guarantees.md"
NAMED = sorted(set(re.findall(r"`([a-z]+/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())))


def test_guarantees_are_shown_by_tests() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|") and not line.startswith("|---")]
    promises = [line for line in rows if not line.startswith("| promise")]

    assert len(promises) > 30
    assert [line for line in promises if not re.search(r"`[a-z]+/[\w/]+\.py", line)] == []


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_exists(file: str, test: str) -> None:
    tree = ast.parse((TESTS / file).read_text())

    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    assert not test or test in functions
