"""Find what a store can do without, and remove it."""
