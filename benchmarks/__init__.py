"""Benchmarks: side by side with the peers, in one run, medians. Not tests: nothing here fails on a figure."""
