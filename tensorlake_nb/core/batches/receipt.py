"""A Dask task's answer: the settled elements, the places of their outputs, and other events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tensorlake_nb.core.batches.batch import Failure
from tensorlake_nb.core.batches.output_columns import OutputColumns


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements ``start`` to ``stop - 1`` of a batch, settled: where their outputs lie.

    Attributes
    ----------
    outputs
        The outputs of each; of a fold the accumulator, whatever number of elements it has taken. A router's
        outputs are its inputs, passed on.
    computed, replayed
        How many of the elements were called, and how many were settled from checkpoints.
    part, is_last
        A generator's items come in parts, each a piece of its own over the same element.
    """

    start: int
    stop: int
    outputs: OutputColumns
    computed: int = 0
    replayed: int = 0
    part: int = 0
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class LogLine:
    """Something that a call printed, warned or logged."""

    offset: int
    stream: Literal["stdout", "stderr", "log", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The work of a batch at one node.

    A chain sends one receipt per node that it reached. ``done`` counts the elements that were begun and ended,
    from the front: those after it are as they were. ``effects`` are what calls did beside returning, in the order
    of the elements, as their checkpoints hold it. Of a fold, ``worth_s`` is for the next batch (see `Fold`), and
    ``keeping_s`` what this one spent on reading and keeping accumulators.
    """

    batch: str
    node: str
    done: int
    pieces: tuple[Piece, ...]
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    timers: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    effects: tuple[bytes, ...] = ()
    logs: tuple[LogLine, ...] = ()
    notes: tuple[str, ...] = ()
    worker: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    worth_s: float = 0.0
    keeping_s: float = 0.0
