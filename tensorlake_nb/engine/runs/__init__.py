"""The user's objects: Graph, Run, outputs, detached runs, collection."""
