"""The same panel in Notebook 7, and in a JupyterLab without the extension."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import cells
from tests.browser.conftest import EXTENSION, Open
from tests.browser.labserver import serving


def test_notebook_7_draws_a_run_and_cancels_it_while_its_cell_blocks(
    opened: Open, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(tmp_path_factory.mktemp("notebook"), "notebook") as server:
        shown = opened(
            server, cells.setup(tmp_path / "store") + cells.held(tmp_path / "gate"), "graph.run(n=3)", app="notebook"
        )
        shown.run(0)
        shown.begin(1)
        panel = shown.panel(1)
        expect(panel.locator(".tlk-box[data-node=held]")).to_have_attribute("data-state", "running")
        panel.locator("button[data-action=cancel]").click()
        shown.await_end()

        expect(panel).to_have_attribute("data-status", "cancelled")
        shown.shot("notebook-7")
        shown.shut_down()


def test_without_the_extension_the_widget_alone_is_live(
    opened: Open, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(tmp_path_factory.mktemp("plain"), disabled=(EXTENSION,)) as server:
        shown = opened(server, cells.setup(tmp_path / "store") + cells.held(tmp_path / "gate"), "graph.run(n=3)")
        shown.run(0)
        shown.begin(1)
        panel = shown.panel(1)
        expect(panel.locator(".tlk-box[data-node=held]")).to_have_attribute("data-state", "running")
        panel.locator(".tlk-box[data-node=first]").click()
        expect(panel.locator("[data-section=outputs] .tlk-text")).to_have_text("0")
        panel.locator("button[data-action=cancel]").click()
        shown.await_end()

        expect(shown.cell(1)).to_contain_text("held · cancelled")
        expect(shown.cell(1).locator(".tlk svg").first).to_be_visible()
        shown.shot("without-extension")
        shown.shut_down()
