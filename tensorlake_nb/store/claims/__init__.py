"""How runs on one store share work at the same time."""
