"""Batches → a Dask graph whose tasks give receipts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dask.task_spec import Task

from tensorlake_nb.core.batch import Batch
from tensorlake_nb.engine.execute import run_batch

#: A Dask key: dashboards and logs group tasks by what stands before the run's id, the node.
BatchKey = tuple[str, int]


def batch_key(batch: Batch, number: int) -> BatchKey:
    """The Dask key of a batch; its first part begins with the name of the node."""
    return (f"{batch.node}-{batch.run_id}", number)


def lower(batches: Iterable[tuple[int, Batch]]) -> Mapping[BatchKey, Task]:
    """A Dask graph of independent batches: what they need is in the store already."""
    graph = {}
    for number, batch in batches:
        key = batch_key(batch, number)
        graph[key] = Task(key, run_batch, batch)
    return graph
