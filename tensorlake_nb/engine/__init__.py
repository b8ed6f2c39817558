"""Runs graphs: the driver in the kernel, batches on workers, the cluster between them."""
