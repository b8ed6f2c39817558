"""Durable execution of notebook pipelines on Dask.

Public names load on first use: importing this package brings in neither Dask nor Zarr, so it costs a few
milliseconds. In a kernel it also tells the shell how graphs and runs are shown, with or without ``%load_ext``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tensorlake_nb.core.batches.receipt import LogLine
    from tensorlake_nb.core.functions.function import (
        Function,
        TensorlakeCompute,
        tensorlake_function,
        tensorlake_router,
    )
    from tensorlake_nb.core.functions.policy import Retries
    from tensorlake_nb.core.functions.targets import RouteTo
    from tensorlake_nb.core.graphs.builder import FrozenGraph
    from tensorlake_nb.core.graphs.wiring import Edge
    from tensorlake_nb.core.planning.timing import Bar
    from tensorlake_nb.core.values.file import File
    from tensorlake_nb.engine.calls.context import RequestContext
    from tensorlake_nb.engine.calls.context import RequestContext as GraphRequestContext
    from tensorlake_nb.engine.cluster.session import configure
    from tensorlake_nb.engine.cluster.settings import Settings
    from tensorlake_nb.engine.driving.forecast import Forecast
    from tensorlake_nb.engine.reports.comparison import Comparison, RunSummary
    from tensorlake_nb.engine.reports.counts import FailedElement
    from tensorlake_nb.engine.reports.elements import ElementPage
    from tensorlake_nb.engine.reports.standings import NodeStanding
    from tensorlake_nb.engine.reports.why import Reasons
    from tensorlake_nb.engine.runs.collection import Collected, collect
    from tensorlake_nb.engine.runs.graph import Graph
    from tensorlake_nb.engine.runs.inputs_seen import Arrivals
    from tensorlake_nb.engine.runs.outputs import Outputs
    from tensorlake_nb.engine.runs.run import Run
    from tensorlake_nb.engine.verifying.verification import Verification
    from tensorlake_nb.errors import (
        BindingError,
        CheckpointNotFoundError,
        ClusterError,
        CorruptCheckpointError,
        GraphError,
        InputError,
        InternalError,
        JoinError,
        OptionError,
        PlacementError,
        RequestException,
        RouteError,
        RunCancelledError,
        RunError,
        RunNotFoundError,
        SerializationError,
        StoreError,
        StoreUnavailableError,
        StoreVersionError,
        TaskFailedError,
        TaskTimeoutError,
        TensorlakeError,
        UnhashableInputError,
        UnreadableValueError,
        UntrustedCheckpointError,
        UsageError,
        WorkerLostError,
    )

__version__ = "0.1.0"

#: Where each public name lives, as ``module`` or ``module:name`` when it is called otherwise there.
_HOMES = {
    "Graph": "engine.runs.graph",
    "Run": "engine.runs.run",
    "tensorlake_function": "core.functions.function",
    "tensorlake_router": "core.functions.function",
    "Function": "core.functions.function",
    "TensorlakeCompute": "core.functions.function",
    "RouteTo": "core.functions.targets",
    "Retries": "core.functions.policy",
    "File": "core.values.file",
    "RequestContext": "engine.calls.context",
    "GraphRequestContext": "engine.calls.context:RequestContext",
    "configure": "engine.cluster.session",
    "collect": "engine.runs.collection",
    "Outputs": "engine.runs.outputs",
    "Arrivals": "engine.runs.inputs_seen",
    "FailedElement": "engine.reports.counts",
    "Reasons": "engine.reports.why",
    "Comparison": "engine.reports.comparison",
    "RunSummary": "engine.reports.comparison",
    "NodeStanding": "engine.reports.standings",
    "ElementPage": "engine.reports.elements",
    "Bar": "core.planning.timing",
    "LogLine": "core.batches.receipt",
    "Forecast": "engine.driving.forecast",
    "Verification": "engine.verifying.verification",
    "Edge": "core.graphs.wiring",
    "FrozenGraph": "core.graphs.builder",
    "Settings": "engine.cluster.settings",
    "Collected": "engine.runs.collection",
    "RequestException": "errors",
    "TensorlakeError": "errors",
    "UsageError": "errors",
    "GraphError": "errors",
    "OptionError": "errors",
    "InputError": "errors",
    "BindingError": "errors",
    "UnhashableInputError": "errors",
    "SerializationError": "errors",
    "StoreError": "errors",
    "CheckpointNotFoundError": "errors",
    "UnreadableValueError": "errors",
    "CorruptCheckpointError": "errors",
    "UntrustedCheckpointError": "errors",
    "StoreVersionError": "errors",
    "StoreUnavailableError": "errors",
    "RunError": "errors",
    "TaskFailedError": "errors",
    "RouteError": "errors",
    "JoinError": "errors",
    "PlacementError": "errors",
    "TaskTimeoutError": "errors",
    "WorkerLostError": "errors",
    "RunNotFoundError": "errors",
    "RunCancelledError": "errors",
    "ClusterError": "errors",
    "InternalError": "errors",
}

__all__ = [
    "Graph",
    "tensorlake_function",
    "tensorlake_router",
    "Function",
    "TensorlakeCompute",
    "RouteTo",
    "Retries",
    "RequestContext",
    "GraphRequestContext",
    "RequestException",
    "File",
    "Run",
    "configure",
    "collect",
    "Outputs",
    "Arrivals",
    "FailedElement",
    "Reasons",
    "Comparison",
    "RunSummary",
    "NodeStanding",
    "ElementPage",
    "Bar",
    "LogLine",
    "Forecast",
    "Verification",
    "Edge",
    "FrozenGraph",
    "Settings",
    "Collected",
    "TensorlakeError",
    "UsageError",
    "GraphError",
    "OptionError",
    "InputError",
    "BindingError",
    "UnhashableInputError",
    "SerializationError",
    "StoreError",
    "CheckpointNotFoundError",
    "UnreadableValueError",
    "CorruptCheckpointError",
    "UntrustedCheckpointError",
    "StoreVersionError",
    "StoreUnavailableError",
    "RunError",
    "TaskFailedError",
    "RouteError",
    "JoinError",
    "PlacementError",
    "TaskTimeoutError",
    "WorkerLostError",
    "RunNotFoundError",
    "RunCancelledError",
    "ClusterError",
    "InternalError",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = _HOMES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), original or name)
    if name in ("Graph", "Run"):
        from tensorlake_nb.notebook.namespace.redefinitions import watch_use
        from tensorlake_nb.notebook.shell.progress import watch_waits

        watch_waits()
        watch_use()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register ``%tensorlake`` and ``%%tensorlake``: what ``%load_ext tensorlake_nb`` calls."""
    from tensorlake_nb.notebook.magics.magic import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again; graphs and runs are still displayed."""
    from tensorlake_nb.notebook.magics.magic import unload

    unload(shell)


if "IPython" in sys.modules:  # plain cells display graphs and runs too
    from tensorlake_nb.notebook.shell.hooks import attach

    attach()
