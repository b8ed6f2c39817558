"""The record of a node's whole stream: what lets a replay look up a node instead of its elements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.keys import Digest
from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.format.outcomes import Routes
from tensorlake_nb.store.format.record import base64_of, bytes_of, numbers_of


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A node's settled stream, for one input stream.

    Attributes
    ----------
    spans
        Its outputs, in order.
    n_tasks, n_outputs
        How many calls were made, and how many outputs came of them.
    counts
        int32 per call (little-endian), -1 for one bare value; ``None`` if all are bare.
    routes
        Target names per output; ``None`` if everything goes everywhere.
    digest
        Digest of the output stream.
    seconds
        Compute that it took; for what was replayed when this was settled, as much per call as for the rest.
    run_id
        The run that settled it.
    extra
        Anything else that the caller wants back, as JSON.
    """

    spans: tuple[Span, ...]
    n_tasks: int
    n_outputs: int
    counts: bytes | None
    routes: Routes | None
    digest: Digest
    seconds: float
    run_id: str
    extra: Any = None

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments that it refers to, each once."""
        return tuple(dict.fromkeys(span.segment for span in self.spans))

    def to_json(self) -> bytes:
        """The record as JSON; spans, counts and routes as packed arrays, since there may be a million."""
        segments = {name: number for number, name in enumerate(self.segments)}
        spans = np.array([(segments[span.segment], span.start, span.stop) for span in self.spans], dtype="<u4")
        stored: dict[str, Any] = {
            "kind": "stream",
            "segments": list(segments),
            "spans": base64_of(spans),
            "tasks": self.n_tasks,
            "outputs": self.n_outputs,
            "digest": self.digest.hex(),
            "seconds": self.seconds,
            "run": self.run_id,
        }
        if self.counts is not None:
            stored["counts"] = base64_of(self.counts)
        if self.routes is not None:
            table: dict[tuple[str, ...], int] = {}
            numbers = [table.setdefault(targets, len(table)) for targets in self.routes]
            stored["routes"] = [list(table), base64_of(np.array(numbers, dtype="<u4"))]
        if self.extra is not None:
            stored["extra"] = self.extra
        return json.dumps(stored, separators=(",", ":")).encode()

    @classmethod
    def of_json(cls, path: str, raw: bytes) -> StreamRecord:
        """What `to_json` gave; `CorruptCheckpointError` for anything else."""
        try:
            stored = json.loads(raw)
            if stored["kind"] != "stream":
                raise ValueError("it is the record of something else")
            spans = numbers_of(stored["spans"], "<u4").reshape(-1, 3).tolist()
            routes: Routes | None = None
            if "routes" in stored:
                table = [tuple(map(str, targets)) for targets in stored["routes"][0]]
                routes = tuple(table[number] for number in numbers_of(stored["routes"][1], "<u4").tolist())
            record = cls(
                tuple(Span(str(stored["segments"][number]), start, stop) for number, start, stop in spans),
                int(stored["tasks"]),
                int(stored["outputs"]),
                bytes_of(stored["counts"]) if "counts" in stored else None,
                routes,
                Digest(bytes.fromhex(stored["digest"])),
                float(stored["seconds"]),
                str(stored["run"]),
                stored.get("extra"),
            )
            if sum(map(len, record.spans)) != record.n_outputs or len(record.digest) != 32:
                raise ValueError(f"it doesn't hold the {record.n_outputs} outputs it says")
        except Exception as error:
            raise CorruptCheckpointError(f"{path} isn't the record of a stream: {error!r:.300}") from error
        return record
