"""Measurements: ratios taken side by side in one run, kept in `bench/results/`."""
