"""Finding equal elements, compared with a dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.engine.desk.equal_elements import Seen


def digest(value: int) -> bytes:
    """Equal values begin alike, and so do no others."""
    return value.to_bytes(8, "little") * 4


@given(st.lists(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=9), min_size=1, max_size=4), max_size=8))
def test_the_first_equal_element_is_found_wherever_it_was_seen(rounds: list[list[list[int]]]) -> None:
    seen = Seen()
    firsts: dict[int, tuple[tuple[int, ...], int]] = {}
    for number, pieces in enumerate(rounds):
        slices = tuple(Slice((0, number, i), 5, 5 + len(values)) for i, values in enumerate(pieces))
        values = [value for piece in pieces for value in piece]
        places = [(piece.source, at) for piece in slices for at in range(piece.start, piece.stop)]

        found = seen.first(b"".join(map(digest, values)), slices).tolist()

        for value, place, first in zip(values, places, found, strict=True):
            if value in firsts:
                assert first >= 0
                assert seen.place(first) == firsts[value]
            else:
                assert first == -1
                firsts[value] = place
