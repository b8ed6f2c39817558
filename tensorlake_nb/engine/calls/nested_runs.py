"""A run inside a run: refused before it waits for workers, which its own call may be keeping busy."""

from __future__ import annotations

from tensorlake_nb.engine.process.capture import call_under_way
from tensorlake_nb.errors import UsageError


def refuse_inside_calls(what: str) -> None:
    """Refuse to do something that waits for workers while this thread, or this worker process, is at a call of a run.

    Raises
    ------
    UsageError
        It is.
    """
    call = call_under_way()
    if call is not None:
        inside = f"function {call!r}" if call else "a function"
        raise UsageError(
            f"{inside} can't {what} while a run is calling it: that would wait for workers, and the call keeps one "
            "busy. Call the functions directly here, as step(x), where they are plain calls. Or make the work part of "
            "the graph: return a list, and add an edge to the function that is to be called for each of its items."
        )
