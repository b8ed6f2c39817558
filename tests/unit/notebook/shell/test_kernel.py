"""What a front end receives from a real kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tensorlake_nb.notebook.terminal.headless import THIS_PYTHON, ThisPython
from tensorlake_nb.notebook.terminal.transient import TRANSIENT

PATIENCE_S = 60

SLOW = """
from tensorlake_nb import *
import threading

@tensorlake_function
def numbers(n: int) -> list[int]:
    return list(range(n))

@tensorlake_function(cacheable=False)
def slow(n: int) -> int:
    threading.Event().wait(0.2)
    return n

class Total:
    value = 0

graph = Graph("slowly", start_node=numbers).add_edge(numbers, slow)
"""


@dataclass
class Reply:
    """Everything that one cell sent back."""

    content: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [message["content"] for message in self.messages if message["msg_type"] in kinds]

    @property
    def stderr(self) -> str:
        return "".join(content["text"] for content in self.of("stream") if content["name"] == "stderr")

    @property
    def texts(self) -> list[str]:
        return [content["data"]["text/plain"] for content in self.of("display_data", "execute_result")]


class Kernel:
    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client

    def cell(self, source: str) -> Reply:
        message_id = self.client.execute(source)
        answer = self.client.get_shell_msg(timeout=PATIENCE_S)
        while answer["parent_header"].get("msg_id") != message_id:
            answer = self.client.get_shell_msg(timeout=PATIENCE_S)
        reply = Reply(answer["content"])
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=PATIENCE_S)
            except Empty:
                pytest.fail("the kernel fell silent")
            if message["parent_header"].get("msg_id") != message_id:
                continue
            reply.messages.append(message)
            if message["content"].get("execution_state") == "idle":
                return reply

    def good(self, source: str) -> Reply:
        reply = self.cell(source)
        assert reply.content["status"] == "ok", reply.content.get("traceback")
        return reply


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder: Path = tmp_path_factory.mktemp("kernel")
    manager = KernelManager(kernel_name=THIS_PYTHON, kernel_spec_manager=ThisPython())
    manager.connection_file, manager.transport = str(folder / "k.json"), "ipc"
    # without panels: what those show is tested where they are
    settings = {"STORE": str(folder / "store"), "CLUSTER": "threads", "PANEL": "off"}
    environment = {**os.environ, **{f"TENSORLAKE_NB_{name}": value for name, value in settings.items()}}
    manager.start_kernel(cwd=str(folder), env=environment)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE_S)
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_waiting_cell_shows_its_progress_in_place(kernel: Kernel) -> None:
    kernel.good(SLOW)

    reply = kernel.good("run = graph.run(n=8)")

    first, *updates = reply.of("display_data", "update_display_data")
    assert [message["msg_type"] for message in reply.messages].count("display_data") == 1
    assert len(updates) >= 3
    assert {content["transient"]["display_id"] for content in updates} == {first["transient"]["display_id"]}
    settled = [content["transient"][TRANSIENT]["boxes"][1]["counts"]["computed"] for content in updates]
    assert settled == sorted(settled)
    assert settled[-1] == 8
    assert 0 < settled[1] < 8 or 0 < settled[0] < 8, "it was seen while it went on"


def test_the_text_of_progress_never_changes_and_its_last_form_has_no_ids(kernel: Kernel) -> None:
    kernel.good(SLOW)

    reply = kernel.good("run = graph.run(n=3)")

    displays = reply.of("display_data", "update_display_data")
    run_id = kernel.good("run.id").of("execute_result")[0]["data"]["text/plain"].strip("'")
    assert {content["data"]["text/plain"] for content in displays} == {"Run of 'slowly'"}
    assert "slow: 3 computed" in displays[-1]["data"]["text/html"]
    assert run_id not in displays[-1]["data"]["text/html"]


def test_a_finished_run_that_is_asked_again_shows_no_progress(kernel: Kernel) -> None:
    kernel.good(SLOW)
    kernel.good("run = graph.run(n=2)")

    reply = kernel.good("run.result()")

    assert reply.texts == ["[0, 1]"]


def test_what_a_cell_prints_meanwhile_stays_in_order(kernel: Kernel) -> None:
    kernel.good(SLOW)

    reply = kernel.good("print('before'); run = graph.run(n=2); print('after')")

    kinds = [
        message["content"].get("text") or message["msg_type"]
        for message in reply.messages
        if message["msg_type"] in ("stream", "display_data")
    ]
    assert "".join(kinds).split() == ["before", "display_dataafter"]


def test_plain_cells_show_graphs_and_runs(kernel: Kernel) -> None:
    kernel.good(SLOW)

    assert kernel.good("graph").texts == ["Graph 'slowly': numbers → slow (2 functions)"]
    assert kernel.good("graph.run(n=1)").texts == ["Run of 'slowly'", "Run of 'slowly': succeeded"]


def test_the_magic_runs_cells_with_await_and_finds_their_graph(kernel: Kernel) -> None:
    kernel.good("%load_ext tensorlake_nb")

    reply = kernel.good(f"%%tensorlake slowly --run n=1\nimport asyncio\nawait asyncio.sleep(0)\n{SLOW}")

    assert reply.texts == ["Run of 'slowly'", "Run of 'slowly': succeeded"]


def test_an_option_error_is_one_line_and_still_fails_the_cell(kernel: Kernel) -> None:
    kernel.good("%load_ext tensorlake_nb")

    reply = kernel.cell("%%tensorlake slowly --runn\n1 / 0")

    assert reply.content["status"] == "error"
    assert (
        reply.stderr.strip()
        == "UsageError: %%tensorlake: unrecognized arguments: --runn (did you mean '--run'?). See %%tensorlake --help."
    )
    assert reply.of("error") == []


def test_a_usage_error_of_ours_is_one_line_and_fails_the_cell(kernel: Kernel) -> None:
    kernel.good(SLOW)

    reply = kernel.cell("x = 1\n\ngraph.run(m=1)")

    (error,) = reply.of("error")
    assert (reply.content["status"], error["ename"]) == ("error", "InputError")
    assert len(error["traceback"]) == 1
    assert error["traceback"][0].endswith("(line 3 of the cell)")


def test_a_syntax_error_in_a_magic_cell_is_where_it_is(kernel: Kernel) -> None:
    kernel.good("%load_ext tensorlake_nb")

    reply = kernel.cell("%%tensorlake slowly\nx = 1\ny = = 2")

    assert "line 3" in "\n".join(reply.of("error")[0]["traceback"]).lower().replace("\x1b[0m", "")


def test_a_class_that_was_defined_again_in_a_cell_is_computed_again(kernel: Kernel) -> None:
    cell = "class Step:\n    size = {size}\n    def add(self, n): return n + self.size"
    kernel.good("from tensorlake_nb import *")
    kernel.good(cell.format(size=1))
    kernel.good(
        "@tensorlake_function\ndef step(n: int) -> int:\n    return Step().add(n)\ng = Graph('g', start_node=step)"
    )
    assert kernel.good("g.run(n=4).result()").texts[-1] == "5"

    kernel.good(cell.format(size=2))

    assert kernel.good("g.run(n=4).result()").texts[-1] == "6"
