"""Many found tasks taken at once are what each of them is alone, however segments and questions fall."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tensorlake_nb.core.batches.batch import BARE
from tensorlake_nb.core.batches.output_columns import Routes, concat
from tensorlake_nb.store.format.outcomes import Entry
from tests.support.stores import FINGERPRINT, encoded, key, local_store


@settings(max_examples=40)
@given(
    segments=st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=4),
    lists=st.sets(st.integers(0, 30)),
    routed=st.booleans(),
    asked=st.lists(st.integers(0, 30), max_size=20),
)
def test_blocks_are_the_outcomes_end_to_end(
    segments: list[list[int]], lists: set[int], routed: bool, asked: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = local_store(Path(folder) / "store")
        for name, numbers in enumerate(segments):
            writer = store.writer(FINGERPRINT, f"w{name}")
            for number in numbers:
                values = [number, str(number)] if number in lists else [number]
                routes = Routes.of(("ab"[number % 3 :],) for _ in values) if routed and number % 2 else None
                count = len(values) if number in lists else BARE
                writer.add(Entry(key(number), count, tuple(map(encoded, values)), routes))
            writer.close()
        index = store.index(FINGERPRINT, refresh=True)
        positions = index.find(b"".join(map(key, asked)))
        positions = positions[positions >= 0]

        covered = 0
        for start, stop, block in index.blocks(positions):
            assert start == covered, "they cover the positions in order"
            covered = stop
            assert block == concat([index.outcome(int(at)).outputs for at in positions[start:stop]])
        assert covered == len(positions)
