"""Send code to a worker, and bring it back to life there."""
