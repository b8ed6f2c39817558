"""The process around a call: clock, output, secrets, folder, children."""
