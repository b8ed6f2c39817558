"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# a deadline per example measures the machine; the examples that failed are kept in .hypothesis and tried first
settings.register_profile("tensorlake", deadline=None, print_blob=True)
settings.load_profile("tensorlake")
