"""Turn magic lines into options, graphs and runs."""
