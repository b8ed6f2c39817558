"""Jupyter: the panel, displays, magics and the command line."""
