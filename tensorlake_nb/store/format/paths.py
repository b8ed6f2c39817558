"""Fingerprints, names and run ids → paths below the store's URL; the version of what lies there.

    zarr.json                                    the store's own record, with the format version
    segments/ab/<fingerprint>/<name>/zarr.json   a segment's record; its objects lie beside it
    segments/ab/<fingerprint>/<name>.bad         marks a segment that was found damaged
    streams/ab/<fingerprint>/<digest>            a node's whole stream, by the digest of its input stream
    runs/<run id>/…                              a run's header, events, state and code
    spool/<fingerprint>/<name>.spool             what a local writer has not yet put into a segment
    claims/runs/<run id>                         the lease of a run that is driven now
    claims/ab/<fingerprint>/00000001 …           who computes what, where runs meet

Every part of a path is made of letters, digits and ``. _ - ~``, so that it means the same on every filesystem.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
import time

from blake3 import blake3

from tensorlake_nb.core.keys import Digest, Fingerprint
from tensorlake_nb.errors import OptionError

#: Version of everything described in docs/format.md. Raise it when an older reader could misread what we write.
FORMAT_VERSION = 1

#: The record of the store, and of each segment: both are Zarr groups.
RECORD = "zarr.json"
SEGMENTS = "segments"
STREAMS = "streams"
SPOOLS = "spool"
RUNS = "runs"
CLAIMS = "claims"
LEASES = f"{CLAIMS}/runs"
BAD_SUFFIX = ".bad"
SPOOL_SUFFIX = ".spool"

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,199}")
_RUN = re.compile(r"(\d{8}-\d{6}-[0-9a-f]{6})")
#: Microseconds since the epoch in names, in hexadecimal digits.
_TIME_DIGITS = 14
_UNIQUE = re.compile(rf".+~([0-9a-f]{{{_TIME_DIGITS}}})[0-9a-f]{{8}}")
_OBJECT = re.compile(_PART.pattern + r"/c(\.[0-9]{1,18})+")
_WRITER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def checked_fingerprint(fingerprint: str) -> Fingerprint:
    """Return the fingerprint itself, if it is 64 lower-case hex digits; else raise `OptionError`."""
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise OptionError(f"{fingerprint[:80]!r} is no fingerprint: 64 lower-case hex digits are expected")
    return Fingerprint(fingerprint)


def is_fingerprint(name: str) -> bool:
    """Return True if `checked_fingerprint` accepts it."""
    return _FINGERPRINT.fullmatch(name) is not None


def checked_part(part: str) -> str:
    """One part of a path, if it can't lead elsewhere; else `OptionError`."""
    if not _PART.fullmatch(part):
        raise OptionError(f"{part[:80]!r} can't stand in a path: use letters, digits and ._-~, and no dot first")
    return part


def is_part(part: str) -> bool:
    """Return True if `checked_part` accepts it."""
    return _PART.fullmatch(part) is not None


def is_object(path: str) -> bool:
    """Return True for the path of an array's chunk in its segment."""
    return _OBJECT.fullmatch(path) is not None


def segments_path(fingerprint: str) -> str:
    """Return the folder of one function's segments."""
    return f"{SEGMENTS}/{checked_fingerprint(fingerprint)[:2]}/{fingerprint}"


def segment_path(segment: str) -> str:
    """Return the folder of the objects of ``"<fingerprint>/<name>"``."""
    fingerprint, _, name = segment.partition("/")
    return f"{segments_path(fingerprint)}/{checked_part(name)}"


def bad_path(segment: str) -> str:
    """Return the path of a damaged segment's mark: beside it, so that one listing shows both."""
    return segment_path(segment) + BAD_SUFFIX


def streams_path(fingerprint: str) -> str:
    """Return the folder of one function's stream records."""
    return f"{STREAMS}/{checked_fingerprint(fingerprint)[:2]}/{fingerprint}"


def stream_path(fingerprint: str, given: Digest) -> str:
    """Return the path of the record of a node's whole stream."""
    return f"{streams_path(fingerprint)}/{given.hex()}"


def spools_path(fingerprint: str) -> str:
    """Return the folder of one function's spools."""
    return f"{SPOOLS}/{checked_fingerprint(fingerprint)}"


def run_path(path: str) -> str:
    """Return a path below ``runs/``, checked part by part."""
    parts = path.split("/")
    if parts[0] != RUNS or len(parts) < 2:
        raise OptionError(f"{path[:80]!r} doesn't lie below {RUNS}/")
    return "/".join(checked_part(part) for part in parts)


def lease_path(run_id: str) -> str:
    """Return the path of a run's lease, which says that it is driven now."""
    return f"{LEASES}/{checked_part(run_id)}"


def ledger_path(fingerprint: str) -> str:
    """Return the folder of a function's ledger, in which runs claim their tasks."""
    return f"{CLAIMS}/{checked_fingerprint(fingerprint)[:2]}/{fingerprint}"


def state_path(run_id: str, key: str) -> str:
    """Return the path of one value of a run's shared state: any text is a key, so its hash stands in the path."""
    return f"{RUNS}/{run_id}/state/{blake3(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def writer_part(name: str) -> str:
    """Return a writer's name in the form used in paths: shortened with a hash of the whole where needed."""
    if _WRITER.fullmatch(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60].strip("-") or "writer"
    return f"{readable}.{blake3(name.encode('utf-8', 'surrogatepass')).hexdigest(8)}"


def unique_name(writer: str, after: str | None = None) -> str:
    """Return a new name for something that a writer leaves: unique, and sorting by time.

    Parameters
    ----------
    after
        Another such name, of something older, whatever the clock says that one was made by.
    """
    least = 0 if after is None else int(age_of(after)[:_TIME_DIGITS], 16) + 1
    return f"{writer}~{max(time.time_ns() // 1000, least):0{_TIME_DIGITS}x}{secrets.token_hex(4)}"


def writer_of(name: str) -> str:
    """Return the writer's part of a name from `unique_name`."""
    return name.rpartition("~")[0]


def is_of_run(name: str, run: str) -> bool:
    """Return True if a segment or spool, with or without its fingerprint, is by a writer of a run."""
    return name.rpartition("/")[2].startswith(f"{run}-")


def made_at(name: str) -> float | None:
    """When something with a name from `unique_name` was made (s since the epoch); ``None`` for any other name."""
    made = _UNIQUE.fullmatch(name)
    return int(made[1], 16) / 1e6 if made else None


def run_of(name: str) -> str | None:
    """Return the id of the run whose writer made a segment or spool, by its name; ``None`` if it doesn't tell."""
    found = _RUN.match(name)
    return found[1] if found and name[found.end() : found.end() + 1] in ("-", "") else None


def began_at(run_id: str) -> float | None:
    """When a run was made, by its id (s since the epoch); ``None`` for what is no run's id."""
    found = _RUN.fullmatch(run_id)
    try:
        return None if found is None else dt.datetime.strptime(f"{run_id[:15]}+0000", "%Y%m%d-%H%M%S%z").timestamp()
    except ValueError:
        return None


def age_of(name: str) -> str:
    """Return a sort key that orders names of different writers by their time."""
    return name.rpartition("~")[2]
