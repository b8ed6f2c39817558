"""What a user holds: Graph, Run, outputs, detached runs, collection."""
