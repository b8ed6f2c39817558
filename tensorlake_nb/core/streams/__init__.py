"""Tables of digests and places behind the state of a run."""
