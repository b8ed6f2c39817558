"""Run a notebook without a front end: its text outputs and its runs' progress go to the terminal.

The kernel is the Python that this runs in, unless a kernel is named, and its folder is the notebook's. Parameters
follow papermill's convention: a cell tagged ``injected-parameters`` after the one tagged ``parameters``.
"""

from __future__ import annotations

import ast
import asyncio
import keyword
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tensorlake_nb.errors import OptionError
from tensorlake_nb.notebook.terminal.progress_lines import TerminalProgress
from tensorlake_nb.notebook.terminal.transient import TRANSIENT, of_message

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
THIS_PYTHON = "tensorlake-nb"

#: Sockets have paths of at most 104 bytes (macOS), and the kernel adds "-ipc-12345" to the name of its file.
LONGEST_SOCKET_PATH = 80

SUCCEEDED, FAILED, INTERRUPTED = 0, 1, 130


class ThisPython(KernelSpecManager):
    """Knows one kernel more than are installed: the Python that this runs in, whatever kernels the user has."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the spec; installed kernels by their names."""
        if kernel_name == THIS_PYTHON:
            return KernelSpec(**get_kernel_dict())
        return super().get_kernel_spec(kernel_name)


def run_notebook(
    notebook: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    output: Path | None = None,
    kernel: str | None = None,
    timeout_s: float | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Execute a notebook's cells in order, and return the exit code.

    Parameters
    ----------
    notebook
        Left as it is; ``output`` gets the executed notebook, also when a cell fails.
    timeout_s
        Seconds that one cell may take.

    Returns
    -------
    int
        0, or 1 when a cell failed, timed out or took the kernel with it, or 130 when it was interrupted.

    Raises
    ------
    OptionError
        When the notebook, a parameter or the kernel can't be used.
    """
    out, err = out or sys.stdout, err or sys.stderr
    node = read_notebook(notebook)
    inject(node, parameters or {})
    with tempfile.TemporaryDirectory(prefix="tensorlake-nb-") as private:
        manager = _manager(kernel, private)
        client = TerminalClient(node, manager, notebook.parent.resolve(), timeout_s, out, err)
        try:
            return asyncio.run(client.run())
        finally:
            if output is not None:
                output.parent.mkdir(parents=True, exist_ok=True)
                nbformat.write(node, output)


def _manager(kernel: str | None, private: str) -> AsyncKernelManager:
    """Return a manager whose kernel listens in a private folder, or on loopback where that isn't possible."""
    manager = AsyncKernelManager(kernel_name=kernel or THIS_PYTHON, kernel_spec_manager=ThisPython())
    try:
        assert manager.kernel_spec is not None
    except NoSuchKernel as error:
        known = ", ".join(sorted(ThisPython().find_kernel_specs())) or "none"
        raise OptionError(f"no kernel is called {kernel!r} (installed: {known})") from error
    connection_file = f"{private}/k.json"
    if os.name == "posix" and len(connection_file) < LONGEST_SOCKET_PATH:
        manager.connection_file, manager.transport = connection_file, "ipc"
    return manager


def read_notebook(path: Path) -> NotebookNode:
    """Read and upgrade a notebook.

    Raises
    ------
    OptionError
        When there is none, or the file is something else.
    """
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise OptionError(f"there is no notebook {path}") from None
    except IsADirectoryError:
        raise OptionError(f"{path} is a folder, not a notebook") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError, AttributeError) as error:
        raise OptionError(f"{path} isn't a notebook: {str(error).splitlines()[0]:.200}") from error
    return notebook


# --- parameters ------------------------------------------------------------------------------------------------------


def inject(notebook: NotebookNode, parameters: Mapping[str, Any]) -> None:
    """Put values into a cell of their own, after the cell tagged ``parameters``, else first.

    Raises
    ------
    OptionError
        For a name that isn't one, that the notebook's ``parameters`` cell doesn't assign, or that another cell assigns
        where none is tagged so: the value would be lost.
    """
    if not parameters:
        return
    for name in parameters:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise OptionError(f"{name!r} can't be a parameter: it isn't a Python name")
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in _tags(cell)]
    at = next((i for i, cell in enumerate(notebook.cells) if "parameters" in _tags(cell)), None)
    if at is not None:
        declared = _assigned(notebook.cells[at].source)
        unknown = [name for name in parameters if declared is not None and name not in declared]
        if unknown:
            known = ", ".join(declared or ())
            raise OptionError(f"the notebook has no parameter {', '.join(map(repr, unknown))} (parameters: {known})")
    else:
        own = {name for cell in notebook.cells if cell.cell_type == "code" for name in _assigned(cell.source) or ()}
        lost = [name for name in parameters if name in own]
        if lost:
            names = ", ".join(map(repr, lost))
            raise OptionError(f"a cell of the notebook assigns {names} itself: give that cell the tag 'parameters'")
    lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())]
    cell = nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(0 if at is None else at + 1, cell)


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))


