"""Show the progress of a run during a wait: in the cell or in the terminal, nowhere else.

In a notebook one display is updated in place, a few times a second, from a thread of its own that knows the cell it
belongs to. Its text form never changes, so that saved notebooks compare equal. What is on the way is also sent as
*transient* data, which front ends don't keep: that is how ``tensorlake-nb run`` sees it.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO
from weakref import WeakSet

from tensorlake_nb.notebook.drawing.faces import picture_of
from tensorlake_nb.notebook.drawing.html import progress_html
from tensorlake_nb.notebook.drawing.picture import Picture
from tensorlake_nb.notebook.shell import display
from tensorlake_nb.notebook.terminal.progress_lines import TerminalProgress
from tensorlake_nb.notebook.terminal.transient import TRANSIENT, to_message

if TYPE_CHECKING:
    from tensorlake_nb.engine.runs.run import Run

UPDATES_PER_S = 4.0

_waiting = threading.local()
#: Runs whose progress was shown: asking a finished run for its result again shows nothing.
_shown: WeakSet[Run] = WeakSet()


class Face(Protocol):
    """Something that shows a picture of a run again and again, and once more when the wait is over."""

    def show(self, picture: Picture) -> None:
        """Show how far the run is."""

    def close(self, picture: Picture) -> None:
        """Show how it ended, to stay."""


@contextmanager
def watching(run: Run) -> Iterator[None]:
    """Show progress while the body waits for a run; a wait inside a wait on the same thread shows nothing more."""
    if display.has_panels():
        with display.blocking(run):
            yield
        return
    is_news = run not in _shown or run.status == "running"
    face = face_here() if is_news and not getattr(_waiting, "run", None) else None
    if face is None:
        yield
        return
    _waiting.run = run
    _shown.add(run)
    stop = threading.Event()
    face.show(picture_of(run))  # from here, so that a cell's outputs stand in the order of its statements
    context = contextvars.copy_context()  # ipykernel finds the cell that a message belongs to in it
    thread = threading.Thread(
        target=context.run, args=(_update, face, run, stop), name="tensorlake-nb-progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _waiting.run = None
        face.close(picture_of(run))


def _update(face: Face, run: Run, stop: threading.Event) -> None:
    before = picture_of(run)
    while not stop.wait(1 / UPDATES_PER_S):
        picture = picture_of(run)
        if picture != before:
            face.show(picture)
            before = picture


def face_here(stream: TextIO | None = None) -> Face | None:
    """Return a display in a kernel, lines in a terminal, ``None`` in a script whose output goes to a file."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        return NotebookProgress(shell.display_pub.publish)
    stream = stream or sys.stderr
    return TerminalProgress(stream) if stream.isatty() else None


class NotebookProgress:
    """One display, updated in place."""

    def __init__(self, publish: Callable[..., None]) -> None:
        self._publish = publish
        self._display_id = uuid.uuid4().hex
        self._is_shown = False

    def show(self, picture: Picture) -> None:
        """Publish or update, with the state in the transient part."""
        self._send(picture)

    def close(self, picture: Picture) -> None:
        """Leave one line."""
        self._send(picture)

    def _send(self, picture: Picture) -> None:
        self._publish(
            data={"text/plain": f"Run of {picture.name!r}", "text/html": progress_html(picture)},
            metadata={},
            transient={"display_id": self._display_id, TRANSIENT: to_message(picture)},
            update=self._is_shown,
        )
        self._is_shown = True


def watch_waits() -> None:
    """Show each run that is begun, and progress around every blocking wait, from now on."""
    from tensorlake_nb.engine.runs.run import started, waiters

    if watching not in waiters:
        waiters.append(watching)
        started.append(display.show_started)
