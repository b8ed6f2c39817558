"""The format of a store: paths, records, segments, signatures. Reads and writes nothing."""
