"""What a running IPython is told: hooks, displays, progress."""
