"""Recently used things, bounded by the bytes that they take."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A thread-safe mapping that forgets what was used longest ago once it holds more than ``most_bytes``."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._held: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Value, size_bytes: int) -> None:
        """Keep a value; one that would take more than a quarter of the room is not kept."""
        if size_bytes > self.most_bytes // 4:
            return
        with self._lock:
            self._drop(key)
            self._held[key] = (value, size_bytes)
            self._size += size_bytes
            while self._size > self.most_bytes:
                _, (_, dropped) = self._held.popitem(last=False)
                self._size -= dropped

    def forget(self, key: Hashable) -> None:
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Forget everything; the lock too, which another thread may have held when this process was forked."""
        self._lock = threading.Lock()
        self._held.clear()
        self._size = 0

    def _drop(self, key: Hashable) -> None:
        earlier = self._held.pop(key, None)
        if earlier is not None:
            self._size -= earlier[1]
