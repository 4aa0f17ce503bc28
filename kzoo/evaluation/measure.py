"""Measure a model on a split; the same for Keras models and `.tflite` files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kzoo.data import Split
from kzoo.source import BATCH, open_source

from .metrics import Metrics, compute_metrics


def evaluate(source: Any, data: Any = None, *, split: str = "test", runtime: str = "auto", threads: int = 1) -> Metrics:
    """Measure a model on a split.

    Args:
        source: A run, a `.keras` or `.tflite` file, or a `keras.Model`.
        data: Name, path or arrays. Default: the data the model was trained on, split as it was then.
        split: `"train"`, `"val"` or `"test"`.
        runtime: What runs a `.tflite`: `"litert"`, `"tflite-runtime"`, or the one that is installed (`"auto"`).
        threads: Of that runtime.

    Raises:
        KzooError: There is no such model or data, or they do not fit each other.

    Example:
        >>> kzoo.evaluate("runs/resnet18.digits-1").accuracy  # doctest: +SKIP
        0.989
    """
    opened = open_source(source, runtime=runtime, threads=threads)
    samples = opened.dataset(data).split(split)
    return compute_metrics(probabilities_of(opened.predict, samples), samples.labels, opened.classes, split)


def probabilities_of(predict: Callable[[np.ndarray], np.ndarray], split: Split) -> np.ndarray:
    """Ask for every sample of a split, in its order, batch by batch: `(samples, classes)`."""
    starts = range(0, len(split), BATCH)
    batches = (np.arange(start, min(start + BATCH, len(split))) for start in starts)
    return np.concatenate([predict(split.load(indices)) for indices in batches])
