"""Progress as lines of text: redrawn in place in a terminal, one line for each finished node elsewhere."""

from __future__ import annotations

import shutil
import textwrap
from typing import TextIO

from tensorlake_nb.notebook.drawing.picture import GLYPHS, Box, Picture, state_of

BAR_WIDTH = 20
MOST_LINES = 30


class TerminalProgress:
    """Shows one run on a stream.

    A terminal gets a block of one line per node, redrawn in place. Any other stream gets a line when a node has
    nothing left to do, so a log stays readable.
    """

    def __init__(self, stream: TextIO, *, is_terminal: bool | None = None) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty() if is_terminal is None else is_terminal
        self._drawn = 0
        self._said: set[str] = set()
        self._last: Picture | None = None

    def show(self, picture: Picture) -> None:
        """Draw the block again, or say which nodes have finished since."""
        self._last = picture
        if self._is_terminal:
            self.erase()
            lines = block(picture, shutil.get_terminal_size().columns)
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._drawn = len(lines)
        else:
            for box in picture.boxes:
                if box.name not in self._said and _is_finished(box, picture.over):
                    self._said.add(box.name)
                    self._stream.write(f"{picture.name}: {_line(box, True)}\n")
            if picture.doing and picture.doing not in self._said:
                self._said.add(picture.doing)
                self._stream.write(f"{picture.name}: {picture.doing}\n")
        self._stream.flush()

    def close(self, picture: Picture) -> None:
        """Leave the final state standing."""
        self.show(picture)
        if not self._is_terminal:
            self._stream.write(f"{picture.name}: {picture.status}\n")
        self._drawn = 0
        self._last = None
        self._stream.flush()

    def erase(self) -> None:
        """Take the block away, so that other text can be written where it stood."""
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def redraw(self) -> None:
        """Draw the block again below text that was written meanwhile."""
        if self._last is not None and self._is_terminal:
            self.show(self._last)


def block(picture: Picture, width: int) -> list[str]:
    """Return a headline, then one line per node; of very many nodes only the active ones."""
    boxes = list(picture.boxes)
    if len(boxes) > MOST_LINES:
        busy = [box for box in boxes if state_of(box, picture.over) in ("running", "failed", "cancelled")]
        boxes = busy[:MOST_LINES]
    longest = max((len(box.name) for box in boxes), default=0)
    lines = [f"{picture.name}: {picture.status}"]
    lines += textwrap.wrap(picture.doing, max(width - 1, 20), initial_indent="  ", subsequent_indent="  ")
    lines += [f"  {box.name:{longest}}  {_bar(box)}  {_line(box, picture.over, named=False)}" for box in boxes]
    if len(boxes) < len(picture.boxes):
        lines.append(f"  and {len(picture.boxes) - len(boxes)} more")
    return [line[: width - 1] for line in lines]


def _line(box: Box, over: bool, *, named: bool = True) -> str:
    state = state_of(box, over)
    words = f"{GLYPHS[state]} {box.counts.words(over)}" if state and box.counts else box.kind
    return f"{box.name} {words}" if named else words


def _bar(box: Box) -> str:
    counts = box.counts
    if counts is None or counts.total is None:
        return "·" * BAR_WIDTH
    full = BAR_WIDTH * counts.settled // counts.total if counts.total else BAR_WIDTH
    return "█" * full + "░" * (BAR_WIDTH - full)


def _is_finished(box: Box, over: bool) -> bool:
    counts = box.counts
    if counts is None:
        return False
    return over or (counts.total is not None and counts.settled >= counts.total > 0)
