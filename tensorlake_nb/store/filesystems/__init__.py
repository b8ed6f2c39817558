"""Store bytes on a local disk, fsspec or an overlay, all with retries."""
