"""The book that a reach keeps: a label for each thing that it meets, the part under it, and which part met which."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tensorlake_nb.core.values.digest import digest
from tensorlake_nb.core.values.encoding import field

#: The identity of an object: its ``id``, for a value together with the label that was asked for.
Key = int | tuple[int, str]


class Labels:
    """Labels and parts, and the work that is still to be done to fill them.

    Attributes
    ----------
    parts
        Label → digest as hex, label of another part, or version.
    read
        Kinds of parts that count only if read, and that some met code reads: ``"docstrings"``.
    """

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.read: set[str] = set()
        self._texts: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._unread: dict[str, list[tuple[str, Callable[[], None]]]] = {}
        self._labels: dict[Key, str] = {}
        self._kept: list[Any] = []  # so that no id is used twice
        self._queue: deque[tuple[str, Callable[[], None]]] = deque()
        self._met: dict[str, set[str]] = {}
        self._filled = ""

    def known(self, key: Key) -> str | None:
        """Return the label that an object has already."""
        label = self._labels.get(key)
        return None if label is None else self.met(label)

    def new_label(self, wanted: str, key: Key, obj: Any) -> str:
        """Give a thing a label that no other has; its part is filled when its turn comes."""
        label, n = wanted, 1
        while label in self.parts:
            n += 1
            label = f"{wanted} ({n})"
        self.parts[label] = ""
        self._labels[key] = label
        self._kept.append(obj)
        return self.met(label)

    def met(self, label: str) -> str:
        """Note that the part that is being filled leads to another."""
        self._met.setdefault(self._filled, set()).add(label)
        return label

    @contextmanager
    def filling(self, label: str) -> Iterator[None]:
        """While the part of a label is made."""
        before, self._filled = self._filled, label
        try:
            yield
        finally:
            self._filled = before

    def later(self, label: str, fill: Callable[[], None]) -> None:
        """Fill a part when everything before it is done."""
        self._queue.append((label, fill))

    def where_read(self, what: str, refs: Callable[[], Mapping[str, str]]) -> None:
        """Add refs to the part that is being filled once anything reads what they stand for."""
        label = self._filled

        def add() -> None:
            text, held = self._texts[label]
            self.text_part(label, text, {**held, **refs()})

        self._unread.setdefault(what, []).append((label, add))

    def finish(self) -> None:
        """Fill all parts, and those that they lead to, until nothing new turns up."""
        while self._queue or self._unread.keys() & self.read:
            for what in sorted(self.read):
                self._queue.extend(self._unread.pop(what, ()))
            while self._queue:
                label, fill = self._queue.popleft()
                with self.filling(label):
                    fill()

    def text_part(self, label: str, text: str, refs: Mapping[str, str]) -> None:
        """Fill a part from its text and what the names in it stand for."""
        self._texts[label] = text, refs
        fields = [text.encode("utf-8", "surrogatepass")]
        for name in sorted(refs):
            fields += [name.encode("utf-8", "surrogatepass"), refs[name].encode("utf-8", "surrogatepass")]
        self.parts[label] = digest(b"part/1" + b"".join(map(field, fields))).hex()

    def version(self, first: str) -> str:
        """Return the digest of a label's part and of all parts that it leads to."""
        found, pending = set[str](), [first]
        while pending:
            label = pending.pop()
            if label not in found:
                found.add(label)
                pending += self._met.get(label, ())
        fields = [
            text.encode("utf-8", "surrogatepass") for label in sorted(found) for text in (label, self.parts[label])
        ]
        return digest(b"version/1" + b"".join(map(field, fields))).hex()
