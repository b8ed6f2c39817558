"""Boxes and wires as text, HTML and SVG. Pure."""
