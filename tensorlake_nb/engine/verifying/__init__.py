"""Compute a sample again and compare."""
