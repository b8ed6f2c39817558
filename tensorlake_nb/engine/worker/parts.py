"""The outputs of one call, committed a part at a time: neither memory nor any record grows with a long list."""

from __future__ import annotations

from tensorlake_nb.core.batches import spans as sp
from tensorlake_nb.core.batches.batch import Span
from tensorlake_nb.core.batches.output_columns import OutputColumns, Targets
from tensorlake_nb.core.keys import Digest, TaskKey, group_digests
from tensorlake_nb.engine.worker.returns import Item, Returns
from tensorlake_nb.store.format.outcomes import Entry
from tensorlake_nb.store.writing.writer import Writer

#: How many outputs, or bytes of them, make a part. While a part is written its bytes are held three times.
PART_OUTPUTS = 16_384
PART_BYTES = 16 * 2**20


class Parts:
    """The outputs of a call so far.

    Parameters
    ----------
    key
        The call's own; a part is kept under one that is made of it.
    spans
        Where the outputs lie that an earlier attempt has given on already.

    Attributes
    ----------
    count
        How many outputs there are, those of the earlier attempt included as they come again.
    """

    def __init__(self, key: TaskKey, writer: Writer, returns: Returns, spans: tuple[Span, ...] = ()) -> None:
        self._key, self._writer, self._returns = key, writer, returns
        self._spans = list(spans)
        self._known = sp.total(spans)
        self._pending: list[Item] = []
        self._pending_bytes = 0
        self._targets: list[Targets | None] = []
        self._has_targets = False
        self.count = 0

    @property
    def has_committed(self) -> bool:
        """True if some outputs were committed before the call's end."""
        return bool(self._spans)

    @property
    def is_empty(self) -> bool:
        """True if nothing waits to be committed."""
        return not self._pending

    @property
    def is_full(self) -> bool:
        """True if a part is due."""
        return len(self._pending) >= PART_OUTPUTS or self._pending_bytes >= PART_BYTES

    def add(self, item: Item) -> None:
        """Take the next output; one that the earlier attempt gave stays as it was kept then."""
        value, targets = item
        self._targets.append(targets)
        self._has_targets = self._has_targets or targets is not None
        if self.count >= self._known:
            self._pending.append((value.detached(), targets))
            self._pending_bytes += value.size_bytes + (value.picture.size_bytes if value.picture is not None else 0)
        self.count += 1

    def commit(self) -> OutputColumns:
        """Commit what waits as a part, and say where it lies."""
        key = part_key(self._key, self.count - len(self._pending))
        self._writer.add(self._returns.from_items(key, self._pending))
        self._writer.flush()
        outputs = self._writer.locate(key).outputs
        self._spans += outputs.spans
        self._pending, self._pending_bytes = [], 0
        return outputs

    def whole(self) -> Entry:
        """All outputs, to be added as the call's: as they are, or by where their parts lie."""
        if not self.has_committed:
            return self._returns.from_items(self._key, self._pending)
        if not self.is_empty:
            self.commit()
        routes = self._returns.routes(self._targets) if self._has_targets else None
        return Entry(self._key, self.count, (), routes, refers=sp.joined(self._spans))


def part_key(key: TaskKey, position: int) -> TaskKey:
    """Names a part of a task's outputs, by the task and the position of the part's first output."""
    return TaskKey(group_digests("part/1", [Digest(key), Digest(position.to_bytes(8, "little"))]))
