"""Probabilities out of what a classifier answers."""

from __future__ import annotations

import numpy as np


def as_probabilities(outputs: np.ndarray) -> np.ndarray:
    """Leave probabilities as they are and put logits through a softmax over the last axis."""
    outputs = np.asarray(outputs, dtype=np.float32)
    if outputs.min(initial=0.0) >= -1e-3 and outputs.max(initial=0.0) <= 1.001:
        return outputs
    return softmax(outputs)


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Turn logits into probabilities over the last axis."""
    exponents = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))
