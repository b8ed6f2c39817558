"""Several calls of a coroutine function at once, on an event loop that the worker's thread keeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tensorlake_nb.core.batches.batch import Failure
from tensorlake_nb.engine.calls.caller import Make, Returned
from tensorlake_nb.engine.worker.node_work import Did, NodeWork
from tensorlake_nb.engine.worker.settling import Settling


class _Loop:
    """An event loop that is closed with the thread that it belongs to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def __del__(self) -> None:
        if not self.loop.is_closed() and not self.loop.is_running():
            self.loop.close()


_here = threading.local()


def run_here(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on this thread's loop, which keeps what the functions cache in it."""
    if not hasattr(_here, "kept"):
        _here.kept = _Loop()
    loop: asyncio.AbstractEventLoop = _here.kept.loop
    loop.run_until_complete(coroutine)


def called_here(work: NodeWork, offset: int, given: Any, make: Make) -> Returned | Failure | None:
    """Make one call of a coroutine function and wait for it."""
    outcomes: list[Returned | Failure | None] = []

    async def run() -> None:
        outcomes.append(await work.caller.call_async(offset, given, make))

    run_here(run())
    return outcomes[0]


def compute_concurrently(work: NodeWork) -> Did:
    """Call a coroutine function for up to ``max_concurrency`` elements at once."""
    settling = Settling(work)
    run_here(_compute(work, settling))
    return settling.did()


async def _compute(work: NodeWork, settling: Settling) -> None:
    running: set[asyncio.Task[None]] = set()
    try:
        for offset in settling.unsettled():
            running.add(asyncio.create_task(_one(work, settling, offset)))
            # Even with room for more, a turn of the loop lets those that have ended say so first.
            has_room = len(running) < max(1, work.call.max_concurrency)
            running = await _ended(running, 0.0 if has_room else None)
        while running:
            running = await _ended(running, None)
    except BaseException:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        raise


async def _ended(running: set[asyncio.Task[None]], timeout: float | None) -> set[asyncio.Task[None]]:
    done, left = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # an error of ours or of the store; a call's own is in its outcome
    return left


async def _one(work: NodeWork, settling: Settling, offset: int) -> None:
    work.writer.begin(work.keys[offset])
    value, arguments, failure = work.given(offset)
    if arguments is None:
        assert failure is not None
        settling.fail(offset, failure)
        return
    args, kwargs = arguments

    async def make(target: Callable[..., Any], lead: tuple[Any, ...]) -> Any:
        return await target(*lead, *args, **kwargs)

    settling.take(offset, value, await work.caller.call_async(offset, value, make))
