"""A whole stream out of its chunks: how many outputs each element gave, and where each of them goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tensorlake_nb.core.batches.positions import Slice
from tensorlake_nb.core.streams.tables import ChunkData, Counts, Mask

#: Per target which outputs travel there.
Masks = Mapping[str, Mask]
#: Per output the targets that it travels to.
Targets = tuple[tuple[str, ...], ...]


def whole_counts(chunks: Sequence[ChunkData]) -> Counts:
    """Outputs per element of a whole stream; the parts of one generator count as one."""
    counts: list[Counts] = [np.zeros(0, dtype=np.int32)]
    before: Slice | None = None
    for data in chunks:
        if data.slice is not None and data.slice == before:
            counts[-1] = counts[-1] + data.counts
        else:
            counts.append(data.counts)
        before = data.slice
    return np.concatenate(counts).astype(np.int32)


def whole_routes(chunks: Sequence[ChunkData]) -> Masks | None:
    """Per target which outputs of a whole stream travel there, if anything is routed in it at all."""
    if all(data.routes is None for data in chunks):
        return None
    targets = sorted({target for data in chunks for target in data.routes or ()})
    return {
        target: np.concatenate(
            [
                np.ones(data.n_out, dtype=np.bool_)
                if data.routes is None
                else data.routes.get(target, np.zeros(data.n_out, dtype=np.bool_))
                for data in chunks
            ]
        )
        for target in targets
    }


def targets_of(masks: Masks | None, n_out: int) -> Targets | None:
    """The same per output: the targets that it travels to."""
    if masks is None:
        return None
    names = tuple(masks)
    if not names:
        return ((),) * n_out
    # Outputs that travel alike share one tuple: there may be a million of them.
    alike: dict[int, tuple[str, ...]] = {}
    codes = sum(mask.astype(np.int64) << i for i, mask in enumerate(masks.values()))
    assert isinstance(codes, np.ndarray)
    return tuple(
        alike.setdefault(code, tuple(name for i, name in enumerate(names) if code >> i & 1)) for code in codes.tolist()
    )
