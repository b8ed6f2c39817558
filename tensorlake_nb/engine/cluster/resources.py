"""Turn placement into the Dask resources that the cluster declares.

A worker declares what it has with ``dask worker --resources "GPU=2,MEMORY=16,REGION:eu-west=1"``: ``CPU`` (cores),
``MEMORY`` and ``DISK`` (gigabytes), ``GPU`` (any) or ``GPU:<model>``, ``REGION:<name>``. What no worker of a cluster
declares is advice there and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tensorlake_nb.core.functions.policy import Placement
from tensorlake_nb.errors import PlacementError

Resources = Mapping[str, float]


def required(placement: Placement, workers: Iterable[Resources]) -> dict[str, float]:
    """Return the Dask resources that a task with this placement asks for.

    Of several GPU models that will do, the first one that the cluster has is asked for.
    """
    workers = list(workers)
    declared = {name for resources in workers for name in resources}
    wanted = {"CPU": placement.cpu, "MEMORY": placement.memory, "DISK": placement.ephemeral_disk}
    found = {name: amount for name, amount in wanted.items() if name in declared}
    if placement.region is not None and any(name.startswith("REGION:") for name in declared):
        found[f"REGION:{placement.region}"] = 1e-6  # a label: any number of tasks fit
    if any(name == "GPU" or name.startswith("GPU:") for name in declared):
        kinds = [(name, float(gpu.count)) for gpu in placement.gpu for name in (f"GPU:{gpu.model}", "GPU")]
        choices = [{**found, name: count} for name, count in kinds]
        # One worker has to have it all: the GPU, and the memory beside it.
        return next((choice for choice in choices if _fits(choice, workers)), choices[0] if choices else found)
    return found


def _fits(needs: Resources, workers: Iterable[Resources]) -> bool:
    return any(all(has.get(name, 0) >= amount for name, amount in needs.items()) for has in workers)


def check(placements: Mapping[str, Placement], workers: Iterable[Resources]) -> None:
    """Refuse a run that has a node which no worker could ever run.

    Raises
    ------
    PlacementError
        Names each such node, what it asks for, and what the workers have.
    """
    workers = list(workers)
    problems = []
    for node, placement in placements.items():
        needs = required(placement, workers)
        if workers and needs and not _fits(needs, workers):
            asked = ", ".join(f"{name}={amount:g}" for name, amount in needs.items())
            problems.append(f"{node!r} asks for {asked}")
    if problems:
        have = "; ".join(sorted({", ".join(f"{k}={v:g}" for k, v in has.items()) or "nothing" for has in workers}))
        raise PlacementError(
            f"no worker of the cluster can run {' and '.join(problems)}. The workers declare: {have}. "
            "Ask for less, or start a worker with these --resources."
        )
