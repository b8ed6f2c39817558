"""``%load_ext tensorlake_nb``: the magics, and what they do with the options that they read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.display import display

import tensorlake_nb
from tensorlake_nb.notebook.magics.cell_transform import OPENING, ClosingCall, open_cell
from tensorlake_nb.notebook.magics.completion import complete
from tensorlake_nb.notebook.magics.options import CellOptions, Command, HelpShown, read_cell_options, read_command
from tensorlake_nb.notebook.shell.hooks import attach

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tensorlake_nb.notebook.namespace.cell_graphs import Before

#: The names that a ``%%tensorlake`` cell can use without importing them.
AT_HAND = (
    "Graph",
    "tensorlake_function",
    "tensorlake_router",
    "TensorlakeCompute",
    "RouteTo",
    "Retries",
    "RequestContext",
    "RequestException",
    "File",
    "Run",
    "configure",
)


@dataclass(slots=True)
class _OpenCell:
    options: CellOptions
    before: Before


class _Opened(threading.local):
    """The cell that is being executed on this thread (ipykernel runs sub-shells on threads of their own)."""

    cell: _OpenCell | None = None


_opened = _Opened()


@magics_class
class TensorlakeMagics(Magics):
    """``%tensorlake VERB ...`` and ``%%tensorlake NAME ...``."""

    shell: InteractiveShell

    @line_cell_magic
    def tensorlake(self, line: str, cell: str | None = None) -> Any:
        """Run graphs durably. As a line: ``%tensorlake --help``; as a cell: ``%%tensorlake --help``."""
        try:
            if cell is not None:  # called by hand: a cell in a notebook never comes here, see cell.py
                return self._run_whole(line, cell)
            word, _, rest = line.partition(" ")
            if word == OPENING:
                return self._open(rest)
            return _perform(read_command(line), self.shell)
        except HelpShown:
            return None

    def _run_whole(self, line: str, cell: str) -> Any:
        result = self.shell.run_cell(f"%%tensorlake {line}\n{cell}")
        result.raise_error()
        return result.result

    def _open(self, line: str) -> None:
        """Before the first statement of a cell: read its options, and put names at hand."""
        from tensorlake_nb.notebook.namespace.cell_graphs import Before

        _opened.cell = None
        options = read_cell_options(line)
        if options.store is not None or options.cluster is not None:
            tensorlake_nb.configure(store=options.store, cluster=options.cluster)
        for name in AT_HAND:
            if name not in self.shell.user_ns:
                self.shell.user_ns[name] = getattr(tensorlake_nb, name)
        _opened.cell = _OpenCell(options, Before.of(self.shell.user_ns))


def close(value: Any = None) -> Any:
    """After the last statement of a ``%%tensorlake`` cell: find or wire its graph, check it, show it, run it.

    ``value`` is what the cell's last expression gave. It stays the cell's result; a cell without one results in its
    run or its graph, so that ``_`` is that.
    """
    cell, _opened.cell = _opened.cell, None
    if cell is None:
        return value
    shown = _conclude(cell)
    if value is None or value is shown:
        return shown
    display(shown)
    return value


def _conclude(cell: _OpenCell) -> Any:
    from tensorlake_nb.notebook.namespace import cell_graphs
    from tensorlake_nb.notebook.namespace.redefinitions import refresh

    shell = get_ipython()
    assert shell is not None
    options = cell.options
    namespace = shell.user_ns
    refresh(namespace)
    if options.wire:
        graph = cell_graphs.wire(str(options.name), options.wire, namespace)
    else:
        graph = cell_graphs.graph_of_cell(options.name, namespace, cell.before)
    cell_graphs.keep(graph, namespace)
    graph.validate()
    match options.mode:
        case "run":
            return graph.run(options.inputs)
        case "start":
            return graph.start(options.inputs)
        case _:
            return graph


# --- %tensorlake ------------------------------------------------------------------------------------------------------


def _perform(command: Command, shell: InteractiveShell) -> Any:
    from tensorlake_nb.notebook.magics import commands

    perform: Callable[[Command, dict[str, Any]], Any] = commands.PERFORM[command.verb]
    return perform(command, shell.user_ns)


# --- loading ---------------------------------------------------------------------------------------------------------


def load(shell: InteractiveShell) -> None:
    """Register the magics in a shell; loading twice changes nothing."""
    attach(shell)
    shell.register_magics(TensorlakeMagics)
    if open_cell not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(open_cell)
        shell.ast_transformers.append(ClosingCall())
        shell.set_hook("complete_command", complete, str_key="%tensorlake")
        shell.set_hook("complete_command", complete, str_key="%%tensorlake")


def unload(shell: InteractiveShell) -> None:
    """Take the magics away again."""
    if open_cell in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(open_cell)
    shell.ast_transformers[:] = [step for step in shell.ast_transformers if not isinstance(step, ClosingCall)]
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("tensorlake", None)
