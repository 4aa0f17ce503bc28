"""Features brought to a common scale by what the training split says of them."""

from __future__ import annotations

import keras
import numpy as np

from kzoo.data import Split

# Samples that are read at once.
_BLOCK = 1024
# Standard deviations from its mean that a standardised feature reaches at most in the training data.
LARGEST_DEVIATION = 6.0


def standardise(model: keras.Model, split: Split) -> None:
    """Learn mean and variance of the features into a model's `Normalization`, where it has one.

    A feature that is nearly always the same has so small a deviation that a rare value would become an outlier of
    hundreds, and int8 would have no steps left for the others: no training value ends beyond `LARGEST_DEVIATION`.

    Args:
        model: Changed in place.
        split: Of sequences `(steps, features)`; the training split.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            mean, deviation, count = _statistics(split)
            layer.set_weights([mean, deviation**2, np.array(count)])
            layer.finalize_state()


def _statistics(split: Split) -> tuple[np.ndarray, np.ndarray, int]:
    """Give mean, widened deviation and count of the values of each feature, reading block by block."""
    blocks = [np.arange(start, min(start + _BLOCK, len(split))) for start in range(0, len(split), _BLOCK)]
    count, total, low, high = 0, 0.0, np.inf, -np.inf
    for block in blocks:
        values = _by_feature(split, block)
        count, total = count + len(values), total + values.sum(0)
        low, high = np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
    mean = np.asarray(total / count)
    squares = sum(((_by_feature(split, block) - mean) ** 2).sum(0) for block in blocks)
    deviation = np.maximum(np.sqrt(squares / count), np.maximum(high - mean, mean - low) / LARGEST_DEVIATION)
    return mean, deviation, count


def _by_feature(split: Split, indices: np.ndarray) -> np.ndarray:
    samples = split.load(indices)
    return samples.reshape(-1, samples.shape[-1]).astype(np.float64)
