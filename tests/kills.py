"""Kill a pipeline at many points, and report what it did twice, or wrong, or left behind.

python -m tests.kills --points 200 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.killing import kill_often


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200, help="how often somebody is killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for stores and calls, to look into")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = kill_often(options.keep or Path(folder), options.points, options.seed)
    print(report)
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
