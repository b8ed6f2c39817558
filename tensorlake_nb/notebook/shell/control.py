"""The road of clicks: a comm that the page opens, heard on a subshell while a cell blocks the kernel.

The kernel answers on it and never speaks first: a comm on which it has last sent from its main thread is delivered to
that thread, and so behind the very cell that a click is to cancel (ipykernel 7.4).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from comm import get_comm_manager

#: As `tensorlake_nb.notebook.panel.messages.CONTROL_TARGET`, which isn't imported before it is needed.
TARGET = "tensorlake.control"


def listen() -> None:
    """Answer on every comm of the target."""
    get_comm_manager().register_target(TARGET, _opened)


def _opened(comm: Any, message: Any) -> None:
    def hear(asked: dict[str, Any]) -> None:
        display = import_module("tensorlake_nb.notebook.shell.display")
        comm.send(display.answer(asked["content"]["data"]))

    comm.on_msg(hear)
