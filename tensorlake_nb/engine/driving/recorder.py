"""Writes a run's events to the store as they happen, on a thread of its own, a part every quarter of a second."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

from tensorlake_nb.core.planning.events import Event, ProgressMade, to_json
from tensorlake_nb.store.checkpoints.run_log import RunLog

logger = logging.getLogger(__name__)

#: How old an event may be before it is in the store (s).
INTERVAL_S = 0.25


class Recorder:
    """A run's log is written behind the run: what it says is also in the segments, so a lost part loses no work."""

    def __init__(self, log: RunLog, interval_s: float = INTERVAL_S) -> None:
        self._log, self._interval_s = log, interval_s
        self._events: list[Event] = []
        self._parts: deque[list[dict[str, Any]]] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="tensorlake-nb-log", daemon=True)
        self._thread.start()
        #: Why the log can't be written now, if it can't.
        self.error: Exception | None = None

    def record(self, event: Event) -> None:
        """Take an event; progress within calls is shown but not kept."""
        if not isinstance(event, ProgressMade):
            with self._lock:
                self._events.append(event)

    def close(self) -> None:
        """Write what is left and stop."""
        self._closing.set()
        self._thread.join()

    def _write(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closing.wait(self._interval_s)
            with self._lock:
                events, self._events = self._events, []
            if events:
                self._parts.append([to_json(event) for event in events])
            self._append()

    def _append(self) -> None:
        """Write what waits. A log with a gap can't be folded, so what fails is tried again before what comes next."""
        while self._parts:
            try:
                self._log.append(self._parts[0])
            except Exception as error:
                if self.error is None:
                    logger.warning("the run's log can't be written: %s", error)
                self.error = error
                return
            self._parts.popleft()
            if self.error is not None:
                logger.warning("the run's log is written again")
                self.error = None
