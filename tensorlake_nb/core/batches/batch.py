"""The work of one Dask task, and the failure of an element in it; its answer is in `receipt`.

A *batch* carries a range of elements through one node, or one element through a chain of nodes. It names its inputs
by where they lie in the store and answers with where its outputs lie: values never pass through the scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from tensorlake_nb.core.keys import Digest, Fingerprint, RunId

#: The count of a call that returned one bare value instead of a list.
BARE = -1


@dataclass(frozen=True, slots=True)
class Span:
    """Outputs ``start`` to ``stop - 1`` of one segment (``"<fingerprint>/<name>"``), in its flat order."""

    segment: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Column:
    """The values that consecutive calls are given, for one parameter or for all of them.

    Attributes
    ----------
    spans
        Where the values lie, one after the other.
    into
        ``None``: each value is bound as the output rule says; ``"**"``: each is a dict of keyword arguments (the
        inputs of a run); else the name of the parameter that takes it.
    groups
        ``None``: one value per call. Else int32 per call: n for a list of n values, -1 (`BARE`) for one bare value.
    """

    spans: tuple[Span, ...]
    into: str | None = None
    groups: bytes | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A node as a worker sees it: its function and everything that decides how one element is handled.

    Attributes
    ----------
    fingerprint
        Under which outputs are kept and keys are made (already confined to the run for ``cacheable=False``).
    code_path, code_digest
        Where the cloudpickled function lies in the store, and its digest: other bytes are refused.
    routes
        The declared targets of a router or of a function with ``next=``; ``None``: outputs go everywhere.
    by_place
        Each element is a call, also where elements are equal (``cacheable=False``): their places count as well.
    cold
        Nothing was kept under this fingerprint when the run first asked, so there is nothing to look up.
    fresh
        It is computed anew on purpose: of what is kept only this run's own outputs count.
    """

    node: str
    kind: Literal["function", "router", "reducer"]
    fingerprint: Fingerprint
    code_path: str
    code_digest: Digest
    routes: tuple[str, ...] | None = None
    by_place: bool = False
    cold: bool = False
    fresh: bool = False
    timeout_s: float = 300.0
    max_concurrency: int = 1
    input_encoder: str = "cloudpickle"
    output_encoder: str = "cloudpickle"
    inject_ctx: bool = False
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fold:
    """A fold's state before a batch: its last accumulator and the rolling digest that names it.

    ``accumulator`` is ``None`` before the first element. With ``combines`` the elements are partial accumulators,
    merged by the function's ``combine``. A fold with ``groups`` is a level of a tree: each group of that many
    consecutive elements (the last one may be shorter) is folded from a fresh start, and gives one output. If it
    ``is_shared``, others fold with the same code, and the store is listed anew to see how far they came. ``told``
    is what the calls before were told of the run, as effects: the accumulator may hold it. It is kept after folding
    for ``worth_s``; 0: after each step. If the fold ``has_more``, other elements follow those of the batch, and what
    is known of them comes first.
    """

    accumulator: Span | None
    rolling: Digest
    combines: bool = False
    groups: tuple[int, ...] | None = None
    is_shared: bool = False
    told: bytes = b""
    worth_s: float = 0.0
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """One Dask task: elements, and the calls to carry them through.

    Attributes
    ----------
    name
        ``"<node>-<number>"``, unique in its run. Its segments are named by run and batch, so a batch that Dask runs
        again finds what its first run left.
    calls
        The node, then the nodes that follow it in a fused chain (for a single element only).
    given, elements
        The elements' input digests end to end, 32 bytes each. Nothing, and how many elements there are, if these are
        the digests of the outputs that the only column names: then whoever computes the batch looks them up there.
    place
        Of a chain's only element, if a call along it goes by place.
    attempt
        1 for the first try at these elements.
    budget_s
        After this long no further element is begun: the receipt says how many were done.
    stop_on_failure
        The run ends with its first final failure, so begin nothing after one; ``final`` says that a failure of this
        attempt has no retry left.
    store_patience_s
        How long what was computed is kept for a store that is full or away.
    emitted, emitted_spans, emitted_parts
        For a generator that is tried again: the digests of the items it has already emitted, 32 bytes each, where
        they lie, and in how many parts they came.
    """

    run_id: RunId
    graph: str
    name: str
    store_url: str
    calls: tuple[Call, ...]
    columns: tuple[Column, ...]
    given: bytes
    graph_version: str | None = None
    place: bytes = b""
    attempt: int = 1
    fold: Fold | None = None
    budget_s: float = 0.5
    stop_on_failure: bool = True
    final: bool = True
    emitted: bytes = b""
    emitted_spans: tuple[Span, ...] = ()
    emitted_parts: int = 0
    checkpoint_interval_s: float = 0.5
    store_patience_s: float = 0.0
    trusted: bool = True
    elements: int = 0

    @property
    def node(self) -> str:
        return self.calls[0].node

    @property
    def segment(self) -> str:
        """The prefix of its segments' names; the same when Dask runs the batch again."""
        return f"{self.run_id}-{self.name}"

    @property
    def size(self) -> int:
        """The number of elements."""
        return len(self.given) // 32 or self.elements

    def without_given(self) -> Batch:
        """Return the batch without digests, to be looked up on the worker: a scheduler needn't hold thirty bytes per
        element.
        """
        return replace(self, given=b"", elements=self.size)


class FailureKind(StrEnum):
    """The kind of an element's failure; only ERROR, TIMEOUT and WORKER_LOST may be tried again.

    DAMAGE says that stored inputs could not be read as they were written: what gave them is computed again.
    """

    ERROR = "error"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker lost"
    REQUEST = "request"
    USAGE = "usage"
    DAMAGE = "damage"

    @property
    def retryable(self) -> bool:
        return self in (FailureKind.ERROR, FailureKind.TIMEOUT, FailureKind.WORKER_LOST)


@dataclass(frozen=True, slots=True)
class Failure:
    """One element that failed: its offset in the batch, and what a person needs to find out why.

    ``usage`` failures (bad routes, arguments that don't bind, outputs that can't be stored) and ``request``
    failures (`RequestException`) are never tried again. ``raised`` is the exception as a pickle, if that is small.
    """

    offset: int
    kind: FailureKind
    error: str
    input_repr: str
    traceback_text: str = ""
    raised: bytes = b""
