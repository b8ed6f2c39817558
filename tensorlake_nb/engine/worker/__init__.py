"""One batch on a worker: look up, call, encode, commit, receipt."""
