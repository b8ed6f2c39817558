"""The whole error tree.

    TensorlakeError
    ├── UsageError (ValueError)                 the author changes the cell
    │   ├── GraphError                          the graph can't run as wired
    │   ├── OptionError                         an option has a wrong value
    │   ├── InputError                          a run's inputs don't fit its start function
    │   ├── BindingError                        an output doesn't fit the parameters of the next function
    │   ├── UnhashableInputError                a value or a function without a digest
    │   └── SerializationError                  a value or a function that can't travel
    ├── StoreError                              clear, upgrade, or try again
    │   ├── CheckpointNotFoundError (LookupError)
    │   │   └── UnreadableValueError            whole, and what it needs isn't here: its library, or its class
    │   ├── CorruptCheckpointError
    │   ├── UntrustedCheckpointError
    │   ├── StoreVersionError
    │   └── StoreUnavailableError
    ├── RunError                                look at that task
    │   ├── TaskFailedError
    │   ├── RouteError
    │   ├── JoinError
    │   ├── PlacementError
    │   ├── TaskTimeoutError (TimeoutError)
    │   ├── WorkerLostError
    │   ├── RequestException                    raised by a user's function: the run can't go on
    │   ├── RunNotFoundError (LookupError)
    │   └── RunCancelledError
    ├── ClusterError                            the cluster can't be reached or started
    └── InternalError                           ours: report it

Errors cross processes: each passes its own arguments on to ``Exception``, so that it pickles back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class TensorlakeError(Exception):
    """Anything that tensorlake_nb raises on purpose."""


def readable(text: str) -> str:
    """Make a foreign text safe to show: spell out control characters that colour, move or reorder text."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


#: The type name that begins a description of an error; "its worker died ..." has none.
_TYPE_NAME = re.compile(r"[^\W\d][\w.<>]*(?=: |$)")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def tell_in_cell(error: BaseException, message: str) -> None:
    """Let a notebook show an exception of Python's own as one of ours: a message, and no frames of this package."""
    error.args = (message,)
    vars(error)["_render_traceback_"] = lambda: _shown_in_cell(error)  # the name IPython asks for


def _shown_in_cell(error: BaseException) -> list[str]:
    """Return the message, with the cell's line that it comes from after its first line."""
    step = error.__traceback__
    while step is not None and step.tb_frame.f_globals.get("__name__") != "__main__":
        step = step.tb_next
    where = f" (line {step.tb_lineno} of the cell)" if step is not None else ""
    first, *others = readable(str(error)).split("\n")
    return ["\n".join([f"{type(error).__name__}: {first}{where}", *others])]


class UsageError(TensorlakeError, ValueError):
    """Something to change in the cell: shown in a notebook as its message alone, with the line of the cell."""

    _render_traceback_ = _shown_in_cell  # what IPython shows instead of a traceback, whose frames would all be ours


class GraphError(UsageError):
    """The graph can't run as it is wired; ``problems`` lists everything found."""

    def __init__(self, graph: str, problems: tuple[str, ...]) -> None:
        super().__init__(graph, problems)
        self.graph, self.problems = graph, problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"graph {self.graph!r}: {self.problems[0]}"
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"graph {self.graph!r} has {len(self.problems)} problems:\n{listed}"


class OptionError(UsageError):
    """An option of a function, a graph, a store or a magic has a value it can't have."""


class InputError(UsageError):
    """The inputs of a run don't fit the signature of its start function."""


class BindingError(UsageError):
    """An output can't be bound to the parameters of the function it travels to."""


class UnhashableInputError(UsageError):
    """A value, or something that a function reaches, has no digest."""


class SerializationError(UsageError):
    """A function, an input or an output can't be sent or stored; the message names the culprit."""


class StoreError(TensorlakeError):
    """The checkpoint store can't do what was asked."""

    _render_traceback_ = _shown_in_cell


class CheckpointNotFoundError(StoreError, LookupError):
    """No committed checkpoint under that key or name."""


#: A picture of a figure, by MIME type: bytes, or text.
Picture = Mapping[str, str | bytes]