#: Nodes that open a scope of their own.
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def _assigned(source: str) -> list[str] | None:
    """Names that a cell assigns, magics aside; None where it isn't Python."""
    plain = "\n".join(line for line in source.split("\n") if not line.lstrip().startswith(("%", "!")))
    for text in (source, plain):
        with suppress(SyntaxError):
            tree = ast.parse(text)
            break
    else:
        return None
    names, pending = dict[str, None](), list[ast.AST](tree.body[::-1])
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = None
        if not isinstance(node, _SCOPES):
            pending += reversed(list(ast.iter_child_nodes(node)))
    return list(names)


# --- execution -------------------------------------------------------------------------------------------------------


class TerminalClient(NotebookClient):
    """Executes a notebook, shows what its cells say, and hands Ctrl-C on to its kernel."""

    def __init__(
        self,
        notebook: NotebookNode,
        manager: AsyncKernelManager,
        folder: Path,
        timeout_s: float | None,
        out: TextIO,
        err: TextIO,
    ) -> None:
        super().__init__(
            notebook,
            km=manager,
            resources={"metadata": {"path": str(folder)}},
            timeout=timeout_s,
            on_notebook_start=self._take_over_interrupts,
        )
        self._out, self._err = out, err
        self._progress: dict[str, TerminalProgress] = {}
        self._interrupts = 0
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Execute all cells and return the exit code; what went wrong is the last thing on the error stream."""
        try:
            # no page would draw a panel: progress comes as text, in the transient part of messages
            await self.async_execute(cleanup_kc=True, env={**os.environ, "TENSORLAKE_NB_PANEL": "off"})
        except CellExecutionError as error:
            if self._interrupts:
                return self._stopped("interrupted")
            return self._failed(f"{error.ename}: {_plain_text(error.evalue)}")
        except CellTimeoutError:
            return self._failed(f"the cell took longer than {self.timeout:g} s")
        except DeadKernelError:
            return self._stopped("killed") if self._interrupts else self._failed("the kernel died")
        return SUCCEEDED

    def _failed(self, reason: str) -> int:
        number = sum(cell.cell_type == "code" for cell in self.nb.cells[: self._at + 1])
        print(f"tensorlake-nb: code cell {number} failed: {reason}", file=self._err)
        return FAILED

    def _stopped(self, how: str) -> int:
        print(f"tensorlake-nb: {how}; finished work is kept", file=self._err)
        return INTERRUPTED

    # -- interrupts --

    def _take_over_interrupts(self, notebook: NotebookNode) -> None:
        """Interrupt the cell at the first Ctrl-C, where nbclient would take the kernel away, finished or not."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)

    def _interrupt(self) -> None:
        self._interrupts += 1
        assert self.km is not None
        stop = self.km.interrupt_kernel() if self._interrupts == 1 else self.km.shutdown_kernel(now=True)
        task = asyncio.ensure_future(ensure_async(stop))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    # -- output --

    _at = 0

    async def async_execute_cell(self, cell: NotebookNode, cell_index: int, *args: Any, **kwargs: Any) -> NotebookNode:
        """Execute one cell, unless the notebook was interrupted before it."""
        self._at = cell_index
        return await super().async_execute_cell(cell, cell_index, *args, **kwargs)

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Show a message of the kernel, then let nbclient put it into the notebook."""
        self._show(msg["msg_type"], msg["content"])
        return super().process_message(msg, cell, cell_index)

    def _show(self, kind: str, content: dict[str, Any]) -> None:
        match kind:
            case "stream":
                self._write(self._err if content["name"] == "stderr" else self._out, content["text"])
            case "display_data" | "update_display_data" if TRANSIENT in content.get("transient", {}):
                self._show_progress(content["transient"]["display_id"], content["transient"][TRANSIENT])
            case "display_data" | "execute_result":
                text = content["data"].get("text/plain")
                if text:
                    self._write(self._out, f"{text}\n")
            case "error":
                self._write(self._err, "\n".join(content["traceback"]) + "\n")

    def _show_progress(self, display_id: str, message: Mapping[str, Any]) -> None:
        picture = of_message(message)
        if picture is None:  # the kernel named by --kernel has another version installed
            return
        face = self._progress.setdefault(display_id, TerminalProgress(self._err))
        if picture.over:
            face.close(picture)
            del self._progress[display_id]
        else:
            face.show(picture)

    def _write(self, stream: TextIO, text: str) -> None:
        for face in self._progress.values():
            face.erase()
        stream.write(text if stream.isatty() else _plain_text(text))
        stream.flush()
        for face in self._progress.values():
            face.redraw()


def _plain_text(text: str) -> str:
    return _ANSI.sub("", text)
