"""Wrote the store in ``store/``, once; run it again only for a new format version, into a new directory.

python -m tests.conformance.v1.write_store DIRECTORY
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.core.batches.output_columns import OutputColumns, Routes
from tensorlake_nb.core.keys import Digest, TaskKey
from tensorlake_nb.store.checkpoints.run_log import RunLog
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.format.stream_record import StreamRecord
from tests.support.stores import FINGERPRINT, OTHER, Colour, Odd, Page, Point, Size, encoded, local_store

RUN = "20260102-030405-abcdef"

INPUT, OUTPUT = Digest(b"i" * 32), Digest(b"o" * 32)

#: By task number: the outputs of a list, or one in a tuple.
TASKS: dict[int, list[Any] | tuple[Any]] = {
    0: ({"text": "x" * 500, "n": 1, "nested": [(1, 2.5), {3}, None]},),
    1: [],
    2: [1, "two", 3.0],
    3: (np.arange(6.0).reshape(2, 3),),
    4: (np.arange(6.0).reshape(2, 3) + 10,),
    5: (np.array(["a", "bc"]),),
    6: (Page(url="http://localhost/", words=["a", "b"], best=Point(1, 2.0)),),
    7: [Colour.RED, Size(1, 2), Point(3), b"bytes", 2**100],
    8: (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),),
    9: (Odd([1, 2]),),
    10: (np.zeros(2**17),),
    11: ("large " * 200_000,),
}
#: In the spool of a writer that was killed.
SPOOLED: dict[int, tuple[Any]] = {20: ("spooled",), 21: (np.arange(3),)}


def key(number: int) -> TaskKey:
    """A key that no change of digests can change."""
    return TaskKey(bytes([number]) * 32)


def write(root: Path) -> None:
    """Write a store with one of everything."""
    store = local_store(root)
    writer = store.writer(FINGERPRINT, "batch-1")
    for number, outputs in TASKS.items():
        count = BARE if isinstance(outputs, tuple) else len(outputs)
        routes = Routes.of([("left",), ("right", "left"), ()]) if number == 2 else None
        effects = b"effects" if number == 0 else None
        writer.add(Entry(key(number), count, tuple(map(encoded, outputs)), routes, effects, number / 4))
    writer.close()
    spans = tuple(span for number in TASKS for span in writer.locate(key(number)).outputs.spans)
    counts = np.array([BARE if isinstance(o, tuple) else len(o) for o in TASKS.values()], dtype=np.int32)
    n_outputs = sum(map(len, spans))
    routed = Routes.of((("a",), ("a", "b"))[n % 2] for n in range(n_outputs))
    flow = OutputColumns(counts, spans, store.digests(spans), routed)
    record = StreamRecord(flow, len(TASKS), OUTPUT, 1.25, RUN, {"note": "extra"})
    store.put_stream(OTHER, INPUT, record)
    log = RunLog(store, RUN)
    log.create({"graph": "golden", "inputs": {"n": 3}})
    log.append([{"kind": "RunStarted", "n": n} for n in range(300)])
    log.append([{"kind": "RunEnded"}])
    store.put_bytes(f"runs/{RUN}/code/blob", b"code")
    store.put_state(RUN, "counter", b"41")
    spooling = store.writer(FINGERPRINT, "batch-2")
    for number, (value,) in SPOOLED.items():
        spooling.begin(key(number))
        spooling.add(Entry(key(number), BARE, (encoded(value),)))
    spooling.begin(key(22))
    spooling.abandon()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if target.exists():
        shutil.rmtree(target)
    with mock.patch("socket.gethostname", return_value="host"):
        write(target)
    (target / ".gitignore").unlink()  # the store is to be kept with the tests
