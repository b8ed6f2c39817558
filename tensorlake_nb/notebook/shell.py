"""What a running IPython shell is told when the package is imported in it."""

from __future__ import annotations


def attach() -> None:
    """Register displays and cell hooks in the running shell, if there is one."""
