"""Turn one value into bytes and back."""
