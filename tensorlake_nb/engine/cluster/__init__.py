"""The Dask cluster: connect, start, supervise, declare resources, keep a session."""
