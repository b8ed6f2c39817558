"""Keyboard, themes, screen readers, and text that isn't what it seems."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import cells
from tests.browser.conftest import Open
from tests.support.frontend import node_modules


def test_the_keyboard_is_enough_and_stays_in_the_panel(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=4)", "x = 1")
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)
    panel.locator(".tlk-box[tabindex='0']").focus()
    for key in ("ArrowRight", "d", "d", "x", "a", "b", "ArrowRight"):
        opened.page.keyboard.press(key)

    expect(opened.page.locator(".jp-Notebook .jp-Cell")).to_have_count(3)
    expect(panel.locator(".tlk-box[data-node=total]")).to_be_focused()
    assert panel.locator(".tlk-box[tabindex='0']").count() == 1
    opened.page.keyboard.press("Enter")
    expect(panel.locator(".tlk-drawer")).to_have_attribute("data-node", "total")
    panel.locator(".tlk-drawer .tlk-close").focus()
    opened.page.keyboard.press("Escape")
    expect(panel.locator(".tlk-drawer")).to_have_count(0)
    expect(panel.locator(".tlk-box[data-node=total]")).to_be_focused()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_nothing(notebook: Open, tmp_path: Path, theme: str) -> None:
    failing = cells.NUMBERS.replace("return 2 * x", 'if x == 3: raise ValueError("three")\n    return 2 * x')
    opened = notebook(cells.setup(tmp_path / "store") + failing + "\ngraph", "graph.run(n=5)")
    opened.run(0)
    opened.run(1)
    opened.theme(theme)
    opened.page.evaluate("() => window.jupyterapp.commands.execute('tensorlake-nb:show-sidebar')")
    expect(opened.page.locator(".tlk-run-row")).to_have_count(1)
    panel = opened.panel(1)
    expect(panel.locator(".tlk-failure")).to_be_visible()
    panel.locator("[data-section=elements] > summary").click()
    expect(panel.locator(".tlk-element").first).to_be_visible()
    opened.shot(f"theme-{theme.split()[-1].lower()}")
    opened.page.add_script_tag(path=node_modules() / "axe-core/axe.min.js")
    for view in ("graph", "table", "timeline"):
        panel.locator(f"button[data-view={view}]").click()
        found = opened.page.evaluate(
            "async () => (await axe.run({ include: [['.tlk-panel'], ['.tlk-sidebar']] })).violations"
            ".map(({ id, nodes }) => ({ id, nodes: nodes.map(node => node.html.slice(0, 200)) }))"
        )
        assert found == [], json.dumps(found, indent=1)


HOSTILE = """
EVIL = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
EVIL += "\\x1b[31mred\\x1b[0m \\u202Eevil " + "long " * 2000

@tensorlake_function(description=EVIL)
def start(text: str) -> str:
    print(EVIL)
    return EVIL

class Odd:
    def _repr_html_(self): return EVIL
    def __repr__(self): return EVIL

@tensorlake_function()
def odd(text: str) -> dict:
    return {"\\U0001F600 <b>": EVIL}

@tensorlake_function()
def fails(value: dict) -> int:
    raise ValueError(EVIL)

graph = Graph("evil", start_node=start, description=EVIL).add_edge(start, odd).add_edge(odd, fails)
"""


def test_hostile_text_is_shown_as_text(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + HOSTILE + "\ngraph", "graph.run(text='<i>x</i>')")
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)
    expect(panel.locator(".tlk-failure")).to_contain_text("<script>")
    assert "<script>" in str(panel.locator(".tlk-title").get_attribute("title"))
    panel.locator(".tlk-box[data-node=start]").click()
    drawer = panel.locator(".tlk-drawer")
    expect(drawer.locator("[data-section=outputs] .tlk-text")).to_contain_text("<img src=x")
    drawer.locator("[data-section=logs] > summary").click()
    expect(drawer.locator(".tlk-logs")).to_contain_text("<script>")
    opened.page.evaluate("() => window.jupyterapp.commands.execute('tensorlake-nb:show-sidebar')")
    expect(opened.page.locator(".tlk-run-row")).to_contain_text("<script>")
    opened.shot("hostile")

    assert opened.page.evaluate("() => window.pwned") is None
    assert panel.locator("script, img[src=x]").count() == 0
    assert not panel.evaluate(r"node => /[\u001b\u202e]/.test(node.textContent)")
    expect(opened.cell(1)).to_contain_text("\\u001b[31mred\\u001b[0m \\u202eevil")
    assert not opened.cell(1).evaluate(r"node => /[\u001b\u202e]/.test(node.textContent)")


HOSTILE_HTML = """
OUTSIDE = {outside!r}
EVIL = "<b>as HTML</b><script>top.pwned = 1; fetch(OUTSIDE)</script>"
EVIL += "<meta http-equiv='Content-Security-Policy' content='default-src *; report-uri " + OUTSIDE + "/r'>"
EVIL += "<img src='" + OUTSIDE + "/i' onerror='top.pwned = 2'><svg><image href='" + OUTSIDE + "/g'/></svg>"
EVIL += "<base href='" + OUTSIDE + "'><meta http-equiv='refresh' content='0;url=" + OUTSIDE + "/m'>"
EVIL += "<link rel=stylesheet href='" + OUTSIDE + "/c'><link rel=prefetch href='" + OUTSIDE + "/n'>"
EVIL += "<style>@import url('" + OUTSIDE + "/s'); body {{ background: url('" + OUTSIDE + "/u') }}</style>"
EVIL += "<iframe src='" + OUTSIDE + "/f'></iframe><object data='" + OUTSIDE + "/o'></object>"
EVIL += "<form action='" + OUTSIDE + "/p'><input autofocus onfocus='top.pwned = 3'></form>"
EVIL += "<a class=away target={target} ping='" + OUTSIDE + "/k' href='" + OUTSIDE + "/l'>a link</a>"
EVIL += "</iframe></body></html><script>top.pwned = 4</script>"

