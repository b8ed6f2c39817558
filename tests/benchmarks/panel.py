"""The panel's price: what a page loads, its first paint, and what watching costs a run.

    python -m tests.benchmarks.panel [--elements 100000] [--rounds 3]

First paint is measured in Chromium from before `render` to the second frame after it. Runs with and without a panel
are timed in turn in one process; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import tensorlake_nb
from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.notebook.panel.messages import GraphEdge, GraphNode, GraphShape, PanelState, Standing
from tensorlake_nb.notebook.panel.panel import Panel
from tensorlake_nb.notebook.panel.requests import PanelRequests
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.conformance.test_panel_messages import HEAD, NOTHING

STATIC = Path(tensorlake_nb.__file__).parent / "static"
PAINT = """
async ([first, second]) => {
  const { default: widget } = await import('/widget.js');
  const el = document.createElement('div');
  document.body.replaceChildren(el);
  const listeners = {};
  let state = first;
  const on = (name, heard) => { (listeners[name] ??= []).push(heard); };
  const model = { get: () => state, on, off() {}, send() {} };
  const frames = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const began = performance.now();
  const stop = widget.render({ model, el });
  await frames();
  const painted = performance.now();
  state = second;
  listeners['change:state'].forEach(heard => heard());
  await frames();
  const patched = performance.now();
  stop();
  return [painted - began, patched - painted];
}
"""


class _Files(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(STATIC))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def state_of(boxes: int, standing: Standing) -> dict[str, Any]:
    """A tree of functions, three below each."""
    names = [f"step_{i}" for i in range(boxes)]
    shape = GraphShape(
        name="painted",
        about="",
        start=names[0],
        nodes=tuple(GraphNode(name=name, kind="function", about="", options={}) for name in names),
        edges=tuple(
            GraphEdge(source=names[(i - 1) // 3], target=names[i], into=None, routed=False) for i in range(1, boxes)
        ),
        problems=(),
    )
    nodes = dict.fromkeys(names, standing)
    return PanelState(graph=shape, run=HEAD, nodes=nodes, actions=NOTHING, at=HEAD.started_at + 5).wire()


def paint() -> None:
    """Print the medians of five paints."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.add_style_tag(path=STATIC / "widget.css")
        for boxes in (20, 100, 500):
            states = [state_of(boxes, Standing(state=state, total=1)) for state in ("running", "computed")]
            times = [page.evaluate(PAINT, states) for _ in range(6)][1:]
            first, patch = (statistics.median(each[i] for each in times) for i in (0, 1))
            print(f"{boxes} boxes: first paint {first:.0f} ms, all of them patched {patch:.0f} ms")
        browser.close()
    server.shutdown()


@tensorlake_function()
def numbers(n: int, round: int) -> list[int]:
    return [n * round + i for i in range(n)]


@tensorlake_function()
def double(x: int) -> int:
    return 2 * x


def watch(elements: int, rounds: int) -> None:
    """Print the ratio of watched to unwatched runs."""
    graph = Graph(name="watched", start_node=numbers).add_edge(numbers, double)
    sizes: list[int] = []
    send = Panel.send

    def counted(panel: Panel, content: Any, buffers: Any = None) -> None:
        sizes.append(len(str(content)))
        send(panel, content, buffers)

    Panel.send = counted
    with tempfile.TemporaryDirectory() as folder:
        configure(store=folder, cluster="embedded", workers=2)
        graph.run(n=1000, round=0)
        ratios = []
        for number in range(1, rounds + 1):
            took = [_timed(graph, elements, 2 * number + i, bool(i)) for i in (0, 1)]
            ratios.append(took[1] / took[0])
            print(f"round {number}: alone {took[0]:.2f} s, watched {took[1]:.2f} s, ratio {ratios[-1]:.3f}")
        mean = statistics.mean(sizes) if sizes else 0
        print(f"median ratio {statistics.median(ratios):.3f}; {len(sizes)} changes of {mean:.0f} characters sent")
        configure(cluster="threads")


def _timed(graph: Graph, elements: int, number: int, watched: bool) -> float:
    began = time.perf_counter()
    run: Run = graph.start(n=elements, round=number)
    panel = Panel(PanelRequests(dict), run) if watched else None
    if panel is not None:
        panel.follow(run)
    run.wait()
    took = time.perf_counter() - began
    if panel is not None:
        panel.stop()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in ("widget.js", "widget.css"):
        raw = (STATIC / name).read_bytes()
        print(f"{name}: {len(raw):,} bytes, {len(gzip.compress(raw)):,} gzipped")
    paint()
    watch(options.elements, options.rounds)


if __name__ == "__main__":
    main()
