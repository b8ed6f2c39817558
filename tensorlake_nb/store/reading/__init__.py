"""Read outputs out of segments: index, verified reads, lazy arrays, pictures."""
