"""Share work between runs on one store at the same time."""
