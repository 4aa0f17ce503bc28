"""Recurrent networks over sequences of measurements.

LSTM: Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735. The default input is that of the
UCI HAR data (128 steps of 9 sensor features, 6 activities).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._ends import Head, open_sequence


def lstm(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "lstm",
    *,
    units: int = 64,
    depth: int = 2,
    dropout: float = 0.0,
) -> keras.Model:
    """Build stacked LSTM layers whose last step is classified.

    The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data
    before the first training step; until then it passes its input on unchanged. The LSTM layers keep the standard
    activations, which the fused kernels of processors and phones require.

    Args:
        include_top: classify the last step's state.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps, features)`, default `(128, 9)`; steps may be None.
        pooling: only with `include_top=False`: None gives every step's state `(batch, steps, units)`, `"last"` the
            last step's, `"avg"` or `"max"` that over the steps, each `(batch, units)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        units: width of every LSTM layer.
        depth: number of LSTM layers.
        dropout: share of units dropped in training, between the layers and before the classifier.

    Returns:
        A functional model that takes `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import lstm
        >>> lstm(input_shape=(8, 8), classes=10).output_shape
        (None, 10)
    """
    head = Head(
        include_top, weights, pooling, classes, classifier_activation, name, dropout, poolings=("last", "avg", "max")
    )
    units, depth = whole_number("units", units), whole_number("depth", depth)
    inputs, x = open_sequence(sequence_shape(input_shape, default=(128, 9), fixed_steps=False))
    last_step_only = include_top or pooling == "last"
    for number in range(1, depth + 1):
        if number > 1 and dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{number - 1}")(x)
        x = layers.LSTM(units, return_sequences=number < depth or not last_step_only, name=f"lstm{number}")(x)
    if not last_step_only:
        x = head.pool(x)
    return head.build(inputs, x)
