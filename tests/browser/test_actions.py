"""What people do with a run: cancel it while a cell blocks, resume it, compute again, run a graph from its form."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser import cells
from tests.browser.conftest import Open


def test_a_run_is_cancelled_while_its_cell_blocks_and_then_resumed(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.held(tmp_path / "gate"), "graph.run(n=3)")
    opened.run(0)
    opened.begin(1)
    panel = opened.panel(1)
    expect(panel.locator(".tlk-box[data-node=held]")).to_have_attribute("data-state", "running")
    panel.locator("button[data-action=cancel]").click()
    opened.await_end()

    expect(panel).to_have_attribute("data-status", "cancelled")
    expect(opened.cell(1)).to_contain_text("was cancelled")
    opened.shot("cancelled")
    (tmp_path / "gate").touch()
    panel.locator("button[data-action=resume]").click()
    expect(panel).to_have_attribute("data-status", "succeeded")
    expect(panel.locator(".tlk-box[data-node=first]")).to_have_attribute("data-state", "replayed")


def test_an_edited_function_is_stale_then_computed_again_with_its_reason(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store"), cells.NUMBERS, "graph.run(n=4);", "graph", "graph.run(n=4);")
    for index in range(3):
        opened.run(index)
    opened.set_cell(1, cells.NUMBERS.replace("return 2 * x", "return 3 * x"))
    opened.run(1)
    opened.run(3)
    stale = opened.panel(3)

    expect(stale.locator(".tlk-box[data-node=double]")).to_have_attribute("data-state", "stale")
    expect(stale.locator(".tlk-box[data-node=total]")).to_have_attribute("data-state", "stale")
    expect(stale.locator(".tlk-box[data-node=load]")).to_have_attribute("data-state", "none")
    opened.shot("stale")
    opened.run(4)
    panel = opened.panel(4)
    expect(panel.locator(".tlk-box[data-node=load]")).to_have_attribute("data-state", "replayed")
    expect(panel.locator(".tlk-box[data-node=double]")).to_have_attribute("data-state", "computed")
    panel.locator(".tlk-box[data-node=double]").click()
    why = panel.locator("[data-section=why]")
    expect(why).to_contain_text("recomputed because")
    expect(why.locator(".tlk-diff-line[data-kind=added]")).to_contain_text("return 3 * x")
    expect(why.locator(".tlk-diff-line[data-kind=removed]")).to_contain_text("return 2 * x")
    panel.locator(".tlk-box[data-node=total]").click()
    expect(why).to_contain_text("because of double")
    opened.shot("why")


def test_one_function_and_what_follows_it_are_computed_again(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS, "run = graph.run(n=4)")
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)
    panel.locator(".tlk-box[data-node=double]").click()
    first = panel.get_attribute("data-run")
    panel.locator("button[data-action=refresh]").click()

    expect(panel).not_to_have_attribute("data-run", str(first))
    expect(panel).to_have_attribute("data-status", "succeeded")
    expect(panel.locator(".tlk-box[data-node=double]")).to_have_attribute("data-state", "computed")
    expect(panel.locator(".tlk-box[data-node=load]")).to_have_attribute("data-state", "replayed")
    expect(panel.locator(".tlk-box[data-node=total]")).to_have_attribute("data-state", "replayed")
    second = panel.get_attribute("data-run")
    panel.locator("button[data-action=again]").click()
    expect(panel).not_to_have_attribute("data-run", str(second))
    expect(panel).to_have_attribute("data-status", "succeeded")
    expect(panel.locator(".tlk-box[data-node=total]")).to_have_attribute("data-state", "computed")


def test_the_form_refuses_a_bad_value_says_what_it_would_cost_and_runs(notebook: Open, tmp_path: Path) -> None:
    opened = notebook(cells.setup(tmp_path / "store") + cells.NUMBERS + "\ngraph")
    opened.run(0)
    panel = opened.panel(0)
    field = panel.locator("[data-field=n] input")
    panel.locator("button[data-action=run]").click()
    expect(panel.locator("[data-field=n] .tlk-field-error")).to_contain_text("Give a value")
    field.fill("three")
    panel.locator("button[data-action=run]").click()

    expect(panel.locator("[data-field=n] .tlk-field-error")).to_contain_text("not a number")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(panel).to_have_attribute("data-status", "none")
    opened.shot("form")
    field.fill("3")
    panel.locator("button[data-action=plan]").click()
    expect(panel.locator(".tlk-box[data-node=load] .tlk-numbers")).to_contain_text("compute 1")
    panel.locator("button[data-action=run]").click()
    expect(panel).to_have_attribute("data-status", "succeeded")
    expect(panel.locator(".tlk-box[data-node=double] .tlk-numbers")).to_have_text("3/3")


def test_a_restarted_kernel_resumes_the_run_from_its_panel(notebook: Open, tmp_path: Path) -> None:
    setup = cells.setup(tmp_path / "store") + cells.held(tmp_path / "gate")
    configure = f"import os; os.environ['TENSORLAKE_NB_STORE'] = {str(tmp_path / 'store')!r}"
    opened = notebook(setup, "graph.start(n=3)", configure + "; os.environ['TENSORLAKE_NB_CLUSTER'] = 'threads'")
    opened.run(0)
    opened.run(1)
    panel = opened.panel(1)
    expect(panel.locator(".tlk-box[data-node=held]")).to_have_attribute("data-state", "running")
    opened.restart_kernel()
    opened.run(2)
    expect(panel.locator(".tlk-lost")).to_contain_text("restarted")
    panel.locator("button[data-action=connect]").click()

    expect(panel).to_have_attribute("data-status", "interrupted")
    panel.locator("button[data-action=resume]").click()
    expect(panel).to_have_attribute("data-status", "running")
    (tmp_path / "gate").touch()  # only now, so that the end has to be heard of
    expect(panel).to_have_attribute("data-status", "succeeded")
    opened.shot("resumed")
