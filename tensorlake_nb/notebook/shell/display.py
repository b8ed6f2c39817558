"""Show panels: one in the cell that begins a run, and wherever a graph or a run is displayed."""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.errors import InternalError
from tensorlake_nb.notebook.panel.messages import PanelState
from tensorlake_nb.notebook.panel.requests import PanelRequests

if TYPE_CHECKING:
    from tensorlake_nb.notebook.panel.panel import Panel

logger = logging.getLogger(__name__)

#: ``off``: no widgets. The terminal's own kernels are started so: there is no page that could draw them.
SWITCH = "TENSORLAKE_NB_PANEL"

_is_answering: ContextVar[bool] = ContextVar("tensorlake_nb_is_answering", default=False)
#: Per run the cells that show it: the cell's own value is then one line.
_cells: WeakKeyDictionary[Run, set[str]] = WeakKeyDictionary()
_desk: PanelRequests | None = None
_was_told = False


def desk() -> PanelRequests:
    """Return the object that answers this kernel's panels."""
    global _desk
    if _desk is None:
        _desk = PanelRequests(lambda: shell.user_ns if (shell := _shell()) is not None else {})
    return _desk


def _shell() -> Any:
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def has_panels() -> bool:
    """Return True if there is a kernel and a page that may show widgets."""
    return hasattr(_shell(), "kernel") and os.environ.get(SWITCH, "") != "off" and _is_built()


def _is_built() -> bool:
    global _was_told
    try:
        pass
    except InternalError as error:
        if not _was_told:
            logger.warning("%s", error)
        _was_told = True
        return False
    return True


def _cell() -> str:
    """Return the id of the request that is being executed."""
    header = _shell().kernel.get_parent().get("header", {})
    return str(header.get("msg_id", ""))


def is_shown_here(run: Run) -> bool:
    """Return True if the current cell already shows a run."""
    return _cell() in _cells.get(run, set())


def is_told_already(shown: Any) -> bool:
    """Return True if a panel in the same cell already shows the run."""
    return isinstance(shown, Run) and has_panels() and is_shown_here(shown)


def show_started(run: Run) -> None:
    """Show the panel of a run that has begun, if this is a cell."""
    is_in_cell = threading.current_thread() is threading.main_thread() and not _is_answering.get()
    if is_in_cell and has_panels():
        try:
            show_run(run)
        except Exception:  # the run has begun: what can't be drawn must not end it
            logger.warning("run %s can't be shown", run.id, exc_info=True)


def show_run(run: Run) -> Panel:
    """Display a panel that follows a run, and is static once the run is over."""
    from tensorlake_nb.notebook.panel.panel import Panel

    panel = Panel(desk(), run)
    desk().know(run)
    publish: Callable[..., None] = _shell().display_pub.publish
    transient = {"display_id": uuid.uuid4().hex}
    # The same at the start and at the end: tools that compare notebooks look at either.
    always = {"text/plain": f"Run of {run.graph!r}"}
    publish(data={**panel.bundle(), **always}, metadata={}, transient=transient)

    def replace_display(data: dict[str, Any]) -> None:
        publish(data={**data, **always}, metadata={}, transient=transient, update=True)

    panel.replace_display = replace_display
    _cells.setdefault(run, set()).add(_cell())
    panel.follow(run)
    return panel


def bundle_of(shown: Run | Graph) -> dict[str, Any] | None:
    """Return a cell's display bundle of a run or graph; ``None`` if text, or a display without panels, is enough."""
    if not has_panels() or (isinstance(shown, Run) and is_shown_here(shown)):
        return None
    from tensorlake_nb.notebook.panel.panel import Panel

    panel = Panel(desk(), shown)
    if isinstance(shown, Run):
        desk().know(shown)
        if shown.status == "running":
            panel.follow(shown)
    return panel.bundle()


@contextmanager
def blocking(run: Run) -> Iterator[None]:
    """Tell a run's panels, while a cell waits for it, that the kernel hears them on a subshell only."""
    from tensorlake_nb.notebook.panel.panel import panels_of

    if not panels_of(run) and run.status == "running":
        show_run(run)
    panels = panels_of(run)
    for panel in panels:
        panel.block(True)
    try:
        yield
    finally:
        for panel in panels:
            panel.block(False)
            panel.settle()


def answer(message: Any) -> dict[str, Any]:
    """Return the reply to a request over the control comm."""
    token = _is_answering.set(True)
    try:
        model_id = message.get("panel") if isinstance(message, dict) else None
        return desk().answer(message, lambda run: _begin(run, model_id))
    finally:
        _is_answering.reset(token)


def _begin(run: Run, model_id: Any) -> PanelState:
    """Show a run that a click began: in the panel that was clicked, or in a new one that the page then draws."""
    from tensorlake_nb.notebook.panel.panel import Panel, panel_of_model

    panel = panel_of_model(model_id) or Panel(desk(), run)
    return panel.begin(run)
