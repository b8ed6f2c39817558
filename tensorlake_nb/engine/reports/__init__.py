"""Turn the state of a run into numbers and sentences."""
