"""A real ipykernel, driven like a front end drives it."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager


@dataclass
class Reply:
    """The result of a cell."""

    status: str
    stdout: str = ""
    errors: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    displayed: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class Kernel:
    """A kernel in a folder of its own."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager, self.client = manager, client

    def run(self, code: str, timeout: float = 60.0) -> Reply:
        """Run a cell to its end."""
        return self.finish(self.begin(code), timeout)

    def begin(self, code: str) -> str:
        """Send a cell."""
        return str(self.client.execute(code))

    def wait_for_output(self, text: str, timeout: float = 60.0) -> None:
        """Wait until something is printed."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if text in message["content"].get("text", ""):
                return
        raise TimeoutError(f"{text!r} was not printed within {timeout} s")

    def finish(self, cell: str, timeout: float = 60.0) -> Reply:
        """Collect everything until a cell is done."""
        began = time.monotonic()
        reply = Reply("ok")
        while True:
            left = began + timeout - time.monotonic()
            message = self.client.get_iopub_msg(timeout=max(left, 0.01))
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    reply.stdout += content["text"]
                case "error":
                    reply.status = "error"
                    reply.errors.append(f"{content['ename']}: {content['evalue']}")
                    reply.tracebacks.append("\n".join(content["traceback"]))
                case "display_data" | "execute_result" | "update_display_data":
                    reply.displayed.append(content["data"])
                case "status" if content["execution_state"] == "idle":
                    reply.seconds = time.monotonic() - began
                    return reply

    def interrupt(self) -> None:
        """Press Stop."""
        self.manager.interrupt_kernel()

    def restart(self, *, now: bool = True) -> None:
        """Restart; not ``now`` asks the kernel to end by itself first, as the button does."""
        self.manager.restart_kernel(now=now)
        self.client.wait_for_ready(timeout=60)


@contextmanager
def kernel(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Kernel]:
    """A kernel that works in a folder, with more in its environment than this process has."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env={**os.environ, **(environment or {})})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
