"""Write segments, keep spools beside them, and recover what dead writers left."""
