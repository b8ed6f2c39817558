"""The store side of the planner's instructions: look up, claim, settle lost batches."""
