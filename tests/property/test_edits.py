"""A short round of ``python -m tests.edits``: programs drawn at random, edited, and compared with plain Python."""

from __future__ import annotations

import pytest

from tests.edits.drawing import pairs
from tests.edits.programs import Program
from tests.edits.trial import Pair, UnusableError, judged

PAIRS = 150


def test_an_edit_is_seen_where_it_changes_what_comes_out_and_nowhere_else() -> None:
    found = []
    for pair in pairs(PAIRS, seed=0):
        try:
            verdict = judged(pair)
        except UnusableError:
            continue
        if verdict.kind not in ("right", "confined"):
            found.append(f"{pair.what}: {verdict}\n{pair.script()}")

    assert not found, f"{len(found)} pairs, the first: {found[0]}"


_ADDS = "def f(v):\n    return v + 1\n"
_COUNTS = "K = [0]\ndef f(v):\n    K[0] += 1\n    return K[0]\n"


@pytest.mark.parametrize(
    ("before", "after", "neutral", "kind"),
    [
        (_ADDS, _ADDS.replace("1", "2"), False, "right"),
        (_ADDS, _ADDS.replace("v + 1", "1 + v"), True, "missed"),
        (_ADDS, _ADDS.replace("1", "2"), True, "not neutral"),
        (_COUNTS, _COUNTS.replace("K[0]\n", "9\n"), False, "touched"),
    ],
)
def test_a_pair_is_judged_by_what_python_gives(before: str, after: str, neutral: bool, kind: str) -> None:
    pair = Pair("an edit", Program((before,)), Program((after,)), neutral)

    assert judged(pair).kind == kind
