"""Register with a running IPython shell: displays of graphs and runs, and hooks around each cell.

Plain cells get all of this from ``import tensorlake_nb``; ``%load_ext`` adds the magics. Nothing heavy is imported
before a graph or a run is shown, since every kernel that imports the package comes through here.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from tensorlake_nb.errors import UnreadableValueError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

#: Types that have a picture, by module and name, so that showing them needs no import before there is one.
SHOWN = (("tensorlake_nb.core.graphs.builder", "GraphBuilder"), ("tensorlake_nb.engine.runs.run", "Run"))

_attached: WeakSet[InteractiveShell] = WeakSet()


def attach(shell: InteractiveShell | None = None) -> None:
    """Register displays and cell hooks, once per shell; without a shell there is nothing to tell."""
    shell = shell or sys.modules["IPython"].get_ipython()
    if shell is None or shell in _attached:
        return
    _attached.add(shell)
    assert shell.display_formatter is not None
    formatters = shell.display_formatter.formatters
    for module, name in SHOWN:
        formatters["text/html"].for_type_by_name(module, name, _html)
        shell.display_formatter.mimebundle_formatter.for_type_by_name(module, name, _bundle)
        formatters["text/plain"].for_type_by_name(module, name, _plain)
    verification = "tensorlake_nb.engine.verifying.verification"
    formatters["text/html"].for_type_by_name(verification, "Verification", _html_of_verification)
    _remember_past_cells(shell)
    if hasattr(shell, "kernel"):
        import_module("tensorlake_nb.notebook.shell.control").listen()
    shell.events.register("pre_run_cell", _before_cell(shell))
    shell.events.register("post_run_cell", _after_cell(shell))
    shell.events.register("post_run_cell", _show_pictures(shell))


def _bundle(shown: Any, include: Any = None, exclude: Any = None) -> Any:
    """Return a panel, where a page may draw it."""
    return import_module("tensorlake_nb.notebook.shell.display").bundle_of(shown)


def _html(shown: Any) -> str | None:
    if import_module("tensorlake_nb.notebook.shell.display").is_told_already(shown):
        return None
    faces = import_module("tensorlake_nb.notebook.drawing.faces")
    return str(faces.html_of(shown))


def _html_of_verification(found: Any) -> str:
    return str(import_module("tensorlake_nb.notebook.terminal.reports").html_of_verification(found))


def _plain(shown: Any, printer: Any, cycle: bool) -> None:
    faces = import_module("tensorlake_nb.notebook.drawing.faces")
    printer.text(faces.plain_of(shown))


# --- cells -----------------------------------------------------------------------------------------------------------


def _remember_past_cells(shell: InteractiveShell) -> None:
    """Keep the sources of cells that ran before the package was imported, this one included."""
    for filename in list(getattr(shell.compile, "_filename_map", ())):
        if lines := linecache.getlines(filename):
            _remember("".join(lines), filename)


def _remember(source: str, filename: str) -> None:
    import_module("tensorlake_nb.core.code.source").remember_cell(source, filename)


def _before_cell(shell: InteractiveShell) -> Callable[[ExecutionInfo], None]:
    def remember(info: ExecutionInfo) -> None:
        raw = info.raw_cell or ""
        source = getattr(info, "transformed_cell", None)
        if source is None:  # IPython before 9 doesn't say
            try:
                source = shell.transform_cell(raw)
            except SyntaxError:
                return
        # the name is made of the count before this cell, which has been raised already
        number = shell.execution_count - bool(info.store_history)
        _remember(source, shell.compile.get_code_name(raw, source, number))

    return remember


def _after_cell(shell: InteractiveShell) -> Callable[[ExecutionResult], None]:
    def update_graphs(result: ExecutionResult) -> None:
        if "tensorlake_nb.engine.runs.graph" in sys.modules:  # else there can be no graph yet
            import_module("tensorlake_nb.notebook.namespace.redefinitions").refresh(shell.user_ns)

    return update_graphs


def _show_pictures(shell: InteractiveShell) -> Callable[[ExecutionResult], None]:
    """After the error that a value can't be read: the pictures that were kept of it."""

    def show(result: ExecutionResult) -> None:
        if isinstance(result.error_in_exec, UnreadableValueError):
            for picture in result.error_in_exec.pictures:
                shell.display_pub.publish(
                    data=import_module("tensorlake_nb.notebook.panel.shown_values").bundle_of(picture)
                )

    return show
