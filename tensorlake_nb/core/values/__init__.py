"""Turn a value into 32 bytes that are the same in every process."""
