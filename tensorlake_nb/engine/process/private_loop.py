"""One private event loop on one private thread: where runs are driven, whatever the notebook is doing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def spawn(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine on the private loop; the answer is a future for synchronous code."""
    return asyncio.run_coroutine_threadsafe(coroutine, _running_loop())


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="tensorlake-nb", daemon=True).start()
        return _loop
