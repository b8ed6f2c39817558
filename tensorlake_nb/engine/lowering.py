"""The names of batches on a Dask cluster, whose tasks give receipts: what they need is in the store already."""

from __future__ import annotations

from tensorlake_nb.core.batch import Batch

#: A Dask key: dashboards and logs group tasks by what stands before the run's id, the node.
BatchKey = tuple[str, str]


def batch_key(batch: Batch, number: int) -> BatchKey:
    """The Dask key of a batch; its first part begins with the name of the node."""
    return (f"{batch.node}-{batch.run_id}", f"{number} {batch.name}")
