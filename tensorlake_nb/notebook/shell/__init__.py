"""Connect to a running IPython: hooks, displays, progress."""
