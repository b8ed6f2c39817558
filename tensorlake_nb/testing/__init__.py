"""Testing your own graphs: stores that fail, and runs under fire. See docs/testing.md."""

from __future__ import annotations

from tensorlake_nb.testing.chaos import ChaosReport, chaos
from tensorlake_nb.testing.faults import Faults
from tensorlake_nb.testing.store import faulty_url

__all__ = ["ChaosReport", "Faults", "chaos", "faulty_url"]
