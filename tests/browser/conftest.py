"""A browser on a real JupyterLab: one server and one Chromium for all stories, a page and a notebook for each."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.labserver import Server, serving
from tests.browser.notebook import Notebook

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
EXTENSION = "tensorlake-nb-labextension"
SCREENSHOTS = Path(os.environ.get("TENSORLAKE_NB_SCREENSHOTS", "build/screenshots"))

Open = Callable[..., Notebook]

expect.set_options(timeout=60_000)  # two loaded cores, and a kernel that starts a cluster in threads


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    yield page
    context.close()


@pytest.fixture
def opened(page: Page, request: pytest.FixtureRequest) -> Iterator[Callable[..., Notebook]]:
    """Open a new notebook of the given cells on a server; its kernel ends with the test."""
    notebooks: list[Notebook] = []
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def open_(server: Server, *cells: str, app: str = "lab") -> Notebook:
        name = f"{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())[:60]}-{len(notebooks)}.ipynb"
        node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        node.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(node, server.root / name)
        notebook = Notebook(page, server, name, SCREENSHOTS, app)
        notebook.open()
        notebooks.append(notebook)
        return notebook

    yield open_
    for notebook in notebooks:
        notebook.shut_down()
    # Notebook 7.6 throws one of its own while it starts
    ours = [error for error in errors if "tlk" in error or "tensorlake" in error or "panel" in error.lower()]
    assert not ours


@pytest.fixture
def notebook(opened: Open, lab: Server) -> Open:
    """The same, on the JupyterLab that all stories share."""

    def open_(*cells: str) -> Notebook:
        return opened(lab, *cells)

    return open_
