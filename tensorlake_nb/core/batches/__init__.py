"""The words between driver and worker: where outputs lie, batches, receipts, failures, messages."""
