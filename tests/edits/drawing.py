"""Pairs of programs, each from the seed of its own."""

from __future__ import annotations

import random

from tests.edits.changes import Edit, edited_unused, mutated, neutral, turned
from tests.edits.programs import drawn, program
from tests.edits.trial import Pair


def pair(seed: int, first: int = 1) -> Pair | None:
    """The pair of a seed, its parts numbered from ``first`` on; none where the edit that was drawn doesn't apply."""
    rng = random.Random(seed)
    found: Edit | None
    trees = drawn(rng, first)
    before = program(trees)
    kind = rng.choice(
        ("knob", "knob", "knob", "mutation", "mutation", "mutation", "neutral", "neutral", "unused", "none")
    )
    if kind == "none":
        return Pair("nothing", before, before, neutral=True)
    if kind == "unused":
        before, found = edited_unused(before, rng)
    elif kind == "knob":
        found = turned(trees, rng)
    elif kind == "mutation":
        found = mutated(before, rng)
    else:
        found = neutral(trees, before, rng)
    return None if found is None else Pair(found.what, before, found.after, found.neutral)


def pairs(count: int, seed: int) -> list[Pair]:
    """So many pairs; no two of them have a module of one name, so that one process can run them all."""
    found: list[Pair] = []
    while len(found) < count:
        drawn = pair(seed, first=1 + 100 * len(found))
        found += [drawn] if drawn is not None else []
        seed += 1
    return found
