"""Drives a recorded run to its end, as a process of its own that may be killed: what `chaos` starts.

    python -m tensorlake_nb.testing.driver STORE RUN WORKERS

Says on standard output how many elements are settled, line by line, and at the end how it ended.
"""

from __future__ import annotations

import sys

from tensorlake_nb.engine.cluster.session import configure, current
from tensorlake_nb.engine.runs.run import Run

#: How often it says how far the run is (s).
_TELL_S = 0.02


def main(store: str, run_id: str, workers: int) -> None:
    """Go on with the run, whoever drove it before."""
    configure(store=store, workers=workers, trust_store=True, store_patience=60)
    run = Run.open(run_id)
    run.resume(wait=False)
    said = -1
    while not run.wait_quietly(_TELL_S):
        settled = sum((counts["computed"] or 0) + (counts["replayed"] or 0) for counts in run.snapshot().values())
        if settled != said:
            said = settled
            print(f"at {settled}", flush=True)
    print(f"ended {run.status} {run.error or ''}".replace("\n", " "), flush=True)
    current().close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
