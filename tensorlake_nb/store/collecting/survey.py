"""Read the needs of a store's runs from their records, for a collection.

A run needs each segment that its header or its events name. They are looked for in the text of the record, so that
nothing is overlooked that a newer version writes there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.checkpoints.documents import Documents
from tensorlake_nb.store.collecting.needs import Names, names_of, union
from tensorlake_nb.store.collecting.retention import KnownRun
from tensorlake_nb.store.filesystems.protocol import Found
from tensorlake_nb.store.format.paths import RUNS, began_at
from tensorlake_nb.store.format.sealing import unseal

_SEGMENT = re.compile(rb"[0-9a-f]{64}/[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_STARTED, _ENDED = b'"type":"run_started"', b'"type":"run_ended"'
#: How many objects, of how many bytes in all, are read together.
_AT_ONCE, _AT_ONCE_BYTES = 200, 8 * 2**20


def names_in(text: bytes) -> Names:
    """Return the set of the segments that a text names."""
    return names_of(set(_SEGMENT.findall(text)))


@dataclass(frozen=True, slots=True)
class SurveyedRun:
    """The facts about a run that a collection needs.

    Attributes
    ----------
    graph
        Its graph's name; empty if its header can't be read.
    last_at
        When it last began or ended (s since the epoch).
    owner
        Its last driver.
    parts
        How many parts its log has.
    has_header, has_ended
        It was recorded; its end is on record.
    is_whole
        True if all of its record could be read; else its needs aren't known in full.
    functions
        Names of its functions by fingerprint.
    segments
        The set of the segments that it names.
    objects, size_bytes
        Of its record.
    """

    run_id: str
    graph: str = ""
    last_at: float = 0.0
    owner: Mapping[str, Any] = field(default_factory=dict)
    parts: int = 0
    has_header: bool = False
    has_ended: bool = False
    is_whole: bool = True
    functions: Mapping[str, str] = field(default_factory=dict)
    segments: Names = field(default_factory=lambda: names_of(()))
    objects: int = 0
    size_bytes: int = 0

    def known(self, *, is_live: bool) -> KnownRun:
        """Return the facts about the run that decide its removal."""
        return KnownRun(self.run_id, self.graph, self.last_at, is_live)


def run_names(store: Documents) -> list[str]:
    """Return the ids of all runs; other objects beside them are ignored."""
    return [name for name in sorted(store.filesystem.list(RUNS)) if began_at(name) is not None]


def survey(store: Documents) -> Iterator[SurveyedRun]:
    """Read the records of all runs, oldest first.

    Raises
    ------
    StoreVersionError
        Something is of a newer format: what it needs can't be known.
    """
    for run_id in run_names(store):
        yield survey_run(store, run_id)


def survey_run(store: Documents, run_id: str) -> SurveyedRun:
    """Read the record of one run, a few parts of its log at a time."""
    found = list(store.filesystem.walk(f"{RUNS}/{run_id}"))
    header = [each for each in found if each.path == f"{RUNS}/{run_id}/header"]
    log = [each for each in found if each.path.startswith(f"{RUNS}/{run_id}/events/") and part_number(each.name)]
    log.sort(key=lambda each: each.name)
    last_at, owner = began_at(run_id) or 0.0, dict[str, Any]()
    graph, functions, has_ended, is_whole = "", dict[str, str](), False, True
    sets: list[Names] = []
    for each, text in texts(store, [*header, *log]):
        if text is None:
            is_whole = False
            continue
        sets.append(names_in(text))
        if each in header:
            try:
                graph, functions, owner = _of_header(text)
            except (ValueError, KeyError, TypeError, AttributeError):
                is_whole = False
            continue
        for event in _turns(text):
            has_ended = event.get("type") == "run_ended"
            last_at = max(last_at, float(event.get("at") or 0.0))
            owner = event.get("owner") or owner
    return SurveyedRun(
        run_id,
        graph,
        last_at,
        owner,
        len(log),
        bool(header),
        has_ended,
        is_whole,
        functions,
        union(sets),
        len(found),
        sum(each.size_bytes for each in found),
    )


def part_number(name: str) -> int | None:
    """Return the number of a log's part by its name; ``None`` for anything else."""
    return int(name) if name.isascii() and name.isdigit() else None


def is_left(found: Found) -> bool:
    """Return True for a temporary object that `LocalFilesystem` hasn't given its name yet."""
    head, dot, random = found.name.rpartition(".")
    return head.startswith(".") and bool(dot) and re.fullmatch(r"[0-9a-f]{12}", random) is not None


def texts(store: Documents, found: Iterable[Found]) -> Iterator[tuple[Found, bytes | None]]:
    """Sealed objects, some at a time; ``None`` for one that is damaged. What has gone meanwhile is left out.

    Raises
    ------
    StoreVersionError
        One is of a newer format.
    """
    for some in _in_parts(found):
        for each, raw in zip(some, store.filesystem.get_many([each.path for each in some]), strict=True):
            if raw is None:
                continue
            try:
                yield each, unseal(each.path, raw)
            except CorruptCheckpointError:
                yield each, None


def _in_parts(found: Iterable[Found]) -> Iterator[list[Found]]:
    some: list[Found] = []
    for each in found:
        some.append(each)
        if len(some) == _AT_ONCE or sum(one.size_bytes for one in some) > _AT_ONCE_BYTES:
            yield some
            some = []
    if some:
        yield some


def _of_header(text: bytes) -> tuple[str, dict[str, str], dict[str, Any]]:
    header = json.loads(text)
    functions = {str(call["fingerprint"]): str(name).partition("~")[0] for name, call in header["calls"].items()}
    return str(header["graph"]), functions, dict(header["owner"])


def _turns(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield a part's events of the run's beginning or end."""
    for line in text.splitlines():
        if _STARTED in line or _ENDED in line:
            try:
                yield dict(json.loads(line))
            except (ValueError, RecursionError):
                continue
