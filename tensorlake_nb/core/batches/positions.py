"""Positions of elements in a stream, in whatever order the work finishes.

A node's outputs come in *chunks*, one per range of its inputs that was settled together. A chunk's `Address` is the
port and the address of the chunk that its inputs lie in, then the first input's position there, then a part number:
so sorting addresses sorts a stream, and everything below an address that is still open is final.
"""

from __future__ import annotations

from dataclasses import dataclass

#: ``(port, *address of the parent's chunk, start, part)``; the start node's only input lies in ``(0,)``.
Address = tuple[int, ...]

#: Sorts behind every address.
END: Address = (2**62,)


@dataclass(frozen=True, slots=True)
class Slice:
    """Inputs ``start`` to ``stop - 1`` of those that one chunk of a parent gives to a port.

    ``source`` is ``(port, *address of that chunk)``.
    """

    source: Address
    start: int
    stop: int
    attempt: int = 1

    @property
    def order(self) -> Address:
        """Sorts the slices of a node in the order of its stream."""
        return (*self.source, self.start)

    @property
    def size(self) -> int:
        return self.stop - self.start

    def cut(self, start: int, stop: int) -> Slice:
        """Elements ``start`` to ``stop - 1`` of this slice, counted from its own start."""
        return Slice(self.source, self.start + start, self.start + stop, self.attempt)

    def address(self, part: int = 0) -> Address:
        """Return the address of the chunk that settles this slice."""
        return (*self.source, self.start, part)


def take(slices: tuple[Slice, ...], start: int, stop: int) -> tuple[Slice, ...]:
    """Elements ``start`` to ``stop - 1`` of several slices end to end."""
    kept: list[Slice] = []
    position = 0
    for piece in slices:
        low, high = max(start - position, 0), min(stop - position, piece.size)
        if low < high:
            kept.append(piece.cut(low, high))
        position += piece.size
        if position >= stop:
            break
    return tuple(kept)
