"""The store as one object: commit, find, read, quarantine; documents and run logs; opening."""
