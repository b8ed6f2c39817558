"""Read what source and bytecode say, without running them."""
