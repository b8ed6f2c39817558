"""The sidebar lists graphs and runs, opens and compares them; badges say how the graph of a cell stands."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser import cells
from tests.browser.conftest import Open


def test_the_sidebar_lists_filters_opens_and_compares_runs(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store"), cells.NUMBERS, "graph.run(n=4);", "graph.run(n=5);")
    for index in range(3):
        opened.run(index)
    opened.set_cell(1, cells.NUMBERS.replace("return 2 * x", "return 3 * x"))
    opened.run(1)
    opened.run(3)
    page = opened.page
    page.evaluate("() => window.jupyterapp.commands.execute('tensorlake-nb:show-sidebar')")
    sidebar = page.locator(".tlk-sidebar")
    rows = sidebar.locator(".tlk-run-row")

    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("n=5")
    expect(sidebar.locator(".tlk-graph-row")).to_have_attribute("data-state", "fresh")
    sidebar.locator(".tlk-sidebar-filter").fill("n=4")
    expect(rows).to_have_count(1)
    sidebar.locator(".tlk-sidebar-filter").fill("")
    for row in (0, 1):
        rows.nth(row).locator("input").check()
    sidebar.locator("[data-action=compare]").click()
    comparison = page.locator(".tlk-comparison")
    expect(comparison).to_contain_text("input n")
    expect(comparison.locator(".tlk-diff-line[data-kind=added]")).to_contain_text("return 3 * x")
    opened.shot("comparison")
    rows.first.locator(".tlk-row-title").click()
    expect(page.locator(".tlk-main-area .tlk-panel")).to_have_attribute("data-status", "succeeded")
    opened.shot("sidebar")


def test_badges_say_how_the_graph_of_a_cell_stands(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store"), cells.NUMBERS, "graph.run(n=4);")
    opened.run(0)
    opened.run(1)
    badge = opened.cell(1).locator(".tlk-badge")
    expect(badge).to_have_attribute("data-state", "new")
    opened.run(2)
    expect(badge).to_have_attribute("data-state", "fresh")
    opened.set_cell(1, cells.NUMBERS.replace("return 2 * x", "return 3 * x"))
    opened.run(1)

    expect(badge).to_have_attribute("data-state", "stale")
    expect(badge).to_contain_text("stale")


def test_without_the_kernel_side_the_sidebar_says_so(notebook: Open) -> None:
    opened = notebook("x = 1")
    opened.run(0)
    opened.page.evaluate("() => window.jupyterapp.commands.execute('tensorlake-nb:show-sidebar')")
    sidebar = opened.page.locator(".tlk-sidebar")
    expect(sidebar).to_contain_text("tensorlake_nb is not imported in this kernel")
    sidebar.locator("text=Connect").click()

    expect(sidebar).to_contain_text("none in this kernel")