class Odd:
    def _repr_html_(self): return EVIL

@tensorlake_function()
def odd(n: int) -> Odd:
    return Odd()

graph = Graph("odd", start_node=odd)
"""


@pytest.fixture
def outside() -> Iterator[tuple[str, list[str]]]:
    """A server that isn't ours: its address, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("target", ["_self", "_top", "_blank"])
def test_html_of_a_value_runs_nothing_and_asks_nobody(
    notebook: Open, outside: tuple[str, list[str]], tmp_path: Path, target: str
) -> None:
    address, asked = outside
    source = cells.setup(tmp_path / "store") + HOSTILE_HTML.format(outside=address, target=target)
    opened = notebook(source, "graph.run(n=1)")
    opened.run(0)
    opened.run(1)
    opened.panel(1).locator(".tlk-box[data-node=odd]").click()
    frame = opened.panel(1).frame_locator("iframe.tlk-frame").frame_locator("iframe")

    expect(frame.locator("b")).to_have_text("as HTML")
    here = opened.page.url
    frame.locator("a").click(force=True)
    opened.shot("hostile-html")
    frame.locator("a").focus()
    opened.page.keyboard.press("Enter")
    # what this page asks for after all that is the first that arrives
    opened.page.evaluate("address => fetch(address, {mode: 'no-cors'})", f"{address}/control")

    assert asked == ["/control"]
    assert opened.page.url == here
    assert opened.page.evaluate("() => window.pwned") is None


TABLE = """
class Table:
    def _repr_html_(self): return "<table><tr><td>3.14</td></tr></table>"

@tensorlake_function()
def table() -> Table:
    return Table()

graph = Graph("table", start_node=table)
"""
COLOURS = "node => { const { backgroundColor, color } = getComputedStyle(node); return [backgroundColor, color] }"


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_html_of_a_value_has_the_colours_of_the_theme(notebook: Open, tmp_path: Path, theme: str) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + TABLE, "graph.run()")
    opened.theme(theme)
    opened.run(0)
    opened.run(1)
    opened.panel(1).locator(".tlk-box[data-node=table]").click()
    frame = opened.panel(1).frame_locator("iframe.tlk-frame").frame_locator("iframe")

    expect(frame.locator("td")).to_have_text("3.14")
    background, colour = opened.panel(1).evaluate(COLOURS)
    assert frame.locator("html").evaluate(COLOURS) == [background, colour]
    assert frame.locator("td").evaluate(COLOURS)[1] == colour
    opened.shot(f"html-{theme.split()[-1].lower()}")


def test_a_message_of_another_version_says_which_side_to_upgrade(notebook: Open, tmp_path: Path) -> None:
    opened = notebook("""
from IPython.display import display
display({"application/vnd.tensorlake.graph+json": {"version": 99}, "text/plain": "x"}, raw=True)
display({"application/vnd.tensorlake.graph+json": "junk", "text/plain": "x"}, raw=True)
""")
    opened.run(0)

    expect(opened.cell(0).locator(".tlk-error-line").first).to_contain_text("upgrade it where Jupyter runs")
    expect(opened.cell(0).locator(".tlk-error-line").last).to_be_visible()
