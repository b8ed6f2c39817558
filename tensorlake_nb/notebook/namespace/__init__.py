"""Graphs and functions of the user's namespace."""
