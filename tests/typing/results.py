"""What a graph and a run return has a public name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from tensorlake_nb import (
    Arrivals,
    Collected,
    Comparison,
    Edge,
    ElementPage,
    FailedElement,
    Forecast,
    Graph,
    LogLine,
    NodeStanding,
    Outputs,
    Reasons,
    Run,
    RunSummary,
    Settings,
    Verification,
    collect,
    configure,
    tensorlake_function,
)


@tensorlake_function
def double(x: int) -> int:
    return 2 * x


def settings() -> int:
    assert_type(configure(store="a"), Settings)
    with configure(store="a", cluster="threads") as chosen:
        assert_type(chosen.store, str)
        return 3


def of_a_graph(graph: Graph) -> None:
    assert_type(graph.plan(x=3), Forecast)
    assert_type(graph.verify(sample=0.1), Verification)
    assert_type(graph.run({"x": 3}), Run)
    assert_type(graph.start(x=3, detach=True), Run)
    assert_type(graph.edges, list[Edge])
    assert_type(collect(), Collected)


def of_a_run(run: Run) -> None:
    assert_type(run.outputs(double), Outputs[int])
    assert_type(run.inputs_of(double), Arrivals)
    assert_type(run.why(double), Reasons)
    assert_type(run.compare(run), Comparison)
    assert_type(run.failures, tuple[FailedElement, ...])
    assert_type(run.logs(double), Sequence[LogLine])
    assert_type(run.standings(), dict[str, NodeStanding])
    assert_type(run.elements(double), ElementPage)
    assert_type(run.summary(), RunSummary)
