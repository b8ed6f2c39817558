"""Where bytes go: a local disk, fsspec, an overlay, all with retries."""
