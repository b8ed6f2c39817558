"""The events of a run, as plain data: recorded, folded into the run state, and only then acted on.

Events hold ranges and counts, never values or per-element digests, so a run of a million elements is some
hundred events. Their JSON is part of the store's format (``docs/format.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from tensorlake_nb.core.batches.batch import FailureKind, Span
from tensorlake_nb.core.batches.positions import Address, Slice
from tensorlake_nb.core.batches.receipt import LogLine


@dataclass(frozen=True, slots=True)
class Chunk:
    """Inputs that were settled together, and where their outputs lie.

    Attributes
    ----------
    n_in, n_out
        Elements settled (0 for a later part of a generator's), and outputs given.
    n_lists
        Elements with any output: what a child that takes lists whole is given.
    routed
        Per target how many outputs travel there; ``None``: all travel everywhere.
    is_bare
        Every element returned one bare value, so nothing was mapped here.
    """

    address: Address
    n_in: int
    n_out: int
    n_lists: int
    spans: tuple[Span, ...]
    routed: Mapping[str, int] | None = None
    computed: int = 0
    replayed: int = 0
    is_bare: bool = True


@dataclass(frozen=True, slots=True)
class ElementFailed:
    """One element's failure. ``position`` is its place in the input stream as far as it was known then."""

    slice: Slice
    kind: FailureKind
    error: str
    input_repr: str
    traceback_text: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins, or is resumed: what was under way before is not any more.

    ``owner`` is the process that drives it.
    """

    run_id: str
    at: float
    resumed: bool = False
    owner: Mapping[str, str | int | float] = field(default_factory=dict)
    type: Literal["run_started"] = "run_started"


@dataclass(frozen=True, slots=True)
class SlotsKnown:
    """The number of batches that the cluster can work on at once."""

    slots: int
    type: Literal["slots_known"] = "slots_known"


@dataclass(frozen=True, slots=True)
class ProbeBegun:
    """The store is asked for the given elements, or (``slices`` empty) for a node's whole stream."""

    node: str
    slices: tuple[Slice, ...]
    type: Literal["probe_begun"] = "probe_begun"


@dataclass(frozen=True, slots=True)
class StreamReplayed:
    """A node's whole stream was found: all its elements are settled at once."""

    node: str
    chunk: Chunk
    seconds_saved: float = 0.0
    saved_by: str = ""
    timers: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    type: Literal["stream_replayed"] = "stream_replayed"


@dataclass(frozen=True, slots=True)
class Probed:
    """The store's answer to a look-up.

    ``missing`` have to be computed. ``twins`` equal an element that is under way: pairs of the slice and the order
    of that element. ``beside`` are segments that settle elements without holding outputs of theirs, so that no chunk
    names them: the run needs them all the same.
    """

    node: str
    chunks: tuple[Chunk, ...]
    missing: tuple[Slice, ...]
    twins: tuple[tuple[Slice, Address], ...] = ()
    timers: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    type: Literal["probed"] = "probed"


@dataclass(frozen=True, slots=True)
class GatherBegun:
    """Rows are being formed from the given elements of the parents' streams."""

    node: str
    slices: tuple[Slice, ...]
    is_last: bool
    type: Literal["gather_begun"] = "gather_begun"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows formed: the node's next inputs."""

    node: str
    number: int
    n_rows: int
    error: str | None = None
    type: Literal["gathered"] = "gathered"


@dataclass(frozen=True, slots=True)
class BatchSubmitted:
    """A batch was handed to the cluster."""

    number: int
    node: str
    slices: tuple[Slice, ...]
    attempt: int
    at: float
    chain: tuple[str, ...] = ()
    type: Literal["batch_submitted"] = "batch_submitted"


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """A worker began a batch."""

    number: int
    worker: str
    at: float
    type: Literal["batch_started"] = "batch_started"


@dataclass(frozen=True, slots=True)
class ProgressMade:
    """A call said how far it is (`RequestContext.update_progress`)."""

    number: int
    current: float
    total: float
    type: Literal["progress_made"] = "progress_made"


@dataclass(frozen=True, slots=True)
class PartArrived:
    """A generator that is still running has emitted items."""

    number: int
    chunk: Chunk
    part: int
    type: Literal["part_arrived"] = "part_arrived"


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """The work of a batch at one node of its chain."""

    node: str
    chunks: tuple[Chunk, ...]
    failures: tuple[ElementFailed, ...] = ()
    seconds: float = 0.0
    timers: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    logs: tuple[LogLine, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """A batch came back.

    ``returned`` were not begun: the time of the batch was over, or the run is ending.
    For a fold, ``done`` elements were folded and the only chunk holds the accumulator; ``worth_s`` and ``keeping_s``
    are as in its receipt.
    """

    number: int
    outcomes: tuple[NodeOutcome, ...]
    returned: tuple[Slice, ...]
    done: int
    at: float
    worker: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    worth_s: float = 0.0
    keeping_s: float = 0.0
    type: Literal["batch_ended"] = "batch_ended"


@dataclass(frozen=True, slots=True)
class BatchLost:
    """A batch ended without a receipt: its worker died, or the cluster gave it up.

    ``chunks`` were committed before. ``suspects`` may have killed the worker: each is charged an attempt if it is
    alone, else tried by itself. ``returned`` had not been begun. ``timers``, ``counters`` and ``notes`` are of what was
    committed.
    """

    number: int
    reason: str
    at: float
    chunks: tuple[Chunk, ...] = ()
    suspects: tuple[ElementFailed, ...] = ()
    returned: tuple[Slice, ...] = ()
    timers: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    type: Literal["batch_lost"] = "batch_lost"


@dataclass(frozen=True, slots=True)
class BatchHeld:
    """A batch wasn't handed over: others compute these elements of it, or have done so since they were looked up.

    At ``until`` (s) the store is asked for them again; the rest of the batch may be submitted at once. ``by`` are
    the ids of runs on the same store that have claimed them; if there are none, a node of this run with the same code
    computes them.
    """

    number: int
    held: tuple[Slice, ...]
    free: tuple[Slice, ...]
    by: tuple[str, ...]
    at: float
    until: float
    type: Literal["batch_held"] = "batch_held"


@dataclass(frozen=True, slots=True)
class SealBegun:
    """A node is finished: its stream is about to be recorded."""

    node: str
    type: Literal["seal_begun"] = "seal_begun"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished node's stream is recorded; for a reducer, ``chunk`` is the one output that it emits."""

    node: str
    chunk: Chunk | None = None
    type: Literal["sealed"] = "sealed"


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Nothing new is to be begun: the run was cancelled, or it failed."""

    reason: Literal["cancelled", "failed"]
    error: str | None = None
    type: Literal["stop_requested"] = "stop_requested"


@dataclass(frozen=True, slots=True)
class DamageFound:
    """Stored data was damaged: it is put aside, and what it held is computed again."""

    reason: str
    type: Literal["damage_found"] = "damage_found"


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over."""

    status: Literal["succeeded", "failed", "cancelled"]
    at: float
    error: str | None = None
    type: Literal["run_ended"] = "run_ended"


Event = (
    RunStarted
    | SlotsKnown
    | ProbeBegun
    | StreamReplayed
    | Probed
    | GatherBegun
    | Gathered
    | BatchSubmitted
    | BatchStarted
    | ProgressMade
    | PartArrived
    | BatchEnded
    | BatchLost
    | BatchHeld
    | SealBegun
    | Sealed
    | StopRequested
    | DamageFound
    | RunEnded
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as plain JSON data."""
    plain: dict[str, Any] = _EVENT.dump_python(event, mode="json", exclude_defaults=False)
    return plain


def from_json(plain: Mapping[str, Any]) -> Event:
    """Return the event written by `to_json`."""
    return _EVENT.validate_python(plain)
