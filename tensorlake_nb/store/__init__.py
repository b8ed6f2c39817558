"""The checkpoint store: segments, spools, streams and run logs below one URL. Synchronous."""
