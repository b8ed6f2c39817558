"""Stores to test with, and short ways to put things into them."""

from __future__ import annotations

import enum
from collections import namedtuple
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from tensorlake_nb.core.batches.batch import BARE, Span
from tensorlake_nb.core.batches.output_columns import OutputColumns
from tensorlake_nb.core.keys import Digest, TaskKey
from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.store.checkpoints.opening import open_filesystem, open_store
from tensorlake_nb.store.checkpoints.store import Store
from tensorlake_nb.store.codecs.codec import Encoded, encode
from tensorlake_nb.store.format.outcomes import Entry, TaskOutcome
from tensorlake_nb.store.format.segment_builder import SegmentBuilder
from tensorlake_nb.store.format.stream_record import StreamRecord
from tensorlake_nb.store.writing.writer import Writer

FINGERPRINT = "5eed" * 16
OTHER = "07e4" * 16


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    left: Any
    right: Any


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Size(NamedTuple):
    wide: int
    high: int


Plain = namedtuple("Plain", ["a", "b"])


class Page(pydantic.BaseModel):
    url: str
    words: list[str] = []
    best: Point | None = None
    _seen: int = pydantic.PrivateAttr(default=0)


class Odd:
    """Nothing but a pickle keeps it."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.held == self.held

    def __hash__(self) -> int:
        return 1


def key(number: int) -> TaskKey:
    """A key for a number."""
    return TaskKey(digest(("key", number)))


def encoded(value: Any) -> Encoded:
    return encode(value, digest=digest(value))


def add(writer: Writer, number: int, value: Any, **more: Any) -> None:
    """Add one finished task with one bare output."""
    writer.add(Entry(key(number), BARE, (encoded(value),), **more))


def committed(
    store: Store, values: Sequence[Any], *, name: str = "batch", fingerprint: str = FINGERPRINT
) -> list[Span]:
    """Commit bare values as one segment; their spans."""
    writer = store.writer(fingerprint, name)
    for number, value in enumerate(values):
        add(writer, number, value)
    writer.close()
    return [writer.locate(key(number)).outputs.spans[0] for number in range(len(values))]


def swap(store: Store, segment: str, values: Sequence[Any], *, refers: tuple[Span, ...] = (), first: int = 0) -> None:
    """Put another segment, whole and of its writer's own, in the place of one: of the same tasks, as far as there are.

    Parameters
    ----------
    refers
        Where the outputs of one more task lie.
    first
        The number of the first task, if there is no segment in that place.
    """
    there = segment_directory(Path(store.filesystem.path("")), segment).exists()  # type: ignore[attr-defined]
    keys = chain(store.segment(segment).all_keys() if there else (), map(key, count(first)))
    builder = SegmentBuilder(segment, "2026-01-01T00:00:00+00:00")
    for value in values:
        builder.add(Entry(next(keys), BARE, (encoded(value),)))
    if refers:
        builder.add(Entry(next(keys), sum(map(len, refers)), (), refers=refers))
    store.commit(builder.seal(keys=store.signing_keys))


def again(store: Store) -> Store:
    """A second object for the same store, which remembers nothing."""
    return Store(
        open_filesystem(store.url, store.options), trusted=store.trusted, options=store.options, keys=store.keys
    )


def local_store(path: Path) -> Store:
    return again(open_store(str(path)))


def outcome_of(store: Store, number: int, fingerprint: str = FINGERPRINT) -> TaskOutcome | None:
    """Return the outcome of a task that the store has now."""
    index = store.index(fingerprint, refresh=True)
    (position,) = index.find(key(number)).tolist()
    return None if position < 0 else index.outcome(position)


def count_of(outcome: TaskOutcome) -> int:
    """Return the number of outputs in a task's list; `BARE` for one value."""
    (count,) = outcome.outputs.each_count.tolist()
    return int(count)


def stream_of(store: Store, spans: Sequence[Span], stream_digest: Digest, **more: Any) -> StreamRecord:
    """The record of a stream of bare values that lie there."""
    told: dict[str, Any] = {"counts": None, "routes": None, "n_tasks": len(spans), "seconds": 0.0, **more}
    late = partial(store.digests, spans)
    outputs = OutputColumns(told.pop("counts"), tuple(spans), late, told.pop("routes"))
    return StreamRecord(outputs, digest=stream_digest, **told)


def digests_of(values: Iterable[Any]) -> bytes:
    return b"".join(digest(value) for value in values)


def some_digest(number: int) -> Digest:
    return digest(("some", number))


def segment_directory(root: Path, segment: str) -> Path:
    fingerprint, _, name = segment.partition("/")
    return root / "segments" / fingerprint[:2] / fingerprint / name
