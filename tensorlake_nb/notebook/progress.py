"""Progress of a run that somebody waits for."""

from __future__ import annotations


def watch_waits() -> None:
    """Show progress around every blocking wait from now on."""
