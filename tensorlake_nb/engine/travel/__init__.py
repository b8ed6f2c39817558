"""How code gets to a worker and back to life there."""
