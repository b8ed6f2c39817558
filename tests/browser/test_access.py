"""Keyboard, themes, screen readers, and text that isn't what it seems."""

from __future__ import annotations

import json
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
EVIL += "<img src='" + OUTSIDE + "/i' onerror='top.pwned = 2'>"
EVIL += "<base href='" + OUTSIDE + "' target='_top'><meta http-equiv='refresh' content='0;url=" + OUTSIDE + "/m'>"
EVIL += "<link rel=stylesheet href='" + OUTSIDE + "/c'>"
EVIL += "<style>@import url('" + OUTSIDE + "/s'); body {{ color: red }}</style>"
EVIL += "<iframe src='" + OUTSIDE + "/f'></iframe><object data='" + OUTSIDE + "/o'></object>"
EVIL += "<form action='" + OUTSIDE + "/p'><input autofocus onfocus='top.pwned = 3'></form><a href='/l'>a link</a>"
EVIL += "</iframe></body></html><script>top.pwned = 4</script>"

class Odd:
    def _repr_html_(self): return EVIL

@tensorlake_function()
def odd(n: int) -> Odd:
    return Odd()

graph = Graph("odd", start_node=odd)
"""


def test_html_of_a_value_runs_nothing_and_asks_nobody(notebook: Open, tmp_path: Path) -> None:
    outside = "http://outside.invalid"
    asked: list[str] = []
    source = cells.setup(tmp_path / "store") + HOSTILE_HTML.format(outside=outside)
    opened = notebook(source, "graph.run(n=1)")
    opened.page.on("request", lambda request: asked.append(request.url))
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)
    panel.locator(".tlk-box[data-node=odd]").click()
    frame = panel.frame_locator("iframe.tlk-frame")

    expect(frame.locator("b")).to_have_text("as HTML")
    here = opened.page.url
    frame.locator("a").click()
    opened.shot("hostile-html")
    assert opened.page.url == here
    assert opened.page.evaluate("() => window.pwned") is None
    assert [url for url in asked if url.startswith(outside)] == []


def test_a_message_of_another_version_says_which_side_to_upgrade(notebook: Open, tmp_path: Path) -> None:
    opened = notebook("""
from IPython.display import display
display({"application/vnd.tensorlake.graph+json": {"version": 99}, "text/plain": "x"}, raw=True)
display({"application/vnd.tensorlake.graph+json": "junk", "text/plain": "x"}, raw=True)
""")
    opened.run(0)

    expect(opened.cell(0).locator(".tlk-error-line").first).to_contain_text("upgrade it where Jupyter runs")
    expect(opened.cell(0).locator(".tlk-error-line").last).to_be_visible()
