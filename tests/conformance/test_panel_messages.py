"""What crosses to a panel, pinned: the page's own tests read the same files.

A message that changes on purpose is written anew with ``python -m tests.conformance.test_panel_messages``, looked at,
and gets a new version if an older page would misread it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tensorlake_nb.notebook.panel.messages import (
    ACTIONS,
    Action,
    Counts,
    GraphEdge,
    GraphNode,
    GraphShape,
    InputForm,
    PanelState,
    ProgressState,
    RunHead,
    Standing,
    delta,
)

FOLDER = Path(__file__).parent / "panel"

SHAPE = GraphShape(
    name="pages",
    about="Reads pages",
    start="urls",
    nodes=(
        GraphNode(name="urls", kind="function", about="Where from", options={"timeout": "30"}),
        GraphNode(name="fetch", kind="function", about="", options={}),
        GraphNode(name="by_kind", kind="router", about="", options={}),
        GraphNode(name="total", kind="reducer", about="", options={}),
    ),
    edges=(
        GraphEdge(source="urls", target="fetch", into=None, routed=False),
        GraphEdge(source="fetch", target="by_kind", into=None, routed=False),
        GraphEdge(source="by_kind", target="total", into=None, routed=True),
    ),
    problems=(),
)
NOTHING: dict[Action, str | None] = dict.fromkeys(ACTIONS, None)
BUSY: dict[Action, str | None] = {**NOTHING, "resume": "The run hasn't ended yet."}
HEAD = RunHead(
    id="20260101-120000-0abcde",
    short="0abcde",
    status="running",
    started_at=1_767_268_800.0,
    ended_at=None,
    error=None,
    blocking=True,
    doing="",
    critical_path=(),
)
RUNNING = PanelState(
    model_id="0123",
    graph_key="graph",
    graph=SHAPE,
    run=HEAD,
    nodes={
        "urls": Standing(state="replayed", counts=Counts(replayed=1), total=1, outputs=100, saved_seconds=2.5),
        "fetch": Standing(
            state="failed",
            counts=Counts(waiting=50, queued=4, running=2, computed=40, replayed=3, failed=1),
            total=100,
            outputs=43,
            seconds=61.5,
            started_at=1_767_268_801.0,
            retries=3,
            rate=12.5,
            eta_seconds=4.6,
            progress=ProgressState(current=3, total=10),
            error="ValueError: <b>no</b>",
            notes=("its digest is of a pickle",),
        ),
        "by_kind": Standing(state="queued", counts=Counts(queued=1)),
        "total": Standing(state="waiting"),
    },
    actions=BUSY,
    at=1_767_268_810.0,
)
ENDED = RUNNING.model_copy(
    update={
        "run": HEAD.model_copy(
            update={
                "status": "failed",
                "ended_at": 1_767_268_830.0,
                "blocking": False,
                "critical_path": ("urls", "fetch"),
            }
        ),
        "nodes": {**RUNNING.nodes, "total": Standing(state="not taken")},
        "actions": NOTHING,
        "at": 1_767_268_830.0,
    }
)
GRAPH = PanelState(
    graph_key="graph",
    graph=SHAPE,
    run=None,
    nodes={
        "urls": Standing(state="waiting"),
        "fetch": Standing(state="stale", stale="helper clean changed"),
        "by_kind": Standing(state="stale", stale="because of fetch, where its outputs differ"),
        "total": Standing(state="waiting"),
    },
    actions=NOTHING,
    form=InputForm(
        json_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, values={"n": 3}
    ),
    at=1_767_268_790.0,
)


def messages() -> dict[str, Any]:
    change = delta(RUNNING, ENDED)
    return {
        "state-running.json": RUNNING.wire(),
        "state-after-delta.json": ENDED.wire(),
        "state-graph.json": GRAPH.wire(),
        "delta.json": change,
    }


@pytest.mark.parametrize("name", list(messages()))
def test_a_message_is_what_the_page_reads(name: str) -> None:
    assert json.loads((FOLDER / name).read_text()) == json.loads(json.dumps(messages()[name]))


def test_nothing_is_sent_when_only_time_has_passed() -> None:
    later = RUNNING.model_copy(update={"at": RUNNING.at + 1})

    assert delta(RUNNING, later) is None


def test_a_state_reads_back_from_what_crosses() -> None:
    again = PanelState.model_validate({**RUNNING.wire(), "form": None})

    assert again == RUNNING


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, message in messages().items():
        (FOLDER / name).write_text(json.dumps(message, indent=2) + "\n")


if __name__ == "__main__":
    write()
