"""Messages between the kernel and a panel: plain data with a version, camel case on the wire.

The page's side of it is ``labextension/src/messages.ts``, which says what each field means; both read the files in
``tests/conformance/panel/``, so that neither drifts alone.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

VERSION = 1
MIME_TYPE = "application/vnd.tensorlake.graph+json"
CONTROL_TARGET = "tensorlake.control"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

State = Literal["waiting", "queued", "running", "computed", "replayed", "stale", "failed", "cancelled", "not taken"]
ElementFilter = Literal["all", "failed", "running", "waiting", "computed", "replayed", "cancelled"]
Action = Literal["run", "cancel", "force", "resume", "again", "refresh", "rerunFailed", "plan"]
ACTIONS: tuple[Action, ...] = get_args(Action)


class Message(BaseModel):
    """Anything that crosses."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def wire(self) -> dict[str, Any]:
        """Return the message in its wire form."""
        return self.model_dump(mode="json", by_alias=True)


def crossing(data: dict[str, Any]) -> dict[str, Any]:
    """Plain data, with lone surrogates spelled out: half an emoji, cut off somewhere, fits into no message."""
    text = json.dumps(data, ensure_ascii=False)
    if _LONE_SURROGATE.search(text) is None:
        return data
    spelled: dict[str, Any] = json.loads(_LONE_SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):04x}", text))
    return spelled


# --- state -----------------------------------------------------------------------------------------------------------


class GraphNode(Message):
    """A function of a graph."""

    name: str
    kind: Literal["function", "router", "reducer"]
    about: str
    options: dict[str, str]


class GraphEdge(Message):
    """An edge: the source feeds the target."""

    source: str
    target: str
    into: str | None
    routed: bool


class GraphShape(Message):
    """A graph as it is drawn."""

    name: str
    about: str
    start: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    problems: tuple[str, ...]


class Counts(Message):
    """The numbers of a node's elements by state."""

    waiting: int = 0
    queued: int = 0
    running: int = 0
    computed: int = 0
    replayed: int = 0
    failed: int = 0
    cancelled: int = 0


class ProgressState(Message):
    """A call's own report of its progress."""

    current: float
    total: float


class Standing(Message):
    """The state of a node."""

    state: State
    counts: Counts = Counts()
    total: int | None = None
    outputs: int = 0
    seconds: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    queued_seconds: float = 0.0
    retries: int = 0
    rate: float | None = None
    eta_seconds: float | None = None
    saved_seconds: float = 0.0
    saved_by: str = ""
    progress: ProgressState | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    stale: str = ""


RunStatus = Literal["running", "succeeded", "failed", "cancelled", "interrupted"]
RUN_STATUS: TypeAdapter[RunStatus] = TypeAdapter(RunStatus)


class RunHead(Message):
    """A run as a whole."""

    id: str
    short: str
    status: RunStatus
    started_at: float
    ended_at: float | None
    error: str | None
    blocking: bool
    doing: str
    critical_path: tuple[str, ...]


class InputForm(Message):
    """A run's inputs as a JSON schema, and the values to begin with."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, protected_namespaces=())

    json_schema: dict[str, Any]
    values: dict[str, Any]

    def wire(self) -> dict[str, Any]:
        """Return the wire form: ``schema`` is a name that pydantic keeps for itself."""
        return {"schema": self.json_schema, "values": self.values}


class PanelState(Message):
    """All that a panel shows."""

    version: int = VERSION
    model_id: str | None = None
    graph_key: str | None = None
    graph: GraphShape
    run: RunHead | None
    nodes: dict[str, Standing]
    actions: dict[Action, str | None]
    form: InputForm | None = None
    at: float

    def wire(self) -> dict[str, Any]:
        """Return the message in its wire form."""
        return {**super().wire(), "form": self.form and self.form.wire()}


def delta(before: PanelState, now: PanelState) -> dict[str, Any] | None:
    """Return the message with the changes between two states; ``None`` if nothing but the time changed."""
    changed: dict[str, Any] = {}
    nodes = {name: node.wire() for name, node in now.nodes.items() if before.nodes.get(name) != node}
    if nodes:
        changed["nodes"] = nodes
    if now.run != before.run:
        changed["run"] = now.run and now.run.wire()
    if now.actions != before.actions:
        changed["actions"] = now.actions
    return {"version": VERSION, "kind": "delta", "at": now.at, **changed} if changed else None


# --- requests --------------------------------------------------------------------------------------------------------


class StateRequest(Message):
    """Show a run or a graph."""

    kind: Literal["state"]
    run: str | None = None
    graph: str | None = None


class NodeRequest(Message):
    """Look at a node, or do something with it."""

    kind: Literal["node", "why", "again", "refresh"]
    run: str
    node: str


class ElementsRequest(Message):
    """A page of a node's elements."""

    kind: Literal["elements"]
    run: str
    node: str
    filter: ElementFilter
    start: int
    count: int


class ValueRequest(Message):
    """One output, or what came to one element."""

    kind: Literal["value"]
    run: str
    node: str
    side: Literal["output", "input"]
    index: int


class LogsRequest(Message):
    """Lines after a line."""

    kind: Literal["logs"]
    run: str
    node: str
    after: int


class RunRequest(Message):
    """Look at a run, or do something with it."""

    kind: Literal["timeline", "resume", "rerunFailed"]
    run: str


class CancelRequest(Message):
    """Stop a run."""

    kind: Literal["cancel"]
    run: str
    force: bool = False


class InputsRequest(Message):
    """Check inputs, say what a run with them would do, or run."""

    kind: Literal["plan", "validate", "run"]
    graph: str
    inputs: dict[str, Any]


class RunsRequest(Message):
    """The store's runs."""

    kind: Literal["runs"]
    limit: int


class GraphsRequest(Message):
    """The kernel's graphs."""

    kind: Literal["graphs"]


class CompareRequest(Message):
    """Two runs side by side."""

    kind: Literal["compare"]
    left: str
    right: str


Request = (
    StateRequest
    | NodeRequest
    | ElementsRequest
    | ValueRequest
    | LogsRequest
    | RunRequest
    | CancelRequest
    | InputsRequest
    | RunsRequest
    | GraphsRequest
    | CompareRequest
)

REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
