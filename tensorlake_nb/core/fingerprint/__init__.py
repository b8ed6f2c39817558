"""Walk everything that a function reaches, part by part, into its fingerprint, and tell what changed."""
