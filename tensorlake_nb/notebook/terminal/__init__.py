"""The same in a terminal: headless notebooks, reports, lines of progress."""
