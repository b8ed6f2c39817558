"""The record of a node's whole stream: what lets a replay look up a node instead of its elements."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.output_columns import OutputColumns, Routes
from tensorlake_nb.core.keys import Digest
from tensorlake_nb.errors import CorruptCheckpointError
from tensorlake_nb.store.format.record import base64_of, numbers_of


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A node's settled stream, for one input stream.

    Attributes
    ----------
    outputs
        The outputs of each call; where they are routed, with all targets. Of a fold one bare value.
    n_tasks
        How many calls were made.
    digest
        Digest of the output stream.
    seconds
        Compute that it took; for what was replayed when this was settled, as much per call as for the rest.
    run_id
        The run that settled it.
    extra
        Anything else that the caller wants back, as JSON.
    """

    outputs: OutputColumns
    n_tasks: int
    digest: Digest
    seconds: float
    run_id: str
    extra: Any = None

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments that it refers to, each once."""
        return tuple(dict.fromkeys(span.segment for span in self.outputs.spans))

    def to_json(self) -> bytes:
        """Return the record as JSON; spans, counts and routes as packed arrays, since there may be a million."""
        segments = {name: number for number, name in enumerate(self.segments)}
        spans = np.array([(segments[span.segment], span.start, span.stop) for span in self.outputs.spans], dtype="<u4")
        stored: dict[str, Any] = {
            "kind": "stream",
            "segments": list(segments),
            "spans": base64_of(spans),
            "tasks": self.n_tasks,
            "outputs": self.outputs.n_out,
            "digest": self.digest.hex(),
            "seconds": self.seconds,
            "run": self.run_id,
        }
        if self.outputs.counts is not None:
            stored["counts"] = base64_of(self.outputs.counts)
        if self.outputs.routes is not None:
            stored["routes"] = [list(self.outputs.routes.table), base64_of(self.outputs.routes.codes.astype("<u4"))]
        if self.extra is not None:
            stored["extra"] = self.extra
        return json.dumps(stored, separators=(",", ":")).encode()

    @classmethod
    def of_json(cls, path: str, raw: bytes, digests: Callable[[Sequence[Span]], bytes]) -> StreamRecord:
        """Return the record written by `to_json`; raise `CorruptCheckpointError` for anything else."""
        try:
            stored = json.loads(raw)
            if stored["kind"] != "stream":
                raise ValueError("it is the record of something else")
            triples = numbers_of(stored["spans"], "<u4").reshape(-1, 3).tolist()
            spans = tuple(Span(str(stored["segments"][number]), start, stop) for number, start, stop in triples)
            counts = numbers_of(stored["counts"], "<i4") if "counts" in stored else None
            routes = None
            if "routes" in stored:
                table = tuple(tuple(map(str, targets)) for targets in stored["routes"][0])
                routes = Routes(table, numbers_of(stored["routes"][1], "<u4").astype(np.int32))
            record = cls(
                OutputColumns(counts, spans, cache(partial(digests, spans)), routes),
                int(stored["tasks"]),
                Digest(bytes.fromhex(stored["digest"])),
                float(stored["seconds"]),
                str(stored["run"]),
                stored.get("extra"),
            )
            if record.outputs.n_out != int(stored["outputs"]) or len(record.digest) != 32:
                raise ValueError(f"it doesn't hold the {stored['outputs']} outputs it says")
            if routes is not None and not np.isin(routes.codes, np.arange(len(routes.table))).all():
                raise ValueError("its routes don't say where they go")
        except Exception as error:
            raise CorruptCheckpointError(f"{path} isn't the record of a stream: {error!r:.300}") from error
        return record
