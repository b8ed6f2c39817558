"""What lies in a store: paths, records, segments, signatures. Reads and writes nothing."""
