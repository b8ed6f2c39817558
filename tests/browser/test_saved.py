"""What stays: after a closed tab, in a saved notebook without a kernel, in exported HTML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect

from tests.browser import cells
from tests.browser.conftest import Open

MIME_TYPE = "application/vnd.tensorlake.graph+json"


def test_a_tab_that_was_closed_shows_the_run_again(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.held(tmp_path / "gate"), "run = graph.start(n=3)")
    opened.run(0)
    opened.run(1)
    expect(opened.panel(1).locator(".tlk-box[data-node=held]")).to_have_attribute("data-state", "running")
    opened.save()
    opened.reload()
    panel = opened.panel(1)
    expect(panel).to_have_attribute("data-status", "running")
    (tmp_path / "gate").touch()

    expect(panel).to_have_attribute("data-status", "succeeded")
    panel.locator(".tlk-box[data-node=held]").click()
    expect(panel.locator("[data-section=outputs] .tlk-text")).to_have_text("0")


def test_a_saved_notebook_shows_its_run_without_a_kernel(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=4)")
    opened.run(0)
    opened.run(1)
    expect(opened.panel(1)).to_have_attribute("data-status", "succeeded")
    data = opened.save()["cells"][1]["outputs"][0]["data"]
    opened.shut_down_kernel()
    opened.reload()
    panel = opened.panel(1)

    assert "application/vnd.jupyter.widget-view+json" not in data
    assert "".join(data["text/plain"]) == "Run of 'numbers'"
    assert "<svg" in "".join(data["text/html"])
    expect(panel.locator(".tlk-box[data-state=computed]")).to_have_count(3)
    drawing = panel.locator(".tlk-drawing > g").first
    before = drawing.get_attribute("transform")
    panel.locator(".tlk-box[data-node=load]").focus()
    opened.page.keyboard.press("+")
    assert drawing.get_attribute("transform") != before
    opened.page.keyboard.press("ArrowRight")
    expect(panel.locator(".tlk-box[data-node=double]")).to_be_focused()
    opened.shot("saved")


def test_exported_html_shows_the_graph(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=4)")
    opened.run(0)
    opened.run(1)
    expect(opened.panel(1)).to_have_attribute("data-status", "succeeded")
    opened.save()
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output", str(tmp_path / "out"), str(opened.path)]
    subprocess.run(command, check=True, capture_output=True)
    opened.page.goto((tmp_path / "out.html").as_uri())

    expect(opened.page.locator(".tlk svg").first).to_be_visible()
    expect(opened.page.locator(".tlk").first).to_contain_text("4 computed")
    opened.shot("exported")