class UnreadableValueError(CheckpointNotFoundError):
    """A stored value is whole, and can't be read here: its library isn't installed, or its class isn't what it was.

    Attributes
    ----------
    pictures
        Pictures of the first figures among the values, where any were kept.
    """

    pictures: tuple[Picture, ...] = ()

    @property
    def why(self) -> str:
        """The missing library or class, in a sentence."""
        return f"{super().__str__().rstrip('.')}."

    def __str__(self) -> str:
        if not self.pictures:
            return super().__str__()
        return f"{self.why} A picture of it was saved: a notebook shows it, and this error holds it in `pictures`."


class CorruptCheckpointError(StoreError):
    """A stored object isn't what its record says: damaged, cut, or foreign."""


class UntrustedCheckpointError(StoreError):
    """A pickled checkpoint in a store that isn't trusted."""


class StoreVersionError(StoreError):
    """The store was written in a format that this version doesn't read."""


class StoreUnavailableError(StoreError):
    """The store's URL is unknown, unwritable or out of reach."""


class RunError(TensorlakeError):
    """A run that can't go on; ``run`` is the :class:`Run` where one was under way."""

    run: Any = None

    _render_traceback_ = _shown_in_cell  # the frames here are ours, and the message has those of the call that failed


class TaskFailedError(RunError):
    """A call failed, after its retries.

    Attributes
    ----------
    node, index, input_repr, attempt
        Which node, which element of its input stream (from 0), a short ``repr`` of that element, and which attempt.
    error
        ``"TypeName: message"`` of what the function raised.
    traceback_text
        The remote traceback, with the cell's own lines.
    lacking
        The function that has no output because of it; empty where that isn't what was asked for.
    __cause__
        The function's own exception, in the kernel that drives the run, where it can be rebuilt there.
    """

    def __init__(
        self,
        node: str,
        index: int,
        input_repr: str,
        attempt: int,
        error: str,
        traceback_text: str,
        lacking: str = "",
    ) -> None:
        super().__init__(node, index, input_repr, attempt, error, traceback_text, lacking)
        self.node, self.index, self.input_repr, self.attempt = node, index, input_repr, attempt
        self.error, self.traceback_text, self.lacking = error, traceback_text, lacking

    @property
    def exception_type(self) -> str:
        """The type of what the function raised, by name: ``"ValueError"``; empty where nothing was raised."""
        found = _TYPE_NAME.match(self.error)
        return found[0] if found is not None else ""

    def __str__(self) -> str:
        tries = f" after {self.attempt} attempts" if self.attempt > 1 else ""
        where = f"{self.node!r} failed on element {self.index}, input {self.input_repr}{tries}: {self.error}"
        if self.lacking and self.lacking != self.node:
            where = f"{self.lacking!r} has no output, because {where}"
        return f"{where}\n\n{self.traceback_text}" if self.traceback_text else where


class RouteError(RunError):
    """A router chose a function that it has no route to."""

    def __init__(self, router: str, chosen: str, routes: tuple[str, ...]) -> None:
        super().__init__(router, chosen, routes)
        self.router, self.chosen, self.routes = router, chosen, routes

    def __str__(self) -> str:
        routes = ", ".join(map(repr, self.routes)) or "none"
        return (
            f"router {self.router!r} chose {self.chosen!r}, but its routes are {routes}. "
            f"Return one of those, or add {self.chosen} to its annotation or to next=."
        )


class JoinError(RunError):
    """A joined side has several outputs for one element, or one that can't be matched."""


class PlacementError(RunError):
    """No worker of the cluster can ever run a node."""


class TaskTimeoutError(RunError, TimeoutError):
    """A call took longer than its timeout."""


class WorkerLostError(RunError):
    """The worker process ended while it computed an element."""


class RequestException(RunError):
    """Raise this in a function to end the whole run with a message; it is never retried."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RunNotFoundError(RunError, LookupError):
    """The store holds no run of that id."""


class RunCancelledError(RunError):
    """The run was cancelled; finished work is kept."""


class ClusterError(TensorlakeError):
    """The Dask cluster can't be reached, started or used."""

    _render_traceback_ = _shown_in_cell


class InternalError(TensorlakeError):
    """A defect of tensorlake_nb itself: please report it."""


#: Raised where stored values aren't there as they were written.
DAMAGED = (CorruptCheckpointError, CheckpointNotFoundError, UntrustedCheckpointError, StoreVersionError)
