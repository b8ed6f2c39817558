"""Edit programs at random: ``python -m tests.edits --pairs 2000 --seed 1``.

Each pair is a program and an edit of it. What is counted: **stale** pairs, whose outcomes differ though they have one
fingerprint; **missed** ones, where an edit of nothing that is reached changes it; **touched** ones, where a call of the
function does. Each that is found is shown as a script. Exits with 1 if there was any. **Confined** are those that say
of themselves that later runs don't replay them, **unusable** programs that Python itself doesn't run.

With ``--runs 40`` so many pairs are then run as graphs, before in one process and after in another on the same store,
and what is read back is compared with plain Python.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.edits.drawing import pair, pairs
from tests.edits.runs import compared
from tests.edits.trial import UnusableError, judged

_FINE = {"right", "confined", "unusable"}


def main() -> int:
    """Judge as many pairs as were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.edits", description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="the first pair's seed; the others follow")
    parser.add_argument("--shown", type=int, default=5, help="how many scripts to print of each kind")
    parser.add_argument("--runs", type=int, default=0, help="how many pairs to run as graphs as well")
    parser.add_argument("--cluster", default="threads", help="what these run on: threads, processes")
    asked = parser.parse_args()
    counts, began, seed = Counter[str](), time.monotonic(), asked.seed
    while counts.total() - counts["unusable"] < asked.pairs:
        seed += 1
        drawn = pair(seed - 1)
        if drawn is None:
            continue
        try:
            verdict = judged(drawn)
        except UnusableError:
            counts["unusable"] += 1
            continue
        counts[verdict.kind] += 1
        if verdict.kind not in _FINE and counts[verdict.kind] <= asked.shown:
            print(f"# seed {seed - 1}, {drawn.what}: {verdict}\n{drawn.script()}")
    took = time.monotonic() - began
    print(f"seeds {asked.seed} to {seed - 1} in {took:.0f} s: {dict(counts)}")
    wrong = compared(pairs(asked.runs, asked.seed), asked.cluster) if asked.runs else []
    for found, told in wrong:
        print(f"# run: {found.what}: {told}\n{found.script()}")
    return 0 if {*counts} <= _FINE and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
