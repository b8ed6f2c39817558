"""A run is watched from its first call to its end, and its outputs are looked into."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import cells
from tests.browser.conftest import Open


def test_a_run_is_drawn_live_to_its_end(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.held(tmp_path / "gate"), "graph.run(n=5)")
    opened.run(0)
    opened.begin(1)
    panel = opened.panel(1)

    expect(panel).to_have_attribute("data-status", "running")
    expect(panel.locator(".tlk-box[data-node=first]")).to_have_attribute("data-state", "computed")
    expect(panel.locator(".tlk-box[data-node=held]")).to_have_attribute("data-state", "running")
    expect(panel.locator("button[data-action=cancel]")).to_be_visible()
    opened.shot("live")
    (tmp_path / "gate").touch()
    opened.await_end()

    expect(panel).to_have_attribute("data-status", "succeeded")
    expect(panel.locator(".tlk-box[data-state=computed]")).to_have_count(2)
    expect(panel.locator(".tlk-box[data-node=held] .tlk-numbers")).to_have_text("5/5")
    expect(panel.locator(".tlk-live")).to_contain_text("succeeded")
    opened.shot("succeeded")


def test_a_click_on_a_function_shows_its_outputs_why_it_ran_and_what_it_printed(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=4)")
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)
    panel.locator(".tlk-box[data-node=double]").click()
    drawer = panel.locator(".tlk-drawer")

    expect(drawer).to_have_attribute("data-node", "double")
    expect(drawer.locator("[data-section=outputs] .tlk-text")).to_have_text("0")
    drawer.locator("[data-section=outputs] button[aria-label=Next]").click()
    expect(drawer.locator("[data-section=outputs] .tlk-text")).to_have_text("2")
    expect(drawer.locator("[data-section=why]")).to_contain_text("no earlier run in this store has it")
    drawer.locator("[data-section=inputs] summary").click()
    expect(drawer.locator("[data-section=inputs] .tlk-text")).to_have_text("0")
    opened.shot("details")

    panel.locator(".tlk-box[data-node=load]").click()
    drawer.locator("[data-section=logs] summary").click()
    expect(drawer.locator(".tlk-logs")).to_contain_text("loading 4")


def test_a_value_is_opened_in_a_cell_and_its_function_is_found(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store"), cells.NUMBERS, "run = graph.run(n=4)")
    for index in range(3):
        opened.run(index)
    panel = opened.panel(2)
    panel.locator(".tlk-box[data-node=total]").click()
    panel.locator("[data-section=outputs] .tlk-pager >> text=Open in a cell").click()

    expect(opened.cell(3)).to_contain_text('.outputs("total")[0]')
    opened.run(3)
    expect(opened.cell(3).locator(".jp-OutputArea-output")).to_contain_text("12")
    panel.locator(".tlk-drawer >> text=Go to its cell").click()
    expect(opened.cell(1)).to_have_class(re.compile("jp-mod-active"))


def test_a_function_whose_details_open_by_themselves_is_in_view(notebook: Open, tmp_path: Path) -> None:
    failing = cells.NUMBERS.replace("return 2 * x", 'if x == 3: raise ValueError("three is unlucky")\n    return 2 * x')
    opened = notebook(cells.setup(tmp_path / "store") + failing, "graph.run(n=5)", "Run.list()[0]")
    opened.run(0)
    opened.run(1)
    opened.run(2)

    for index in (1, 2):  # while the run goes on, and of one that is shown when all is over
        panel = opened.panel(index)
        expect(panel.locator(".tlk-drawer")).to_have_attribute("data-node", "double")
        frame, box = (panel.locator(where).first.bounding_box() for where in ("svg", ".tlk-box[data-node=double]"))
        assert frame is not None
        assert box is not None
        assert frame["x"] <= box["x"], (frame, box)
        assert box["x"] + box["width"] <= frame["x"] + frame["width"], (frame, box)
        assert frame["y"] <= box["y"], (frame, box)
        assert box["y"] + box["height"] <= frame["y"] + frame["height"], (frame, box)
    opened.shot("in-view")


def test_a_failure_shows_itself_first(notebook: Open, tmp_path: Path) -> None:
    failing = cells.NUMBERS.replace("return 2 * x", 'if x == 3: raise ValueError("three is unlucky")\n    return 2 * x')
    opened = notebook(cells.setup(tmp_path / "store") + failing, "graph.run(n=5)")
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)

    expect(panel.locator(".tlk-drawer")).to_have_attribute("data-node", "double")
    expect(panel.locator(".tlk-failure")).to_contain_text("ValueError: three is unlucky")
    expect(panel.locator(".tlk-failure .tlk-traceback").first).to_contain_text("raise ValueError")
    expect(panel.locator(".tlk-box[data-node=double]")).to_have_attribute("data-state", "failed")
    expect(panel.locator("button[data-action=rerunFailed]")).not_to_have_attribute("aria-disabled", "true")
    opened.shot("failed")


def test_half_a_letter_is_spelled_out_wherever_it_is_shown(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.CUT, "graph.run(question='how?')")
    opened.run(0)
    ran = opened.run(1)
    panel, drawer = opened.panel(1), opened.panel(1).locator(".tlk-drawer")

    expect(panel).to_have_attribute("data-status", "failed")
    expect(drawer).to_contain_text(r"half a letter \ud83d")
    expect(ran.locator(".jp-OutputArea").last).to_contain_text(r"ValueError: half a letter \ud83d")
    panel.locator(".tlk-box[data-node=ask]").click()
    expect(drawer.locator("[data-section=outputs] .tlk-text")).to_have_text(r"'half a letter \ud83d'")
    opened.shot("half-a-letter")
    drawer.locator("[data-section=logs] summary").click()
    expect(drawer.locator(".tlk-logs")).to_contain_text(r"how? \ud83d")


def test_the_timeline_and_the_table_show_the_same_run(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=50)")
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)
    panel.locator("button[data-view=table]").click()

    expect(panel.locator(".tlk-table tbody tr")).to_have_count(3)
    expect(panel.locator(".tlk-table tr[data-node=double]")).to_contain_text("50/50")
    opened.shot("table")
    panel.locator("button[data-view=timeline]").click()
    expect(panel.locator(".tlk-lane")).to_have_count(3)
    expect(panel.locator(".tlk-run-bar").first).to_be_visible()
    opened.shot("timeline")


def test_a_map_of_ten_thousand_elements_stays_responsive(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=10_000)")
    opened.run(0)
    opened.begin(1)
    panel = opened.panel(1)
    panel.locator(".tlk-box[data-node=double]").click()  # while the cell blocks
    drawer = panel.locator(".tlk-drawer")
    expect(drawer).to_have_attribute("data-node", "double")
    opened.await_end()

    expect(panel.locator(".tlk-box[data-node=double] .tlk-numbers")).to_have_text("10,000/10,000")
    drawer.locator("[data-section=elements] > summary").click()
    elements = drawer.locator(".tlk-elements")
    expect(elements.locator(".tlk-element").first).to_be_visible()
    assert elements.locator(".tlk-element").count() < 40
    elements.focus()
    opened.page.keyboard.press("End")
    expect(elements.locator(".tlk-element[aria-posinset='10000']")).to_contain_text("computed")
    opened.page.keyboard.press("Enter")
    expect(drawer.locator("[data-section=outputs] .tlk-text")).to_be_visible()
    opened.shot("ten-thousand")


@pytest.mark.parametrize("width", [400, 1280])
def test_details_find_their_place_in_narrow_and_wide_cells(notebook: Open, tmp_path: Path, width: int) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=4)")
    opened.run(0)
    opened.run(1)
    opened.page.add_style_tag(content=f".jp-OutputArea-output .tlk-panel {{ width: {width}px }}")
    panel = opened.panel(1)
    panel.locator(".tlk-box[data-node=double]").click()
    main = panel.locator(".tlk-main").bounding_box()
    drawer = panel.locator(".tlk-drawer").bounding_box()

    assert main is not None
    assert drawer is not None
    if width == 400:
        assert drawer["y"] >= main["y"] + main["height"] - 1
        assert panel.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    else:
        assert drawer["x"] >= main["x"] + main["width"] - 1
    opened.shot(f"width-{width}")
