"""Fuzz every reader for some minutes: ``python -m tests.fuzz --minutes 10 --seed 1``.

Each failure is shown with the command that repeats it. Exits with 1 if there was any.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.fuzz.targets import Fuzz, scratch

#: How much the process may grow beside what it takes at the start (KiB), and how long one input may take (s).
MOST_GROWTH_KIB = 400 * 1024
PATIENCE_S = 20


class TooLong(BaseException):
    """One input has taken too long."""


def tried(fuzz: Fuzz, name: str, seed: int) -> str | None:
    """What went wrong with one input, if anything."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(PATIENCE_S)
    try:
        fuzz.targets[name](random.Random(seed))
    except (Exception, TooLong):
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return f"the process grew by {grown} KiB" if grown > MOST_GROWTH_KIB else None


def main() -> int:
    """Fuzz until the time is up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="the first input's seed; the others follow")
    parser.add_argument("--target", action="append", help="only this reader; may be repeated")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="at most so many inputs")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # what went wrong may hold anything

    def ring(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, ring)
    done, failed = Counter[str](), Counter[str]()
    with scratch() as folder:
        fuzz = Fuzz(Path(folder))
        names = asked.target or sorted(fuzz.targets)
        until, seed = time.monotonic() + 60 * asked.minutes, asked.seed
        while time.monotonic() < until and seed - asked.seed < asked.count:
            name = names[seed % len(names)]
            done[name] += 1
            wrong = tried(fuzz, name, seed)
            if wrong is not None:
                failed[name] += 1
                if failed[name] <= 3:
                    print(f"{wrong}\nagain: python -m tests.fuzz --target {name} --seed {seed} --count 1\n")
            seed += 1
    for name in names:
        print(f"{name:>10}: {done[name]:>8} inputs, {failed[name]} failures")
    print(f"seeds {asked.seed} to {seed - 1}: {sum(done.values())} inputs, {sum(failed.values())} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
