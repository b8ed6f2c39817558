"""What a call needs of its process: clock, output, secrets, folder, children."""
