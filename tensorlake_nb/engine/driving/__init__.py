"""The loop that drives a run, and the backends that compute its batches."""
