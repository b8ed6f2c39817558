"""Run graphs on Dask: from a Graph in a cell to batches on workers, and back to outputs."""
