"""Durable checkpoints on any filesystem: every byte verified when it is read."""
