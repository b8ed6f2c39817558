"""A notebook in a browser, as a person uses it: run a cell, look, click, save, restart, reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from tests.browser.labserver import Server

_START = """
() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus === 'connected'
    && window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'
"""
# The promise is kept on the page: a cell that blocks isn't waited for.
_RUN = """
index => {
  const { content } = window.jupyterapp.shell.currentWidget;
  content.deselectAll();
  content.activeCellIndex = index;
  window.ran = window.jupyterapp.commands.execute('notebook:run-cell');
  return null;
}
"""
SLOW_MS = 120_000


class Notebook:
    """One open notebook, in JupyterLab or in Notebook 7 (``app``)."""

    def __init__(self, page: Page, server: Server, name: str, screenshots: Path, app: str = "lab") -> None:
        self.page, self._server, self._name, self._screenshots, self._app = page, server, name, screenshots, app
        self._themed = False
        page.set_default_timeout(SLOW_MS)

    def open(self) -> None:
        """Go to it and wait for its kernel."""
        stem = self._name.removesuffix(".ipynb")
        path = f"/lab/workspaces/{stem}/tree/{self._name}" if self._app == "lab" else f"/notebooks/{self._name}"
        self.page.goto(f"{self._server.url}{path}?token={self._server.token}")
        self.await_kernel()

    def await_kernel(self) -> None:
        self.page.wait_for_function("() => window.jupyterapp !== undefined", timeout=SLOW_MS)
        self.page.evaluate("async () => { await window.jupyterapp.restored }")
        self.page.wait_for_function(_START, timeout=SLOW_MS)

    def begin(self, index: int) -> Locator:
        """Run a cell without waiting for its end; gives the cell."""
        self.page.evaluate(_RUN, index)
        return self.cell(index)

    def run(self, index: int) -> Locator:
        """Run a cell to its end; gives the cell."""
        cell = self.begin(index)
        self.await_end()
        return cell

    def await_end(self) -> None:
        self.page.evaluate("async () => { await window.ran }")

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def panel(self, index: int) -> Locator:
        """The panel of a cell."""
        return self.cell(index).locator(".tlk-panel").first

    def set_cell(self, index: int, source: str) -> None:
        self.page.evaluate(
            "([index, source]) => window.jupyterapp.shell.currentWidget.content"
            ".widgets[index].model.sharedModel.setSource(source)",
            [index, source],
        )

    def restart_kernel(self) -> None:
        self.page.evaluate(
            "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }"
        )
        self.page.wait_for_function(_START, timeout=SLOW_MS)

    def save(self) -> dict[str, Any]:
        """Save it; gives what lies on disk."""
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.context.save() }")
        saved: dict[str, Any] = json.loads((self._server.root / self._name).read_text())
        return saved

    @property
    def path(self) -> Path:
        return self._server.root / self._name

    def reload(self) -> None:
        """Load the page again; the kernel goes on."""
        self.page.reload()
        self.page.wait_for_function("() => window.jupyterapp !== undefined", timeout=SLOW_MS)
        self.page.evaluate("async () => { await window.jupyterapp.restored }")

    def shut_down_kernel(self) -> None:
        self.page.evaluate("async () => { await window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown?.() }")

    def shut_down(self) -> None:
        """End its kernel, if there is one left."""
        if not self.page.is_closed():
            if self._themed:
                self.theme("JupyterLab Light")
            self.shut_down_kernel()

    def theme(self, name: str) -> None:
        self._themed = True  # the server remembers it
        self.page.evaluate(
            "async name => { await window.jupyterapp.commands.execute('apputils:change-theme', { theme: name }) }", name
        )
        light = "true" if "Light" in name else "false"
        chosen = f"body[data-jp-theme-light='{light}'][data-jp-theme-name='{name}']"
        self.page.wait_for_selector(chosen, state="attached")

    def shot(self, name: str) -> None:
        """Keep a picture."""
        self._screenshots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._screenshots / f"{name}.png")
