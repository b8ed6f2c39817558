"""A file that remembers calls, across the copies of a function that travel and the processes they travel to."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

#: How long a test waits for something that has to happen (s).
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Notes:
    """One line per note, in the order in which they were made."""

    path: str

    def add(self, what: object) -> None:
        """Append a line in one write."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{what}\n".encode())
        finally:
            os.close(file)

    def add_first(self, what: object) -> bool:
        """Append a line that nobody has appended by this method before; False where somebody has."""
        try:
            os.close(os.open(f"{self.path}.{what}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            return False
        self.add(what)
        return True

    def all(self) -> list[str]:
        path = Path(self.path)
        return path.read_text().splitlines() if path.exists() else []

    def take(self) -> list[str]:
        """All notes so far, which are forgotten then."""
        found = self.all()
        Path(self.path).unlink(missing_ok=True)
        return found

    def wait_for(self, what: object) -> None:
        """Wait until somebody has made a note.

        Raises
        ------
        TimeoutError
            Nobody did for a long time.
        """
        until = time.monotonic() + PATIENCE_S
        while str(what) not in self.all():
            if time.monotonic() > until:
                raise TimeoutError(f"nobody noted {what!r}; there is {self.all()}")
            time.sleep(0.005)
