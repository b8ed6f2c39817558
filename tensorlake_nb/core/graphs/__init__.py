"""Wire functions, check the wiring, and freeze it into a plan."""
