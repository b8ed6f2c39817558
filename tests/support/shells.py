"""IPython shells in this process: namespace, hooks and displays as in a kernel, without one."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.utils.capture import RichOutput, capture_output
from traitlets.config import Config


class Shell:
    """A shell, and what its last cell printed and displayed."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.ip = shell
        self.out = self.err = ""
        self.shown: list[RichOutput] = []

    @property
    def names(self) -> dict[str, Any]:
        """The user's namespace."""
        names: dict[str, Any] = self.ip.user_ns
        return names

    def cell(self, source: str) -> ExecutionResult:
        """Run a cell as a kernel does, history included; the caller looks at what became of it."""
        with capture_output() as captured:
            result: ExecutionResult = self.ip.run_cell(source, store_history=True)
        self.result = result
        self.out, self.err, self.shown = captured.stdout, captured.stderr, captured.outputs
        return result

    def good(self, source: str) -> Any:
        """Run a cell that has to succeed, and return its result."""
        result = self.cell(source)
        result.raise_error()
        return result.result

    def bad(self, source: str) -> BaseException:
        """Run a cell that has to fail, and return its error."""
        error = self.cell(source).error_in_exec
        assert error is not None, "the cell succeeded"
        return error

    @property
    def texts(self) -> list[str]:
        """Return the text of each display of the last cell, its result included."""
        shown = [output.data["text/plain"] for output in self.shown]
        result = self.result.result
        return shown if result is None else [*shown, self.forms(result)["text/plain"]]

    def forms(self, value: Any) -> dict[str, str]:
        """Return a value in the forms that a front end gets, by MIME type."""
        assert self.ip.display_formatter is not None
        data: dict[str, str] = self.ip.display_formatter.format(value)[0]
        return data


@contextmanager
def new_shell(folder: Path) -> Iterator[Shell]:
    """A shell in which nothing of ours is loaded yet, keeping its files below a folder."""
    main = sys.modules["__main__"]
    InteractiveShell.clear_instance()
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(config=config, ipython_dir=str(folder / "ipython"))
    try:
        yield Shell(shell)
    finally:
        # Else each shell of the test session is kept, and cleared at its end with a collection of all garbage.
        atexit.unregister(shell.atexit_operations)
        InteractiveShell.clear_instance()
        sys.modules["__main__"] = main
