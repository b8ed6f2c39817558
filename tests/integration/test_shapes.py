"""The five shapes of Tensorlake's workflow FAQ: a pipeline, branches, a map, a reduce and a router."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tensorlake_nb import Graph, tensorlake_function, tensorlake_router


def test_a_pipeline_passes_values_on() -> None:
    @tensorlake_function()
    def node1(input: int) -> int:
        return input + 1

    @tensorlake_function()
    def node2(input2: int) -> int:
        return input2 + 2

    @tensorlake_function()
    def node3(input3: int) -> int:
        return input3 + 3

    graph = Graph(name="pipeline", start_node=node1)
    graph.add_edge(node1, node2)
    graph.add_edge(node2, node3)

    run = graph.run(input=10)

    assert run.status == "succeeded"
    assert [run.output(node1), run.output(node2), run.output("node3")] == [[11], [13], [16]]
    assert run.result() == 16
    assert graph.output(run.id, node3) == [16]
    assert node1(3) == 4


def test_branches_each_get_the_same_value() -> None:
    @tensorlake_function()
    def start_node(input: int) -> int:
        return input + 1

    @tensorlake_function()
    def add_two(input: int) -> int:
        return input + 2

    @tensorlake_function()
    def is_even(input: int) -> int:
        return input % 2 == 0

    graph = Graph(name="pipeline", start_node=start_node)
    graph.add_edge(start_node, add_two)
    graph.add_edge(start_node, is_even)

    run = graph.run(input=3)

    assert run.output(add_two) == [6]
    assert run.output(is_even) == [True]
    assert run.result() == {"add_two": 6, "is_even": True}


def test_a_list_is_mapped_and_its_results_keep_their_order() -> None:
    @tensorlake_function()
    def fetch_urls() -> list[str]:
        return [f"https://example.com/page{i}" for i in range(1, 4)]

    @tensorlake_function()
    def scrape_page(url: str) -> str:
        return f"content of {url}"

    run = Graph(name="scrape", start_node=fetch_urls).add_edge(fetch_urls, scrape_page).run()

    assert run.output(scrape_page) == [f"content of https://example.com/page{i}" for i in range(1, 4)]
    assert run.counts(scrape_page) == {"computed": 3, "replayed": 0, "failed": 0, "cancelled": 0, "pending": 0}


def test_a_reducer_folds_a_list_into_a_model() -> None:
    class Total(BaseModel):
        value: int = 0

    @tensorlake_function()
    def fetch_numbers() -> list[int]:
        return [1, 2, 3, 4, 5]

    @tensorlake_function(accumulate=Total)
    def accumulate_total(total: Total, number: int) -> Total:
        total.value += number
        return total

    run = Graph(name="sum", start_node=fetch_numbers).add_edge(fetch_numbers, accumulate_total).run()

    assert run.output(accumulate_total) == [Total(value=15)]
    assert type(run.result()) is Total


@pytest.mark.parametrize(("text", "handled"), [("an Error here", "error"), ("all is well", "normal")])
def test_a_router_passes_its_input_to_the_function_that_it_names(text: str, handled: str) -> None:
    @tensorlake_function()
    def handle_error(text: str):  # type: ignore[no-untyped-def]
        return f"error: {text}"

    @tensorlake_function()
    def handle_normal(text: str):  # type: ignore[no-untyped-def]
        return f"normal: {text}"

    @tensorlake_router()
    def analyze_text(text: str) -> list[handle_error | handle_normal]:  # type: ignore[valid-type]
        return [handle_error] if "error" in text.lower() else [handle_normal]

    run = Graph(name="triage", start_node=analyze_text).run(text=text)

    assert run.output(handle_error) == ([f"error: {text}"] if handled == "error" else [])
    assert run.output(handle_normal) == ([f"normal: {text}"] if handled == "normal" else [])


#: Tensorlake's own text. Its fourth example leaves the wiring out, its last one the graph.
FAQ = {
    "pipeline": """
        @tensorlake_function()
        def node1(input: int) -> int:
            return input + 1

        @tensorlake_function()
        def node2(input2: int) -> int:
            return input2 + 2

        @tensorlake_function()
        def node3(input3: int) -> int:
            return input3 + 3

        graph = Graph(name="pipeline", start_node=node1)
        graph.add_edge(node1, node2)
        graph.add_edge(node2, node3)
        run = graph.run(input=1)
        """,
    "map": """
        @tensorlake_function()
        def fetch_urls() -> list[str]:
            return [
                'https://example.com/page1',
                'https://example.com/page2',
                'https://example.com/page3',
            ]

        # scrape_page is called in parallel for every element of fetch_url across
        # many machines in a cluster or across many worker processes in a machine
        @tensorlake_function()
        def scrape_page(url: str) -> str:
            content = requests.get(url).text
            return content

        graph = Graph(name="pages", start_node=fetch_urls)
        graph.add_edge(fetch_urls, scrape_page)
        run = graph.run()
        """,
    "reduce": """
        @tensorlake_function()
        def fetch_numbers() -> list[int]:
            return [1, 2, 3, 4, 5]

        class Total(BaseModel):
            value: int = 0

        @tensorlake_function(accumulate=Total)
        def accumulate_total(total: Total, number: int) -> Total:
            total.value += number
            return total

        graph = Graph(name="total", start_node=fetch_numbers)
        graph.add_edge(fetch_numbers, accumulate_total)
        run = graph.run()
        """,
    "route": """
        @tensorlake_function()
        def handle_error(text: str):
            # Logic to handle error messages
            pass

        @tensorlake_function()
        def handle_normal(text: str):
            # Logic to process normal text
            pass

        # The function routes data into the handle_error and handle_normal based on the
        # logic of the function.
        @tensorlake_router()
        def analyze_text(text: str) -> List[Union[handle_error, handle_normal]]:
            if 'error' in text.lower():
                return [handle_error]
            else:
                return [handle_normal]

        graph = Graph(name="triage", start_node=analyze_text)
        run = graph.run(text="an error")
        """,
}

_HEAD = """
from typing import List, Union
from pydantic import BaseModel
from tensorlake_nb import *

class Page:
    def __init__(self, url): self.text = f"text of {url}"

class requests:
    get = staticmethod(Page)
"""


def _results(run: Any) -> dict[str, Any]:
    return {name: (run.output(name), run.counts(name)["computed"]) for name in run.definition["nodes"]}


@pytest.mark.parametrize("name", FAQ)
def test_the_faq_runs_as_written(name: str, tmp_path: Path) -> None:
    script = tmp_path / "faq.py"
    script.write_text(_HEAD + textwrap.dedent(FAQ[name]))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(script.read_text(), str(script), "exec"), namespace)
    outputs = {node: namespace["run"].output(node) for node in namespace["graph"].nodes}

    expected: dict[str, dict[str, list[Any]]] = {
        "pipeline": {"node1": [2], "node2": [4], "node3": [7]},
        "map": {
            "fetch_urls": [f"https://example.com/page{i}" for i in (1, 2, 3)],
            "scrape_page": [f"text of https://example.com/page{i}" for i in (1, 2, 3)],
        },
        "reduce": {
            "fetch_numbers": [1, 2, 3, 4, 5],
            "accumulate_total": [namespace["Total"](value=15)] if name == "reduce" else [],
        },
        "route": {"analyze_text": ["an error"], "handle_error": [], "handle_normal": []},
    }
    assert outputs == expected[name]
    if name == "route":
        assert namespace["run"].counts("handle_error")["computed"] == 1
        assert namespace["run"].counts("handle_normal")["computed"] == 0
