"""One decorated function: its options, its annotations, and how a value becomes its arguments."""
