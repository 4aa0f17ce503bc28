"""Measurements: ratios taken side by side in one run, kept in `bench/results/`."""

import os

# As on kzoo's command line, and for peers on TensorFlow as well.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
