"""The live panel: a widget that shows one run or graph, and follows a run on a thread of its own.

What is shown is set whole when a panel appears, when a run ends, and every few seconds; in between go changes, a few
a second, whose size depends on the functions of the graph and not on their elements. Only what changed is sent.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from tensorlake_nb.engine.runs.graph import Graph
from tensorlake_nb.engine.runs.run import Run
from tensorlake_nb.errors import InternalError
from tensorlake_nb.notebook.drawing import html
from tensorlake_nb.notebook.drawing.faces import picture_of
from tensorlake_nb.notebook.panel.messages import MIME_TYPE, PanelState, crossing, delta
from tensorlake_nb.notebook.panel.panel_state import state_of_graph, state_of_run
from tensorlake_nb.notebook.panel.requests import PanelRequests

logger = logging.getLogger(__name__)

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
UPDATES_PER_S = 5.0
#: How often the whole state is set (s), for pages that open in the middle of a run.
_WHOLE_EVERY_S = 5.0
#: Widgets kept alive: older panels are drawn from what is in the notebook, and asked over the control comm.
_MOST_PANELS = 40
_STATIC = Path(__file__).parents[2] / "static"

_panels: deque[Panel] = deque()


def _asset(name: str) -> Path:
    path = _STATIC / name
    if not path.exists():
        raise InternalError(f"{path} isn't there: the panel was not built. Install the package with pip install .")
    return path


class Panel(anywidget.AnyWidget):
    """A run or a graph as a widget."""

    _esm = _asset("widget.js")
    _css = _asset("widget.css")
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, desk: PanelRequests, subject: Run | Graph) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._blocking = 0
        self._sent: PanelState | None = None
        self.subject = subject
        #: Where it stands in a cell, if it does: publishes data in the place of what is there.
        self.replace_display: Callable[[dict[str, Any]], None] | None = None
        super().__init__()
        self.on_msg(self._on_message)
        self._set_whole()
        _panels.append(self)
        while len(_panels) > _MOST_PANELS:
            _panels.popleft().close()

    def __repr__(self) -> str:
        return f"<panel of {self.subject!r}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle(), {}

    def bundle(self, *, is_live: bool = True) -> dict[str, Any]:
        """Everything by which a front end may draw it: the widget, our own type, static HTML, one constant line."""
        picture = picture_of(self.subject)
        data = {
            MIME_TYPE: self.look().wire(),
            "text/html": html.html(picture),
            "text/plain": html.plain(picture),
        }
        if is_live:
            data[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return crossing(data)

    def look(self) -> PanelState:
        """Return the state shown now."""
        subject = self.subject
        if isinstance(subject, Graph):
            state = state_of_graph(subject, self._desk.key_of(subject))
        else:
            state = state_of_run(subject, graph_key=self._desk.key_for(subject), blocking=self._blocking > 0)
        return state.model_copy(update={"model_id": self.model_id})

    def _set_whole(self) -> None:
        with self._lock:
            self._sent = self.look()
            if self.comm is not None:
                self.state = crossing(self._sent.wire())

    def _send_changes(self) -> None:
        with self._lock:
            now = self.look()
            changed = None if self._sent is None else delta(self._sent, now)
            self._sent = now
            if changed is not None and self.comm is not None:
                self.send(crossing(changed))

    # -- following a run --

    def follow(self, run: Run) -> None:
        """Show a run from now on, until it ends."""
        self.stop()
        self.subject = run
        self._desk.know(run)
        self._desk.follow_again(run)
        self._set_whole()
        self._stop = threading.Event()
        context = contextvars.copy_context()  # ipykernel finds the cell that a message belongs to in it
        self._thread = threading.Thread(
            target=context.run, args=(self._watch, run, self._stop), name="tensorlake-nb-panel", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; it doesn't wait for the run."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def block(self, is_blocking: bool) -> None:
        """Note that a cell begins or ends to wait for the run."""
        self._blocking += 1 if is_blocking else -1
        self._send_changes()

    def settle(self) -> None:
        """Wait until the end of the run is drawn; then what stays in the notebook is static, too."""
        if self._thread is not None and not isinstance(self.subject, Graph) and self.subject.status != "running":
            self._thread.join()

    def _watch(self, run: Run, stop: threading.Event) -> None:
        try:
            whole_at = time.monotonic()
            while not run.wait_quietly(1 / UPDATES_PER_S) and not stop.is_set():
                if time.monotonic() - whole_at > _WHOLE_EVERY_S:
                    self._set_whole()
                    whole_at = time.monotonic()
                else:
                    self._send_changes()
            if not stop.is_set():
                self._set_whole()
                if self.replace_display is not None:
                    self.replace_display(self.bundle(is_live=False))
        except Exception:
            logger.warning("the panel of run %s stopped following it", run.id, exc_info=True)

    # -- what it is asked --

    def _on_message(self, _: Any, content: Any, buffers: Any) -> None:
        """Answer a request among the widget's own messages, from a front end without its own kernel connection."""
        self.send(self._desk.answer(content, self.begin))

    def begin(self, run: Run) -> PanelState:
        """Show a run that a click began."""
        self.follow(run)
        return self.look()


def panel_of_model(model_id: Any) -> Panel | None:
    """Return the panel that a page names, if it is alive."""
    return next((panel for panel in _panels if panel.comm is not None and panel.model_id == model_id), None)


def panels_of(run: Run) -> list[Panel]:
    """Return the panels that follow a run."""
    return [panel for panel in _panels if panel.subject is run]
