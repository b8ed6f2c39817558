"""The interface between a driver and the backend that computes its batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tensorlake_nb.core.batches.messages import Order


class Backend(Protocol):
    """Computes batches and posts `Message`s. Methods may block; the driver calls them on a thread."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Have batches computed; connects on first use, and says how many slots there are."""

    def halt(self, *, interrupt: bool) -> None:
        """Ask for what is done: nothing more is begun, and what hasn't begun comes back as `Lost`.

        With ``interrupt`` the calls under way are interrupted as well.
        """

    def look(self) -> None:
        """See whether anything can still come, and say `Broken` if not: some losses nobody tells of. Doesn't block.

        Where nothing has come for a while `Waits` says why.
        """

    def backlog(self, seconds: float, elements: int) -> None:
        """Hear what is left to hand over, for a cluster that scales itself."""

    def refresh(self) -> None:
        """Have workers look at the store again after stored data was put aside."""

    def abandon(self, numbers: Iterable[int]) -> None:
        """Stop waiting for batches: the workers that compute them are ended where that is possible."""

    def close(self) -> None:
        """Forget the run: its futures, topics and secrets."""
