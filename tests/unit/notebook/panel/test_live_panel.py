"""What a page receives of a panel from a real kernel: one display, changes of a bounded size, no thread left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import kernels
from tests.support.kernels import Kernel

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
MIME_TYPE = "application/vnd.tensorlake.graph+json"

CELL = """
import os
os.environ["TENSORLAKE_NB_CLUSTER"] = "threads"
from tensorlake_nb import *
from tensorlake_nb import tensorlake_function, Graph, Run

@tensorlake_function
def numbers(n: int) -> list[int]:
    return list(range(n))

@tensorlake_function
def double(x: int) -> int:
    return 2 * x

graph = Graph("doubles", start_node=numbers).add_edge(numbers, double)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder: Path = tmp_path_factory.mktemp("kernel")
    with kernels.kernel(folder) as started:
        assert started.run(CELL).status == "ok"
        yield started


def test_a_run_is_one_display_that_stays_without_the_widget_when_it_is_over(kernel: Kernel) -> None:
    reply = kernel.run("run = graph.run(n=3)")

    first, last = reply.displayed
    assert first.keys() == {WIDGET_VIEW, MIME_TYPE, "text/html", "text/plain"}
    assert last.keys() == {MIME_TYPE, "text/html", "text/plain"}
    assert first["text/plain"] == last["text/plain"] == "Run of 'doubles'"
    assert last[MIME_TYPE]["run"]["status"] == "succeeded"
    assert last[MIME_TYPE]["nodes"]["double"]["counts"]["computed"] == 3
    assert last[MIME_TYPE]["modelId"] == first[WIDGET_VIEW]["model_id"]


def test_a_run_that_its_cell_shows_already_is_one_line_as_its_value(kernel: Kernel) -> None:
    shown = kernel.run("graph.run(n=4)").displayed
    elsewhere = kernel.run("Run.list(limit=1)[0]").displayed

    assert [*shown[-1]] == ["text/plain"] or [*shown[-2]] == ["text/plain"]
    assert WIDGET_VIEW in elsewhere[0]


def test_a_graph_is_shown_with_a_form_of_its_inputs(kernel: Kernel) -> None:
    (shown,) = kernel.run("graph").displayed

    assert shown[MIME_TYPE]["run"] is None
    assert shown[MIME_TYPE]["form"]["schema"]["properties"]["n"]["type"] == "integer"
    assert shown[MIME_TYPE]["graphKey"] == "graph"


def test_no_thread_of_a_panel_outlives_its_run(kernel: Kernel) -> None:
    reply = kernel.run(
        "import threading\n"
        "graph.run(n=5)\n"
        "print([thread.name for thread in threading.enumerate() if thread.name == 'tensorlake-nb-panel'])"
    )

    assert reply.stdout.strip() == "[]"


def test_messages_are_as_large_for_many_elements_as_for_few(kernel: Kernel) -> None:
    reply = kernel.run(
        "import json\n"
        "from tensorlake_nb.notebook.panel.panel import panels_of\n"
        "sizes = []\n"
        "for n in (10, 5000):\n"
        "    run = graph.run(n=n)\n"
        "    sizes.append(len(json.dumps(panels_of(run)[0].look().wire())))\n"
        "print(json.dumps(sizes))"
    )

    few, many = json.loads(reply.stdout.strip().splitlines()[-1])
    assert many < 1.1 * few


@pytest.fixture
def ask(kernel: Kernel) -> Any:
    """Put a request as a page does, over a comm of its own; gives the reply."""

    def put(**request: Any) -> dict[str, Any]:
        session, client = kernel.client.session, kernel.client
        opened = session.msg("comm_open", {"comm_id": "c1", "target_name": "tensorlake.control", "data": {}})
        client.shell_channel.send(opened)
        asked = session.msg("comm_msg", {"comm_id": "c1", "data": {"version": 1, "id": "q", **request}})
        client.shell_channel.send(asked)
        while True:
            message = client.get_iopub_msg(timeout=30)
            if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == "c1":
                reply: dict[str, Any] = message["content"]["data"]
                return reply

    return put


def test_a_page_asks_over_a_comm_of_its_own(kernel: Kernel, ask: Any) -> None:
    kernel.run("run = graph.run(n=6)")

    (latest,) = ask(kind="runs", limit=1)["body"]
    (graph,) = ask(kind="graphs")["body"]

    assert (latest["graph"], latest["status"], latest["inputs"]) == ("doubles", "succeeded", "n=6")
    assert (graph["key"], graph["state"], graph["stale"]) == ("graph", "fresh", [])
    value = ask(kind="value", run=latest["id"], node="double", side="output", index=5)["body"]
    assert (value["data"]["text/plain"], value["typeName"]) == ("10", "int")
    assert value["snippet"].endswith('.outputs("double")[5]')


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"kind": "nonsense"}, "doesn't know the request 'nonsense'"),
        ({"kind": "state", "run": "nobody"}, "no run ends with 'nobody'"),
        ({"kind": "validate", "graph": "nothing", "inputs": {}}, "no graph 'nothing'"),
        ({"kind": "graphs", "version": 99}, "upgrade it in the kernel"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(kernel: Kernel, ask: Any, request_: Any, words: str) -> None:
    reply = ask(**request_)

    assert reply["ok"] is False
    assert words in reply["error"]


def test_inputs_are_checked_by_name_and_a_plan_says_what_is_left(kernel: Kernel, ask: Any) -> None:
    kernel.run("run = graph.run(n=7)")

    assert ask(kind="validate", graph="graph", inputs={"n": "x"})["body"]["fields"].keys() == {"n"}
    assert ask(kind="validate", graph="graph", inputs={})["body"]["fields"] == {"n": "Give a value."}
    assert ask(kind="validate", graph="graph", inputs={"n": 1})["body"] == {"fields": {}, "problems": []}
    planned = ask(kind="plan", graph="graph", inputs={"n": 7})["body"]
    assert planned["nodes"]["double"]["replayed"] == 7
    assert planned["nodes"]["double"]["toCompute"] == 0
