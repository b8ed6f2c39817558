"""The names of batches on a Dask cluster, whose tasks give receipts: what they need is in the store already."""

from __future__ import annotations

import re

from tensorlake_nb.core.batches.batch import Batch

#: A Dask key: dashboards and logs group tasks by what stands before the run's id, the node.
BatchKey = tuple[str, str]
#: The run's id and the number, twice.
_RUN, _BATCH = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{6}$"), re.compile(r"^(\d+) .*-\1", re.DOTALL)


def batch_key(batch: Batch, number: int) -> BatchKey:
    """Return the Dask key of a batch; its first part begins with the name of the node."""
    return (f"{batch.node}-{batch.run_id}", f"{number} {batch.name}")


def is_batch_key(key: object) -> bool:
    """Return True for the Dask key of a batch, of any run."""
    match key:
        case (str(node), str(batch)):
            return bool(_RUN.search(node) and _BATCH.search(batch))
    return False
