"""Pure rules: values to digests, code to fingerprints, functions to graphs, events to instructions.

Knows no clock, no network, no Jupyter, Dask or Zarr.
"""
